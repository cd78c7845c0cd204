"""CloudWatch: the metrics that AWS sends, by namespace and dimensions, and how logs are filtered.

The metrics are from the documentation of each service, and any other is never sent. Left out is what this service does
not use. Among what one would expect and does not exist here: BurstBalance (gp2 volumes only), ReplicaLag
(read replicas only), UnHealthyHostCount without a target group.
"""

import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Catalogue = Mapping[tuple[str, ...], set[str]]  # names, by namespace and dimensions
Metric = tuple[str, str, tuple[str, ...]]  # namespace, name, names of the dimensions
BALANCER = {
    "RequestCount",
    "HTTPCode_ELB_4XX_Count",
    "HTTPCode_ELB_5XX_Count",
    "TargetResponseTime",
    "HTTPCode_Target_2XX_Count",
    "HTTPCode_Target_4XX_Count",
    "HTTPCode_Target_5XX_Count",
}
INSTANCE = {
    "RootFilesystemUtil",
    "CPUUser",
    "CPUSystem",
    "CPUIdle",
    "LoadAverage1min",
    "InstanceHealth",
}
CATALOGUE: Catalogue = {
    ("AWS/ApplicationELB", "LoadBalancer"): BALANCER,
    ("AWS/ApplicationELB", "LoadBalancer", "TargetGroup"): {
        "HealthyHostCount",
        "UnHealthyHostCount",
        "TargetResponseTime",
    },
    # Only where MetricsCollection asks for it
    ("AWS/AutoScaling", "AutoScalingGroupName"): {
        "GroupInServiceInstances",
        "GroupDesiredCapacity",
        "GroupMinSize",
        "GroupMaxSize",
    },
    ("AWS/EC2", "AutoScalingGroupName"): {"CPUUtilization", "StatusCheckFailed"},
    ("AWS/EC2", "InstanceId"): {"CPUUtilization", "CPUCreditBalance", "StatusCheckFailed"},
    # All but the first only where ConfigDocument asks for it
    ("AWS/ElasticBeanstalk", "EnvironmentName"): {
        "EnvironmentHealth",
        "InstancesOk",
        "InstancesDegraded",
        "InstancesSevere",
        "ApplicationRequestsTotal",
        "ApplicationRequests4xx",
        "ApplicationRequests5xx",
        "ApplicationLatencyP50",
        "ApplicationLatencyP99",
    },
    ("AWS/ElasticBeanstalk", "EnvironmentName", "InstanceId"): INSTANCE,
    # Only where the agent's configuration asks for it
    ("CWAgent", "AutoScalingGroupName", "InstanceId"): {"mem_used_percent"},
    ("AWS/RDS", "DBInstanceIdentifier"): {
        "CPUUtilization",
        "DatabaseConnections",
        "FreeStorageSpace",
        "FreeableMemory",
        "ReadLatency",
        "WriteLatency",
        "SwapUsage",
        "DiskQueueDepth",
    },
    # Only where they are not zero
    ("AWS/Backup", "BackupVaultName"): {
        "NumberOfBackupJobsFailed",
        "NumberOfBackupJobsExpired",
    },
    ("AWS/CertificateManager", "CertificateArn"): {"DaysToExpiry"},
    # In us-east-1 only: docs.aws.amazon.com/Route53/latest/DeveloperGuide/monitoring-cloudwatch.html
    ("AWS/Route53", "HealthCheckId"): {"HealthCheckStatus"},
    ("AWS/SNS", "TopicName"): {"NumberOfNotificationsFailed"},
    ("AWS/Events", "RuleName"): {"FailedInvocations"},
}


class Unknown(Exception):
    """A metric that no service sends."""


def check(
    namespace: str, name: str, dimensions: Iterable[str], own: Catalogue | None = None
) -> None:
    """Raises Unknown when no metric has this namespace, name and set of names of dimensions.

    ``own`` is what the project sends itself, in the form of CATALOGUE.
    """
    known = {**CATALOGUE, **(own or {})}
    if name not in known.get((namespace, *sorted(dimensions)), ()):
        raise Unknown(f"{namespace} {name} by {', '.join(sorted(dimensions)) or 'nothing'}")


def of_alarm(properties: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics of an alarm: namespace, name, names of the dimensions."""
    if "MetricName" in properties:
        yield _metric(properties)
    for one in properties.get("Metrics", []):
        if "MetricStat" in one:
            yield _metric(one["MetricStat"]["Metric"])
        elif found := _selected(one["Expression"]):
            yield found


def of_widget(properties: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics of a dashboard's widget, in the same form."""
    for one in properties.get("metrics", []):
        values = [value for value in one if not isinstance(value, dict)]
        options = one[-1] if isinstance(one[-1], dict) else {}
        if values:
            namespace, name, *dimensions = values
            yield namespace, name, tuple(dimensions[::2])
        elif "SEARCH(" in options["expression"]:
            yield _searched(options["expression"])


def _metric(given: Mapping[str, Any]) -> Metric:
    dimensions = tuple(one["Name"] for one in given.get("Dimensions", []))
    return given["Namespace"], given["MetricName"], dimensions


def _selected(expression: str) -> Metric | None:
    """Of a query of Metrics Insights; None for an expression over other metrics."""
    if not expression.startswith("SELECT"):
        return None
    found = re.fullmatch(
        r'SELECT MAX\((\w+)\) FROM SCHEMA\("([^"]+)", ([\w, ]+)\) WHERE (\w+) = \'[^\']+\'',
        expression,
    )
    assert found, expression
    name, namespace, dimensions, by = found.groups()
    assert by in dimensions.split(", ")
    return namespace, name, tuple(dimensions.split(", "))


def _searched(expression: str) -> Metric:
    found = re.search(r"SEARCH\('\{([^}]+)\} MetricName=\"(\w+)\"", expression)
    assert found, expression
    namespace, *dimensions = found[1].split(",")
    return namespace, found[2], tuple(dimensions)


COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def matches(pattern: str, text: str) -> bool:
    """Whether a line of a log matches a filter pattern: a quoted term, or conditions on JSON joined by "||" and "&&".

    Of https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html, what this project uses.
    Raises ValueError for any other pattern.
    """
    if not pattern:
        return True
    if term := re.fullmatch(r'"([\w. -]+)"', pattern):
        return term[1] in text
    conditions = re.fullmatch(r"\{ (.*) \}", pattern)
    if not conditions:
        raise ValueError(pattern)
    return any(
        all(_holds(one, text) for one in group.split(" && "))
        for group in conditions[1].split(" || ")
    )


def _holds(condition: str, text: str) -> bool:
    found = re.fullmatch(r'\$\.(\w+) (=|!=|>=|<=|>|<) (\w+|"[\w.]+")', condition)
    assert found, condition
    key, compare, value = found.groups()
    try:
        line = json.loads(text)
        return bool(COMPARE[compare](line[key], json.loads(value)))
    except (ValueError, KeyError, TypeError):  # not JSON, or without such a key
        return False
