"""The metrics that alarms are about, and those of them that nobody has ever sent."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from deploy.base.context import Run
from deploy.base.findings import Finding, later, not_ready, ready
from deploy.config.environments import Environment
from deploy.resources.beanstalk import State

PATIENCE = timedelta(days=1)  # until each metric has a value
SELECT = re.compile(r'SELECT \w+\("?([\w.]+)"?\) FROM SCHEMA\("?([^",]+)"?')
# Those that have no value as long as nothing happens. ELB reports "a nonzero value" only:
# docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html;
# the deploy tool writes the last one
SILENT = {
    "HTTPCode_Target_5XX_Count",
    "HTTPCode_ELB_5XX_Count",
    "FailedInvocations",
    "NumberOfBackupJobsFailed",
    "NumberOfBackupJobsExpired",
    "NumberOfNotificationsFailed",
    "DeploymentInProgress",
}


class Metric(NamedTuple):
    """A metric by its names; ``dimensions`` are empty where any will do."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()


def check(run: Run, environment: Environment, state: State, now: datetime) -> list[Finding]:
    """Whether each metric of the environment's alarms has data, a day after it was created.

    CloudWatch lists those that had data in the last two weeks:
    docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html. Raises
    AwsFailure.
    """
    program = run.settings.program
    if state.created is None or now - state.created < PATIENCE:
        return later(f"checked one day after {state.name} was created")
    needed = find_needed(run, state.name)
    if not needed:
        return not_ready("there are no alarms", f"{program} create {environment.short}")
    missing = sorted(f"{one.namespace} {one.name}" for one in needed if not _exists(run, one))
    if missing:
        return not_ready(
            f"no data in two weeks, or under another name: {', '.join(missing)}",
            f"{program} smoke {environment.short}, in case nobody has called it; after ten "
            "minutes run this again. If they are still missing, correct devops/operations.yml",
        )
    return ready(f"all {len(needed)} metrics of the alarms have data")


def find_needed(run: Run, name: str) -> set[Metric]:
    """The metrics of the alarms of the environment ``name``. Raises AwsFailure."""
    alarms = run.aws.every(
        "cloudwatch",
        "describe_alarms",
        "MetricAlarms",
        AlarmNamePrefix=f"{name}-",
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
    )
    return {metric for one in alarms for metric in _read(one) if metric.name not in SILENT}


def _read(alarm: dict[str, Any]) -> Iterator[Metric]:
    if "MetricName" in alarm:
        yield _metric(alarm)
    for one in alarm.get("Metrics", []):
        if "MetricStat" in one:
            yield _metric(one["MetricStat"]["Metric"])
        elif found := SELECT.match(one.get("Expression", "")):
            yield Metric(found[2], found[1])


def _metric(found: dict[str, Any]) -> Metric:
    dimensions = sorted((one["Name"], one["Value"]) for one in found.get("Dimensions", []))
    return Metric(found["Namespace"], found["MetricName"], tuple(dimensions))


def _exists(run: Run, metric: Metric) -> bool:
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    found = run.aws.every(
        "cloudwatch",
        "list_metrics",
        "Metrics",
        Namespace=metric.namespace,
        MetricName=metric.name,
        **({"Dimensions": dimensions} if dimensions else {}),
    )
    return bool(found)
