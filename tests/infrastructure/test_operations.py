"""devops/operations.yml: alarms on metrics that exist, their notifications, and the dashboard."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from deploy.base import settings
from deploy.config import environments
from deploy.resources import logs, monitoring
from deploy.resources.monitoring import Machinery
from tests.support import cloudwatch, dashboard
from tests.support.aws import ACCOUNT, APPLICATION, LOAD_BALANCER, REGION, TARGET_GROUP
from tests.support.cloudformation import Stack
from tests.support.environments import direct
from tests.support.runbook import LINK

FOUNDATION = Stack("devops/foundation.yml", f"{APPLICATION}-foundation", {})
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1"
TEAM, ESCALATION = (
    FOUNDATION.exports[f"{APPLICATION}-foundation-{name}Topic"]
    for name in ("Operations", "Escalation")
)
URGENT = {"users-get-errors", "nothing-serves", "database-unreachable"}


def stack(short, **more):
    """The template with the parameters that `create` passes to it."""
    environment = environments.find(settings.load({}), short)
    machinery = Machinery(
        LOAD_BALANCER.partition(":loadbalancer/")[2], TARGET_GROUP.rpartition(":")[2], "group"
    )
    name = environment.name
    parameters = monitoring.parameters(
        environment, machinery, CERTIFICATE, f"{APPLICATION}-foundation", "greeters/greetings"
    )
    return Stack(
        environments.OPERATIONS, monitoring.name(environment), parameters | more, FOUNDATION.exports
    ), name


PROD, NAME = stack("prod")
ALARMS = PROD.properties("AWS::CloudWatch::Alarm")
COMPOSITES = PROD.properties("AWS::CloudWatch::CompositeAlarm")
BY_NAME = {
    one["AlarmName"].removeprefix(f"{NAME}-"): one
    for one in (*ALARMS.values(), *COMPOSITES.values())
}
NOTIFYING = {name: one for name, one in BY_NAME.items() if "AlarmActions" in one}
DASHBOARD = json.loads(PROD.properties("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"])
WIDGETS = DASHBOARD["widgets"]
FILTERS = PROD.properties("AWS::Logs::MetricFilter")


def own():
    """The metrics that the project itself sends: from the metric filters of its log, and from the deploy tool."""
    found = {(NAME,): {monitoring.IN_PROGRESS}}
    for one in FILTERS.values():
        [made] = one["MetricTransformations"]
        dimensions = (one["Key"] for one in made.get("Dimensions", []))
        found.setdefault((made["MetricNamespace"], *dimensions), set()).add(made["MetricName"])
    return found


def test_every_alarm_is_on_metrics_that_exist():
    for one in (*ALARMS.values(), *FOUNDATION.properties("AWS::CloudWatch::Alarm").values()):
        metrics = list(cloudwatch.of_alarm(one))
        assert metrics, one
        for namespace, name, dimensions in metrics:
            cloudwatch.check(namespace, name, dimensions, own())


def test_every_widget_is_on_metrics_that_exist():
    shown = [one["properties"] for one in WIDGETS if one["type"] == "metric"]
    assert len(shown) >= 12
    for one in shown:
        metrics = list(cloudwatch.of_widget(one))
        assert metrics, one["title"]
        for namespace, name, dimensions in metrics:
            cloudwatch.check(namespace, name, dimensions, own())


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"),
    [
        ("AWS/RDS", "BurstBalance", ["DBInstanceIdentifier"]),
        ("AWS/RDS", "CPUUtilization", ["EnvironmentName"]),
        ("AWS/RDS", "CPUUtilization", []),
        ("AWS/ApplicationELB", "HealthyHostCount", ["LoadBalancer"]),
        ("AWS/ApplicationELB", "RequestCounts", ["LoadBalancer"]),
        ("AWS/EC2", "mem_used_percent", ["InstanceId"]),
        ("CWAgent", "mem_used_percent", ["InstanceId"]),
    ],
)
def test_a_metric_that_does_not_exist_is_detected(namespace, name, dimensions):
    with pytest.raises(cloudwatch.Unknown, match=name):
        cloudwatch.check(namespace, name, dimensions, own())


def test_the_metrics_of_beanstalk_and_the_group_are_enabled(shared, resources):
    """They send some metrics only if .ebextensions enable them."""
    config = json.loads(shared["aws:elasticbeanstalk:healthreporting:system", "ConfigDocument"])[
        "CloudWatchMetrics"
    ]
    [collected] = resources["AWSEBAutoScalingGroup"]["Properties"]["MetricsCollection"]
    used = [metric for one in ALARMS.values() for metric in cloudwatch.of_alarm(one)]
    used += [metric for one in WIDGETS for metric in cloudwatch.of_widget(one["properties"])]
    for namespace, name, dimensions in used:
        if namespace == "AWS/AutoScaling":
            assert name in collected["Metrics"]
        if namespace == "AWS/ElasticBeanstalk" and name != "EnvironmentHealth":
            assert name in config["Instance" if "InstanceId" in dimensions else "Environment"]
    assert collected["Granularity"] == "1Minute"
    # and no metric is enabled, and paid for, that nobody uses
    paid = {name for names in config.values() for name in names}
    assert paid == {name for space, name, _ in used if space == "AWS/ElasticBeanstalk"} - {
        "EnvironmentHealth"
    }


def test_every_alarm_names_its_environment_and_its_runbook_section():
    for name, one in NOTIFYING.items():
        assert one["AlarmName"] == f"{NAME}-{name}"
        assert len(one["AlarmDescription"]) < 400
        [section] = LINK.findall(one["AlarmDescription"])
        assert section == name
        assert one["AlarmActions"] == one["OKActions"]


def test_alarms_notify_the_team_and_urgent_ones_the_escalation():
    for name, one in NOTIFYING.items():
        assert one["AlarmActions"] == [TEAM, *([ESCALATION] if name in URGENT else [])], name
    assert set(NOTIFYING) >= URGENT


def test_urgent_alarms_reach_the_pager():
    """Alarms by their topic, failed deployments by what their messages are marked with."""
    parameters = {"Pager": "+15550100", "PagerProtocol": "sms"}
    foundation = Stack("devops/foundation.yml", FOUNDATION.name, parameters)
    found = foundation.properties("AWS::SNS::Subscription").values()
    pager = {one["TopicArn"]: one for one in found if one["Protocol"] == "sms"}
    assert {one["Endpoint"] for one in pager.values()} == {"+15550100"}
    assert "FilterPolicy" not in pager.pop(ESCALATION)
    [deployments] = pager.values()
    assert deployments["FilterPolicy"] == {"urgent": ["true"]}
    assert "sms" not in {
        one["Protocol"] for one in FOUNDATION.properties("AWS::SNS::Subscription").values()
    }


def test_only_production_uses_the_escalation():
    other, _ = stack("staging")
    for kind in ("Alarm", "CompositeAlarm"):
        for one in other.properties(f"AWS::CloudWatch::{kind}").values():
            assert one.get("AlarmActions", [TEAM]) == [TEAM]


def test_every_required_condition_has_an_alarm():
    assert set(NOTIFYING) == URGENT | {
        "users-wait",
        "instances-fail",
        "instances-busy",
        "instance-memory",
        "instance-disk",
        "database-busy",
        "database-connections",
        "database-storage",
        "database-memory",
        "certificate-ends",
        "messages-dropped",
    }


def test_an_alarm_without_a_message_is_part_of_one_that_has_one():
    """The exception is the alarm that indicates a deployment in progress."""
    parts = {
        name
        for one in COMPOSITES.values()
        for name in re.findall(r"ALARM\(([^)]+)\)", one["AlarmRule"])
    }
    known = {one["AlarmName"] for one in ALARMS.values()}
    assert parts <= known
    silent = {one["AlarmName"] for name, one in BY_NAME.items() if name not in NOTIFYING}
    assert silent - parts == {f"{NAME}-deployment"}


def test_one_cause_sends_one_message():
    """For example, alarms on the consequences of a lost database are suppressed while the database alarm fires."""

    def silent_with(name):
        rule = next(one for one in COMPOSITES.values() if one["AlarmName"] == f"{NAME}-{name}")[
            "AlarmRule"
        ]
        return {one.removeprefix(f"{NAME}-") for one in re.findall(r"NOT ALARM\(([^)]+)\)", rule)}

    assert silent_with("users-get-errors") == {"database-unreachable", "no-healthy-instance"}
    assert silent_with("users-wait") == {"database-unreachable", "database-busy", "instances-busy"}
    assert silent_with("nothing-serves") == {"database-unreachable"}
    assert silent_with("instances-fail") == {"database-unreachable", "no-healthy-instance"}


def test_beanstalk_itself_sends_no_messages(shared):
    """It would send several for each deployment; that an environment is unhealthy is an alarm of ours."""
    options = {*shared, *direct("staging"), *direct("prod")}
    assert "aws:elasticbeanstalk:sns:topics" not in {namespace for namespace, _ in options}


def test_the_alarm_on_a_cause_fires_before_those_on_its_consequences():
    def seconds(name):
        one = BY_NAME[name]
        periods = [one.get("Period")] + [
            part.get("Period") or part.get("MetricStat", {}).get("Period")
            for part in one.get("Metrics", [])
        ]
        return max(filter(None, periods)) * one["EvaluationPeriods"]

    for later in (
        "error-rate",
        "response-time",
        "no-healthy-instance",
        "missing-instances",
        "environment-health",
    ):
        assert seconds("database-unreachable") < seconds(later)
    for later in ("error-rate", "missing-instances", "environment-health"):
        assert seconds("no-healthy-instance") < seconds(later)


def test_a_deployment_silences_only_the_alarms_that_it_must_cause():
    suppressed = {
        one["AlarmName"]: one["ActionsSuppressor"]
        for one in COMPOSITES.values()
        if "ActionsSuppressor" in one
    }
    assert suppressed == {
        f"{NAME}-instances-fail": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{NAME}-deployment"
    }
    deployment = BY_NAME["deployment"]
    assert (deployment["Namespace"], deployment["MetricName"]) == (NAME, monitoring.IN_PROGRESS)
    assert deployment["Period"] == monitoring.MINUTE
    assert "AlarmActions" not in deployment


def test_the_treatment_of_missing_data_is_explicit():
    """The template gives the reason in a comment."""
    text = Path(environments.OPERATIONS).read_text()
    lines = [line for line in text.splitlines() if "TreatMissingData:" in line]
    assert len(lines) == len(ALARMS)
    assert all("  # " in line for line in lines)
    breaching = {
        name for name, one in BY_NAME.items() if one.get("TreatMissingData") == "breaching"
    }
    assert breaching == {"no-healthy-instance"}


def test_few_requests_raise_no_alarm():
    rate = BY_NAME["error-rate"]["Metrics"][-1]["Expression"]
    assert rate.startswith("IF(FILL(requests, 0) >= 20, ")
    assert rate.endswith(", 0)")
    assert BY_NAME["response-time"]["EvaluateLowSampleCountPercentile"] == "ignore"


def test_an_environment_without_a_certificate_has_no_alarm_on_it():
    found, name = stack("prod", WatchedCertificate="")
    names = {one["AlarmName"] for one in found.properties("AWS::CloudWatch::Alarm").values()}
    assert f"{name}-certificate-ends" not in names
    body = json.loads(found.properties("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"])
    [shown] = [one["properties"]["alarms"] for one in body["widgets"] if one["type"] == "alarm"]
    assert not [arn for arn in shown if arn.endswith("certificate-ends")]
    assert len(shown) == len(NOTIFYING)  # without the missing one, with "deployment"


# --- The dashboard


def test_the_dashboard_shows_every_alarm_that_notifies_at_the_top():
    [widget] = [one for one in WIDGETS if one["type"] == "alarm"]
    assert widget["y"] <= 1
    shown = {
        arn.rpartition(":")[2].removeprefix(f"{NAME}-") for arn in widget["properties"]["alarms"]
    }
    assert shown == set(NOTIFYING) | {"deployment"}


def test_the_name_of_a_dashboard_contains_environment_and_region():
    """The names of dashboards are shared by all regions of an account."""
    assert (
        PROD.properties("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardName"]
        == f"{NAME}-{REGION}"
    )
    for one in WIDGETS:
        if one["type"] in ("metric", "log"):
            assert one["properties"]["region"] == REGION


def test_widgets_do_not_overlap_and_fill_their_rows():
    cells = {}
    for one in WIDGETS:
        for x in range(one["x"], one["x"] + one["width"]):
            for y in range(one["y"], one["y"] + one["height"]):
                assert (x, y) not in cells, (one, cells[x, y])
                cells[x, y] = one["properties"].get("title", "")
    height = max(y for _, y in cells) + 1
    assert len(cells) == 24 * height


def test_the_dashboard_shows_every_threshold():
    """The line has the same value as the alarm."""
    lines = {
        line["label"].split(" ")[0]: line["value"]
        for one in WIDGETS
        for line in one["properties"].get("annotations", {}).get("horizontal", [])
    }
    alarms = {"users-get-errors": "error-rate", "users-wait": "response-time"}
    for name, value in lines.items():
        assert float(BY_NAME[alarms.get(name, name)]["Threshold"]) == value
    with_a_number = set(NOTIFYING) - {
        "nothing-serves",
        "instances-fail",
        "certificate-ends",
        "messages-dropped",
    }
    assert set(lines) == with_a_number


# --- Logs


def test_metric_filters_match_the_log_lines_of_the_application(capfd):
    from web.log import RequestLog  # noqa: F401

    patterns = {name: one["FilterPattern"] for name, one in FILTERS.items()}
    assert patterns == {
        "Unavailable": '{ $.logger = "web.requests" && $.status = 503 }',
        "ServerErrors": '{ $.logger = "web.requests" && $.status = 500 }',
        "Duration": '{ $.logger = "web.requests" && $.route = "/*" }',
    }
    for one in FILTERS.values():
        assert one["LogGroupName"] == logs.name(NAME, logs.APPLICATION)
        [made] = one["MetricTransformations"]
        assert ("DefaultValue" in made) != ("Dimensions" in made)


def test_queries_are_saved_for_log_groups_of_the_environment():
    for one in PROD.properties("AWS::Logs::QueryDefinition").values():
        assert one["Name"].startswith(f"{NAME}/")
        assert one["LogGroupNames"][0] == logs.name(NAME, logs.APPLICATION)


def test_logs_are_kept_as_long_as_beanstalk_keeps_them(shared):
    kept = shared["aws:elasticbeanstalk:cloudwatch:logs", "RetentionInDays"]
    assert int(kept) == monitoring.RETENTION


def test_a_failover_sends_a_readable_message():
    rules = PROD.properties("AWS::Events::Rule")
    pattern = rules["DatabaseTrouble"]["EventPattern"]
    assert pattern["detail"]["SourceIdentifier"] == [NAME]
    assert pattern["detail"]["EventCategories"] == ["failover", "failure", "low storage"]
    [target] = rules["DatabaseTrouble"]["Targets"]
    assert target["Arn"] == TEAM
    message = json.loads(target["InputTransformer"]["InputTemplate"].replace("<message>", '"It"'))
    assert message["content"]["title"] == f"{NAME}: an event of its database"
    assert message["content"]["description"] == "It"
    _, next_step = message["content"]["nextSteps"]
    assert LINK.findall(next_step) == ["database-events"]
    [log] = rules["DatabaseEvents"]["Targets"]
    [group] = PROD.properties("AWS::Logs::LogGroup").values()
    assert log["Arn"].endswith(f"log-group:{group['LogGroupName']}")
    policy = FOUNDATION.properties("AWS::Logs::ResourcePolicy")["EventsMayWriteLogs"]
    [statement] = json.loads(policy["PolicyDocument"])["Statement"]
    assert statement["Resource"].endswith(f"{APPLICATION}-*:*")
    assert group["LogGroupName"].startswith(statement["Resource"].split("log-group:")[1][:-3])


def test_a_dropped_message_is_reported_by_another_topic():
    dropped = FOUNDATION.properties("AWS::CloudWatch::Alarm")
    topics = {TEAM, ESCALATION, FOUNDATION.exports[f"{APPLICATION}-foundation-DeploymentsTopic"]}
    watched = set()
    for one in dropped.values():
        [dimension] = one["Dimensions"]
        [topic] = one["AlarmActions"]
        assert not topic.endswith(f":{dimension['Value']}")
        watched.add(dimension["Value"])
    assert watched == {topic.rpartition(":")[2] for topic in topics}


def test_the_dashboard_can_be_drawn(tmp_path):
    """docs/dashboard.png is drawn this way, with every widget and its expressions."""
    picture = tmp_path / "dashboard.png"
    dashboard.draw(dashboard.deployed(), picture)
    with Image.open(picture) as drawn:
        assert drawn.size[0] == dashboard.WIDTH
    with Image.open(dashboard.PICTURE) as kept:
        assert kept.size == drawn.size, "make dashboard draws it again"
