"""The stack that monitors an environment, and the metric by which its alarms know of a deployment."""

import threading

import pytest

from deploy.resources import logs, monitoring
from tests.support.aws import APPLICATION, LOAD_BALANCER, PROD, REGION, STAGING, TARGET_GROUP

LOG = logs.name(STAGING, logs.APPLICATION)
STACK = f"{STAGING}-operations"


def test_create_watches_an_environment(aws, staging, command):
    code, output = command("create", "staging")
    assert code == 0, output
    parameters = aws.stacks[STACK]["parameters"]
    assert parameters["LoadBalancer"] == LOAD_BALANCER.partition(":loadbalancer/")[2]
    assert parameters["TargetGroup"] == TARGET_GROUP.rpartition(":")[2]
    assert parameters["AutoScalingGroup"] == f"awseb-{STAGING}"
    assert parameters["Repository"] == f"greeters/{APPLICATION}"
    assert parameters["ErrorPercent"] == "2"
    assert parameters["Escalate"] == "false"
    assert f"the dashboard: https://{REGION}.console.aws.amazon.com/cloudwatch/" in output
    assert f"dashboards/dashboard/{STAGING}-{REGION}" in output


def test_production_escalates_and_has_thresholds_of_its_own(aws, staging, project, command):
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("PlainHttp = false", "PlainHttp = true"))
    assert command("create", "prod")[0] == 0
    parameters = aws.stacks[f"{PROD}-operations"]["parameters"]
    assert parameters["Escalate"] == "true"
    assert parameters["DatabaseConnections"] == "120"


def test_the_log_that_metrics_are_made_of_is_there_before_them(aws, staging, command):
    command("create", "staging")
    assert aws.logs == {LOG: monitoring.RETENTION}


def test_the_log_that_beanstalk_made_is_left_as_it_is(aws, staging, command):
    aws.logs = {LOG: 7, f"{LOG}.old": 1}
    command("create", "staging")
    assert aws.logs == {LOG: 7, f"{LOG}.old": 1}


def test_a_log_that_beanstalk_makes_at_the_same_time(aws, staging, command):
    aws.fail("logs:CreateLogGroup", "ResourceAlreadyExistsException")
    assert command("create", "staging")[0] == 0
    assert STACK in aws.stacks


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize(
    "action",
    [
        "elasticbeanstalk:DescribeEnvironmentResources",
        "elbv2:DescribeTargetGroups",
        "logs:DescribeLogGroups",
        "logs:CreateLogGroup",
        "logs:PutRetentionPolicy",
    ],
)
def test_what_keeps_it_from_being_watched(aws, staging, fails, action, code):
    aws.fail(action, code)
    output = fails("create", "staging")
    assert action.replace("elbv2", "elasticloadbalancing" if code else "elbv2") in output
    assert f"{STAGING} exists; its alarms are unchanged or missing" in output
    assert STACK not in aws.stacks


def test_an_environment_without_a_load_balancer(aws, staging, fails):
    aws.elbv2_describe_target_groups = lambda **_: {"TargetGroups": []}
    assert f"AWS did not return the load balancer of {STAGING}" in fails("create", "staging")


def test_a_dry_run_shows_what_would_watch_a_new_environment_only_later(aws, command):
    aws.add_version("new")
    _, output = command("create", "staging", "--dry-run", "--version", "new")
    assert STACK in output
    assert STACK not in aws.stacks


# --- A deployment in progress -------------------------------------------------------------------


def test_alarms_know_of_a_deployment(aws, staging, command):
    command("deploy", "staging", "--version", "new")
    assert aws.metrics == [(STAGING, "DeploymentInProgress", 1)]


def test_they_are_told_every_minute_while_it_lasts(aws, staging, programs, command, monkeypatch):
    """A minute takes no time in this test; the deployment waits until it has been reported three times."""
    monkeypatch.setattr(monitoring, "MINUTE", 0.001)
    often = threading.Event()
    put = aws.cloudwatch_put_metric_data

    def note(**parameters):
        put(**parameters)
        if len(aws.metrics) == 3:
            often.set()

    aws.cloudwatch_put_metric_data = note
    programs.effects["eb deploy"] = lambda: often.wait(60)
    command("deploy", "staging", "--version", "new")
    assert often.is_set()
    assert not [one for one in threading.enumerate() if one.name == monitoring.IN_PROGRESS]


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_that_they_cannot_be_told_fails_no_deployment(aws, staging, command, code):
    aws.fail("cloudwatch:PutMetricData", code)
    exit_code, output = command("deploy", "staging", "--version", "new")
    assert exit_code == 0
    assert output.count("could not suppress the alarm for this deployment") == 1
    assert f"{STAGING}-instances-fail may fire because of it" in output


def test_a_dry_run_tells_nobody(aws, staging, command):
    _, output = command("deploy", "staging", "--version", "new", "--dry-run")
    assert "+ aws cloudwatch put-metric-data --namespace" in output
    assert not aws.metrics


def test_the_name_of_its_stack_is_that_of_the_environment():
    assert STACK.startswith(APPLICATION)
