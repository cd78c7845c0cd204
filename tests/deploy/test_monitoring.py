"""The stack that monitors an environment, and the metric by which its alarms know of a deployment."""

import threading

import pytest

from deploy.resources import logs, monitoring
from tests.support.aws import APPLICATION, LOAD_BALANCER, PROD, REGION, STAGING, TARGET_GROUP

LOG = logs.name(STAGING, logs.APPLICATION)
STACK = f"{STAGING}-operations"


def test_create_sets_up_the_alarms_of_an_environment(aws, staging, command):
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


def test_production_has_an_escalation_and_its_own_thresholds(aws, staging, project, command):
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("PlainHttp = false", "PlainHttp = true"))
    assert command("create", "prod")[0] == 0
    parameters = aws.stacks[f"{PROD}-operations"]["parameters"]
    assert parameters["Escalate"] == "true"
    assert parameters["DatabaseConnections"] == "120"


def test_the_log_group_is_created_before_its_metrics(aws, staging, command):
    command("create", "staging")
    assert aws.logs == {LOG: monitoring.RETENTION}


def test_a_log_group_that_beanstalk_created_is_unchanged(aws, staging, command):
    aws.logs = {LOG: 7, f"{LOG}.old": 1}
    command("create", "staging")
    assert aws.logs == {LOG: 7, f"{LOG}.old": 1}


def test_a_log_group_that_beanstalk_creates_meanwhile_is_accepted(aws, staging, command):
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
def test_an_error_while_alarms_are_set_up_is_a_failure(aws, staging, fails, action, code):
    aws.fail(action, code)
    output = fails("create", "staging")
    assert action.replace("elbv2", "elasticloadbalancing" if code else "elbv2") in output
    assert f"{STAGING} exists; its alarms are unchanged or missing" in output
    assert STACK not in aws.stacks


def test_an_environment_without_a_load_balancer_is_a_failure(aws, staging, fails):
    aws.elbv2_describe_target_groups = lambda **_: {"TargetGroups": []}
    assert f"AWS did not return the load balancer of {STAGING}" in fails("create", "staging")


def test_a_dry_run_only_names_the_alarms_of_a_new_environment(aws, command):
    aws.add_version("new")
    _, output = command("create", "staging", "--dry-run", "--version", "new")
    assert STACK in output
    assert STACK not in aws.stacks


# --- A deployment in progress -------------------------------------------------------------------


def test_a_deployment_is_reported_to_its_alarms(aws, staging, command):
    command("deploy", "staging", "--version", "new")
    assert aws.metrics == [(STAGING, "DeploymentInProgress", 1)]


def test_a_deployment_is_reported_every_minute(aws, staging, programs, command, monkeypatch):
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
def test_a_failed_report_to_the_alarms_does_not_fail_the_deployment(aws, staging, command, code):
    aws.fail("cloudwatch:PutMetricData", code)
    exit_code, output = command("deploy", "staging", "--version", "new")
    assert exit_code == 0
    assert output.count("could not suppress the alarm for this deployment") == 1
    assert f"{STAGING}-instances-fail may fire because of it" in output


def test_a_dry_run_reports_no_deployment(aws, staging, command):
    _, output = command("deploy", "staging", "--version", "new", "--dry-run")
    assert "+ aws cloudwatch put-metric-data --namespace" in output
    assert not aws.metrics


def test_the_stack_is_named_after_the_application():
    assert STACK.startswith(APPLICATION)
