"""Monitoring of an environment: the stack of devops/operations.yml, and its alarms."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, NotFound, state
from deploy.config import owner
from deploy.config.environments import OPERATIONS, Environment
from deploy.resources import logs, stacks

IN_PROGRESS = "DeploymentInProgress"  # a metric in the namespace of the environment
MINUTE = 60  # seconds, the period of the alarm on it
LAST_CALL = 60  # seconds that a call on its way may take when the deployment has ended
RETENTION = 90  # days, as in .ebextensions/60-monitoring.config


@dataclass(frozen=True)
class Machinery:
    """The resources that Beanstalk created for an environment, by their names in CloudWatch."""

    load_balancer: str  # app/NAME/ID
    target_group: str  # targetgroup/NAME/ID
    group: str  # of the instances


def name(environment: Environment) -> str:
    """The stack that watches ``environment``."""
    return f"{environment.name}-operations"


def is_watched(run: Run, environment_name: str) -> bool:
    """Whether the alarms watch the environment's current load balancer. Raises AwsFailure."""
    outputs = stacks.find_outputs(run, f"{environment_name}-operations")
    machinery = find_machinery(run, environment_name)
    if outputs is None or machinery is None:
        return False
    return outputs.get("LoadBalancer") == machinery.load_balancer


def dashboard_url(run: Run, environment_name: str) -> str:
    """The URL of an environment's dashboard."""
    region = run.settings.region
    return (
        f"{run.settings.console_url}/cloudwatch/home?region={region}"
        f"#dashboards/dashboard/{environment_name}-{region}"
    )


def watch(run: Run, environment: Environment, certificate: str) -> None:
    """Create or update the dashboard, alarms, metrics and queries of an existing ``environment``.

    ``certificate`` is the ARN of its certificate, or empty. Raises Failure.
    """
    with state(f"{environment.name} exists; its alarms are unchanged or missing"):
        machinery = find_machinery(run, environment.name)
        if machinery is None:
            raise NotFound(
                f"AWS did not return the load balancer of {environment.name}",
                next=f"see: {run.settings.eb(f'events {environment.name}')}; then run it again",
            )
        _ensure_log(run, logs.name(environment.name, logs.APPLICATION))
        repository = owner.read(run.settings.root).repository
        stacks.apply(
            run,
            name(environment),
            OPERATIONS,
            parameters(environment, machinery, certificate, run.settings.foundation, repository),
        )
    run.changes.done(f"the dashboard: {dashboard_url(run, environment.name)}")


@contextmanager
def announced(run: Run, environment: Environment) -> Iterator[None]:
    """A context in which the alarms that a deployment to ``environment`` triggers are silent.

    If AWS refuses this, the refusal is reported, but the deployment does not fail.
    """
    ended = threading.Event()
    metric: dict[str, Any] = {
        "Namespace": environment.name,
        "MetricData": [{"MetricName": IN_PROGRESS, "Value": 1}],
    }

    def repeat() -> None:
        while not ended.wait(MINUTE):
            try:
                run.aws.ask("cloudwatch", "put_metric_data", **metric)  # shown once, below
            except AwsFailure as failure:
                _unannounced(run, environment, failure)
                return

    try:
        run.aws.change("cloudwatch", "put_metric_data", **metric)
    except AwsFailure as failure:
        _unannounced(run, environment, failure)
        ended.set()
    repeating = threading.Thread(target=repeat, name=IN_PROGRESS, daemon=True)
    run.changes.quietly(repeating.start)
    try:
        yield
    finally:
        ended.set()
        if repeating.ident:
            repeating.join(LAST_CALL)


def _unannounced(run: Run, environment: Environment, failure: AwsFailure) -> None:
    run.console.say(f"could not suppress the alarm for this deployment: {failure.what}")
    run.console.say(f"  {environment.name}-instances-fail may fire because of it")


def parameters(
    environment: Environment,
    machinery: Machinery,
    certificate: str,
    foundation: str,
    repository: str,
) -> dict[str, str]:
    """The parameters of devops/operations.yml."""
    return {
        "Environment": environment.name,
        "Foundation": foundation,
        "Repository": repository,
        "Escalate": str(environment.is_production).lower(),
        "LoadBalancer": machinery.load_balancer,
        "TargetGroup": machinery.target_group,
        "AutoScalingGroup": machinery.group,
        "ApplicationLog": logs.name(environment.name, logs.APPLICATION),
        "ProxyLog": logs.name(environment.name, logs.PROXY),
        "WatchedCertificate": certificate,
    } | environment.thresholds()


def find_machinery(run: Run, name: str) -> Machinery | None:
    """The resources of the environment ``name``, or None if some are missing. Raises AwsFailure."""
    found = run.aws.ask("elasticbeanstalk", "describe_environment_resources", EnvironmentName=name)[
        "EnvironmentResources"
    ]
    if not (found["LoadBalancers"] and found["AutoScalingGroups"]):
        return None
    balancer = found["LoadBalancers"][0]["Name"]  # an ARN
    groups = run.aws.every(
        "elbv2", "describe_target_groups", "TargetGroups", LoadBalancerArn=balancer
    )
    if not groups:
        return None
    return Machinery(
        balancer.partition(":loadbalancer/")[2],
        groups[0]["TargetGroupArn"].rpartition(":")[2],
        found["AutoScalingGroups"][0]["Name"],
    )


def _ensure_log(run: Run, group: str) -> None:
    """The metrics need an existing log group. Beanstalk creates it, but does not promise when."""
    if group in logs.find_groups(run, group):
        return
    try:
        run.aws.change("logs", "create_log_group", logGroupName=group)
    except AwsFailure as failure:
        if failure.code != "ResourceAlreadyExistsException":  # Beanstalk made it just now
            raise
    run.aws.change("logs", "put_retention_policy", logGroupName=group, retentionInDays=RETENTION)
