"""The status of the environments: for people, for programs, and when AWS does not answer."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from deploy.base.errors import Interrupted
from deploy.commands import status_text
from deploy.commands.status import Alarm, Overview, Report
from deploy.config import environments
from deploy.delivery import history
from deploy.delivery.history import Entry
from deploy.resources.beanstalk import State
from tests.support.account import add_bundle, made
from tests.support.aws import APPLICATION, PROD, REGION, STAGING, records

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TOPIC = ["arn:aws:sns:eu-west-1:123456789012:operations"]
SCRIPT = "scripts/build_and_deploy.sh"


@pytest.fixture
def watched(aws, staging):
    """Both environments, with their alarms."""
    add_bundle(aws, "old")
    for short in ("staging", "prod"):
        made(aws, f"{short}-operations")
    return staging


def report(command, *arguments):
    """The machine-readable output."""
    code, output = command("status", "--json", *arguments)
    return code, json.loads(output[output.index("{\n") :])  # after what others have written


def test_status_shows_everything_on_one_screen(aws, watched, run, command):
    prod = environments.find(run.settings, "prod")
    history.record(run, prod, "failed", "new", "smoke test: FAILED")
    aws.alarms[f"{PROD}-database-busy"] = (
        "MetricAlarm",
        "ALARM",
        "The database is busy. What to do: https://x",
        TOPIC,
    )
    code, output = command("status")
    assert code == 0, output
    assert f"{PROD}  Ready  Green/Ok  old" in output
    assert "  address      http://prod.elasticbeanstalk.test" in output
    assert "  instances    2 run old" in output
    assert re.search(r"deployed +\d+ min ago  FAILED new  \S+:user/somebody: smoke test: F", output)
    assert re.search(rf"ALARM +{PROD}-database-busy for .*: The database is busy\.\n", output)
    assert "What to do" not in output
    assert f"dashboards/dashboard/{PROD}-{REGION}" in output
    assert output.index(PROD) < output.index(STAGING)
    assert "alarms       none firing" in output  # of staging
    assert "unknown" not in output.replace("unknown:", "")
    assert "NOT WATCHED" not in output


def test_a_pipeline_that_knows_an_earlier_environment_is_reported(aws, watched, command):
    assert "NO PIPELINE" not in command("status")[1]  # there is none
    made(aws, "pipeline")
    aws.stacks[f"{APPLICATION}-pipeline"]["parameters"] = {
        "StagingId": aws.environments[STAGING]["id"],
        "ProductionId": "e-aaaaaaaaaa",
    }
    _, output = command("status")
    now = aws.environments[PROD]["id"]
    remedy = f"NO PIPELINE  it may deploy to e-aaaaaaaaaa, and this is {now}: {SCRIPT} bootstrap\n"
    assert remedy in output
    assert output.count("NO PIPELINE") == 1


def test_stopped_writes_are_reported(aws, watched, command, monkeypatch):
    aws.secrets[f"{PROD}/application"] = {"API_KEYS_BEFORE": ""}
    remedy = f"{SCRIPT} writes allow prod\n"
    assert command("status")[1].count(f"NO WRITES    they are stopped: {remedy}") == 1
    monkeypatch.setenv("AWS_REGION", REGION)
    assert f": AWS_REGION={REGION} {remedy}" in command("status")[1]


def test_addresses_that_were_never_confirmed_are_reported(aws, watched, command):
    assert "NO MESSAGES" not in command("status")[1]
    aws.pending.add("chief@greetings.test")
    code, output = command("status", "staging")
    assert code == 0
    assert "\nNO MESSAGES  chief@greetings.test has not confirmed EscalationTopic: click" in output
    assert "--notification-endpoint chief@greetings.test --region eu-west-1\n" in output
    assert report(command)[1]["unconfirmed"][0]["what"].startswith("chief@greetings.test")


def test_a_run_that_is_changing_an_environment_is_shown(aws, watched, command):
    assert "working" not in command("status")[1]
    aws.s3_put_object(records(), f"locks/{STAGING}", b"somebody@host, process 7, since today")
    output = command("status")[1]
    assert output.count("  working      somebody@host, process 7, since today\n") == 1
    assert report(command, "staging")[1]["environments"][0]["locked_by"].startswith("somebody")


def test_the_reason_of_a_failed_deployment_is_one_line(aws, watched, run, command):
    fault = "smoke test: " + "a birthday is saved " * 30
    history.record(run, environments.find(run.settings, "prod"), "failed", "new", fault)
    [line] = [one for one in command("status", "prod")[1].splitlines() if "FAILED new" in one]
    assert line.endswith(" [...]")
    assert len(line) < 300
    assert fault in report(command, "prod")[1]["environments"][0]["deployments"][0]["detail"]


def test_one_environment_can_be_shown(watched, command):
    _, output = command("status", "prod")
    assert PROD in output
    assert STAGING not in output


def test_json_contains_everything(aws, watched, run, command):
    history.record(run, environments.find(run.settings, "staging"), "deploy", "old")
    aws.alarms[f"{APPLICATION}-messages-dropped"] = ("MetricAlarm", "ALARM", "Dropped.", TOPIC)
    code, found = report(command)
    assert code == 0
    assert found["complete"] is True
    assert [one["name"] for one in found["environments"]] == [PROD, STAGING]
    staging = found["environments"][1]
    assert staging["state"]["version"] == "old"
    assert staging["instances"] == {"old": 2}
    assert staging["deployments"][0]["label"] == "old"
    assert datetime.fromisoformat(staging["deployments"][0]["at"]).tzinfo
    assert [one["name"] for one in found["shared"]] == [f"{APPLICATION}-messages-dropped"]
    assert found["pending"] is None


def test_instances_of_two_versions_are_counted(watched, command):
    watched["instances"] = ["new", "old", "new"]
    assert "  instances    2 run new, 1 run old" in command("status", "staging")[1]


def test_alarms_that_need_no_attention_are_not_shown(aws, watched, command):
    """Scaling alarms, unrelated alarms, alarms in state OK, and components of composite alarms."""
    aws.alarms |= {
        "awseb-e-1-stack-AWSEBCloudwatchAlarmLow-X": ("MetricAlarm", "ALARM", "Scaling", TOPIC),
        "another": ("MetricAlarm", "ALARM", "Another", TOPIC),
        f"{PROD}-database-busy": ("MetricAlarm", "OK", "Quiet", TOPIC),
        f"{PROD}-error-rate": ("MetricAlarm", "ALARM", "A part", []),
        f"{PROD}-memory": ("MetricAlarm", "INSUFFICIENT_DATA", "Memory is nearly used up.", TOPIC),
        f"{PROD}-users-get-errors": ("CompositeAlarm", "ALARM", "Users get errors.", TOPIC),
    }
    _, found = report(command, "prod")
    [prod] = found["environments"]
    found_names = [one["name"] for one in prod["alarms"]]
    assert found_names == [f"{PROD}-users-get-errors", f"{PROD}-memory"]
    assert found["shared"] == []
    assert f"no data      {PROD}-memory" in command("status", "prod")[1]


def test_an_unmonitored_environment_is_reported(aws, staging, command):
    assert command("status")[1].count("NOT WATCHED") == 2
    assert f"or on another load balancer: {SCRIPT} create prod\n" in command("status")[1]
    made(aws, "staging-operations")
    assert command("status")[1].count("NOT WATCHED") == 1
    aws.stacks[f"{STAGING}-operations"]["outputs"]["LoadBalancer"] = "app/awseb-0/0123"
    assert command("status")[1].count("NOT WATCHED") == 2


def test_the_age_of_each_backup_is_shown(aws, watched, command):
    at = datetime.now(UTC) - timedelta(hours=5)
    aws.vaults = {
        f"{APPLICATION}-prod-eu-west-1": {"awsbackup:job-1": ("COMPLETED", at)},
        f"{APPLICATION}-prod-eu-central-1": {},
        f"{APPLICATION}-prod-eu-north-1": {
            "awsbackup:copyjob-1": ("COMPLETED", at - timedelta(hours=35)),
        },
    }
    _, output = command("status")
    assert output.count("  backups  ") == 1  # staging has none
    assert (
        "backups      eu-west-1 5 h old, eu-central-1 no complete backup LATE, "
        "eu-north-1 40 h old LATE"
    ) in output
    [found] = json.loads(command("status", "prod", "--json")[1])["environments"]
    assert found["backups"]["eu-central-1"] == "no complete backup"
    assert found["backups"]["eu-west-1"]["size"] == 20


def test_backups_that_were_never_installed_are_reported(watched, command):
    code, output = command("status", "prod")
    assert code == 0, output
    assert f"backups      not installed: {SCRIPT} backups install prod\n" in output


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_a_region_without_a_response_has_unknown_backups(aws, watched, command, code):
    aws.vaults = {f"{PROD}-{region}": {} for region in ("eu-central-1", "eu-north-1")}
    aws.fail(
        "backup:ListRecoveryPointsByBackupVault",
        code,
        when=lambda asked: "eu-central-1" in asked["BackupVaultName"],
    )
    status, output = command("status")
    assert status == 1
    assert "unknown      backups in eu-central-1" in output
    assert "eu-central-1 no complete" not in output
    assert "eu-north-1 no complete backup LATE" in output


def test_a_pending_approval_is_shown(aws, watched, command):
    approval = {"actionName": "Approve", "latestExecution": {"token": "t", "status": "InProgress"}}
    aws.pipeline_states = [
        {
            "stageStates": [
                {
                    "stageName": "Production",
                    "actionStates": [approval],
                    "latestExecution": {"pipelineExecutionId": "1", "status": "InProgress"},
                }
            ]
        },
    ]
    assert "pending approval: Approve, in the stage Production" in command("status")[1]


def test_the_remaining_days_of_the_certificate_are_shown(aws, watched, certificate, command):
    aws.certificate["NotAfter"] = datetime.now(UTC) + timedelta(days=12, hours=1)
    _, output = command("status", "prod")
    assert "  certificate  12 days left" in output
    assert "  address      https://hello.example.com" in output


def test_a_certificate_that_is_not_issued_is_unknown(aws, watched, certificate, command):
    aws.certificate = {"Status": "PENDING_VALIDATION"}
    code, output = command("status", "prod")
    assert code == 1
    assert "unknown      certificate:" in output
    assert "PENDING_VALIDATION" in output


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("elasticbeanstalk:DescribeInstancesHealth", "instances"),
        ("elasticbeanstalk:DescribeEnvironmentResources", "dashboard"),
        ("elbv2:DescribeTargetGroups", "dashboard"),
        ("cloudformation:DescribeStacks", "dashboard"),
        ("s3:ListObjectsV2", "deployments"),
        ("cloudwatch:DescribeAlarms", "alarms"),
        ("codepipeline:GetPipelineState", "pipeline"),
        ("acm:DescribeCertificate", "certificate"),
        ("secretsmanager:GetSecretValue", "whether writes are stopped"),
        ("sns:ListSubscriptionsByTopic", "who gets messages"),
        ("s3:GetObject", "who works on it"),
    ],
)
def test_a_query_without_a_response_is_shown_as_unknown(
    aws, watched, certificate, command, action, what, code
):
    aws.fail(action, code)
    exit_code, output = command("status", "prod")
    assert exit_code == 1
    assert re.search(rf"unknown:? +{what}: ", output), output
    assert f"{PROD}  Ready  Green/Ok  old" in output  # and the rest is shown
    if what == "alarms":
        assert "none firing" not in output
    if what == "dashboard":
        assert "NOT WATCHED" not in output
    _, found = report(command, "prod")
    assert found["complete"] is False


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_environments_that_cannot_be_listed_are_a_failure(aws, staging, fails, code):
    aws.fail("elasticbeanstalk:DescribeEnvironments", code)
    assert "DescribeEnvironments" in fails("status")


def test_an_environment_that_does_not_exist_is_a_failure(aws, fails):
    assert f"there is no environment {STAGING}" in fails("status", "staging")


def test_an_empty_account_is_shown(aws, command):
    assert command("status") == (0, f"there is no environment in {REGION}\n")


def test_status_changes_nothing(aws, watched, command):
    command("status")
    changing = ("Put", "Delete", "Create", "Update", "Publish", "Abort", "Execute")
    assert not [one for one, _ in aws.calls if one.split(":")[1].startswith(changing)]


def test_watching_continues_until_a_signal(aws, watched, command, clock, monkeypatch):
    """It also continues while AWS does not answer."""
    aws.fail("elasticbeanstalk:DescribeEnvironments", None, times=1)
    monkeypatch.setattr(status_text, "time", clock_that_ends(clock, after=3))
    code, output = command("status", "--watch")
    assert code == 0
    assert output.count("Ctrl-C ends it") == 3
    assert output.count("unknown: AWS did not answer elasticbeanstalk:DescribeEnv") == 1
    assert output.count(f"{PROD}  Ready") == 2


def clock_that_ends(clock, after):
    """A clock that simulates Ctrl-C during its last sleep."""

    class Ends:
        slept = 0

        def sleep(self, seconds):
            assert seconds == 10
            self.slept += 1
            if self.slept == after:
                raise Interrupted

    return Ends()


@pytest.mark.parametrize(
    ("ago", "words"),
    [(0, "0 min"), (119, "119 min"), (120, "2 h"), (47 * 60, "47 h"), (72 * 60, "3 days")],
)
def test_ages_are_rounded_for_people(run, ago, words):
    state = State("x", "Ready", "v", "Green", "Ok", "x", "e-abcdefghij")
    entry = Entry(NOW - timedelta(minutes=ago), "deploy", "v", "", "")
    alarm = Alarm("p-x", NOW - timedelta(minutes=ago), "A sentence. What to do: x")
    one = Report("p", state, "http://x", "d", deployments=[entry], alarms=[alarm])
    text = status_text.to_text(run.settings, Overview(REGION, [one]), NOW)
    assert f"deployed     {words} ago  succeeded v  unknown" in text
    assert f"p-x for {words}: A sentence." in text
