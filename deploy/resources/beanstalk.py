"""Environments on Elastic Beanstalk: their state, their events, and waiting for them."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound, Unhealthy
from deploy.base.waiting import Pending, persist, wait_until
from deploy.config.environments import Environment
from deploy.resources import events

EB_GRACE = 120  # seconds beyond the time limit of `eb`, which it does not always respect


@dataclass(frozen=True)
class State:
    """The state of an environment, as AWS reports it."""

    name: str
    status: str  # Ready, Launching, Updating, Terminating...
    version: str  # empty if its creation failed half-way
    colour: str  # Green, Yellow, Red, Grey
    health: str  # of enhanced health: Ok, Warning, Degraded, Severe...
    cname: str
    id: str  # such as e-abcdefghij; an environment that is created again has another one
    platform: str = ""  # such as "64bit Amazon Linux 2023 v4.13.7 running Docker"
    created: datetime | None = None

    @property
    def stack(self) -> str:
        """The name of the stack in which Beanstalk keeps its resources."""
        return f"awseb-{self.id}-stack"


def find(run: Run, name: str) -> State | None:
    """The state of the environment ``name``, or None if there is none. Raises AwsFailure."""
    return find_all(run, EnvironmentNames=[name]).get(name)


def find_all(run: Run, **only: Any) -> dict[str, State]:
    """The states of all environments of the application, by name. Raises AwsFailure.

    Or of those that the parameters ``only`` of DescribeEnvironments say.
    """
    found = run.aws.every(
        "elasticbeanstalk",
        "describe_environments",
        "Environments",
        ApplicationName=run.settings.application,
        IncludeDeleted=False,
        **only,
    )
    return {one["EnvironmentName"]: _state(one) for one in found}


def wait_until_ready(run: Run, environment: Environment) -> State:
    """The state of ``environment`` as soon as AWS accepts requests for it.

    Raises NotFound when there is none, Failure when it is being terminated, or is not ready within
    the time for one deployment.
    """
    name, command = environment.name, run.settings.elsewhere(f"create {environment.short}")
    abort = f"elasticbeanstalk abort-environment-update --environment-name {name}"

    def look() -> State | Pending:
        state = find(run, name)
        if state is None:
            raise NotFound(f"there is no environment {name} in {run.settings.region}", next=command)
        if state.status in ("Terminating", "Terminated"):
            raise Failure(
                f"{name} is being terminated", next=f"wait until it is terminated, then: {command}"
            )
        if state.status == "Ready":
            return state
        return Pending(state.status, events.find_last(run, name))

    found = wait_until(run, name, look, run.settings.deploy_timeout)
    if isinstance(found, Pending):
        raise Failure(
            f"{name} is still {found.state} after {_minutes(run)} minutes",
            "this run has ended; the operation continues on AWS",
            f"see {run.settings.eb(f'events {name}')}; or stop it: {run.settings.aws(abort)}",
        )
    return found


def find_difference(run: Run, name: str, label: str) -> str:
    """Why ``name`` is not healthy with ``label`` on every instance; empty if it is.

    Raises AwsFailure.
    """
    state = find(run, name)
    if state is None:
        return f"there is no environment {name}"
    labels = set(find_running(run, name))
    found = (state.status, state.version, state.colour, state.health, labels)
    if found == ("Ready", label, "Green", "Ok", {label}):
        return ""
    return (
        f"{name} is {state.status}, with version {state.version or 'unknown'}, "
        f"{state.colour}/{state.health}, its instances at: {', '.join(sorted(labels)) or 'unknown'}"
    )


def find_running(run: Run, name: str) -> Counter[str]:
    """The number of instances of ``name`` by the label that they run, or "unknown".

    A deployment that failed has its label, too, and does not run:
    docs.aws.amazon.com/elasticbeanstalk/latest/api/API_Deployment.html. Raises AwsFailure.
    """
    instances = run.aws.every(
        "elasticbeanstalk",
        "describe_instances_health",
        "InstanceHealthList",
        EnvironmentName=name,
        AttributeNames=["Deployment"],
    )
    found = (one.get("Deployment", {}) for one in instances)
    running = ({} if one.get("Status") == "Failed" else one for one in found)
    return Counter(one.get("VersionLabel") or "unknown" for one in running)


def wait_until_running(run: Run, name: str, label: str) -> None:
    """Wait until every instance of ``name`` runs ``label`` and is healthy.

    Raises Unhealthy if they do not within HEALTH_TIMEOUT, and AwsFailure.
    """

    def look() -> Pending | None:
        difference = find_difference(run, name, label)
        return Pending("not ready yet", difference) if difference else None

    late = wait_until(run, name, look, run.settings.health_timeout)
    if late:
        raise Unhealthy(late.detail)


def update(run: Run, name: str, label: str) -> None:
    """Let ``eb`` deploy ``label``, and verify that: ``eb`` can exit with 0 without deploying.

    Raises Unhealthy when an instance does not run it.
    """
    code = run.tools.change(
        "eb",
        "deploy",
        name,
        "--version",
        label,
        "--timeout",
        str(_minutes(run)),
        *run.settings.eb_options,
        timeout=run.settings.deploy_timeout + EB_GRACE,
    )
    if code:
        raise Unhealthy(f"eb deploy ended with exit code {code}")
    run.changes.quietly(lambda: wait_until_running(run, name, label))


def find_options(run: Run, name: str) -> dict[tuple[str, str], str]:
    """The options of the environment ``name`` that have a value, by namespace and name.

    Raises AwsFailure.
    """
    found = run.aws.ask(
        "elasticbeanstalk",
        "describe_configuration_settings",
        ApplicationName=run.settings.application,
        EnvironmentName=name,
    )["ConfigurationSettings"]
    # There may be a draft as well, which is being deployed or could not be; and nothing at all for
    # those who may not see it: the documentation of the operation in botocore
    deployed = [one for one in found if one.get("DeploymentStatus") == "deployed"] or found
    if not deployed:
        raise AwsFailure(
            f"AWS did not return the settings of {name}",
            "grant elasticbeanstalk:DescribeConfigurationSettings to these credentials, or use "
            "others",
        )
    return {
        (one["Namespace"], one["OptionName"]): one["Value"]
        for one in deployed[0]["OptionSettings"]
        if one.get("Value")
    }


def find_option(run: Run, name: str, namespace: str, option: str) -> str:
    """The value of an option of the environment ``name``, or empty. Raises AwsFailure."""
    return find_options(run, name).get((namespace, option), "")


def change(run: Run, environment: Environment, **options: Any) -> None:
    """Change options of ``environment``, and see that its instances use them. Raises Failure."""
    since = events.find_mark(run, environment.name)
    run.aws.change(
        "elasticbeanstalk", "update_environment", EnvironmentName=environment.name, **options
    )
    if not run.changes.dry_run:
        current = wait_until_ready(run, environment)
        events.refuse_errors(run, environment.name, since, "run it again")
        wait_until_running(run, environment.name, current.version)


def stop_update(run: Run, environment: Environment) -> None:
    """Abort the current operation on ``environment``, if any, and wait until it is Ready.

    After `eb` has given up waiting, AWS continues, and accepts no other request. Raises Failure.
    """
    name = environment.name
    state = persist(run, name, lambda: find(run, name))
    if state is not None and state.status != "Ready":
        run.console.say(f"{name} is {state.status}: stopping the operation")
        try:
            run.aws.change("elasticbeanstalk", "abort_environment_update", EnvironmentName=name)
        except AwsFailure as failure:  # it may have ended meanwhile, which is checked below
            run.console.say(f"it could not be stopped: {failure.what}")
    wait_until_ready(run, environment)


def _minutes(run: Run) -> int:
    return round(run.settings.deploy_timeout / 60)


def _state(found: dict[str, Any]) -> State:
    return State(
        found["EnvironmentName"],
        found["Status"],
        found.get("VersionLabel") or "",
        found.get("Health") or "Grey",
        found.get("HealthStatus") or "Unknown",
        found.get("CNAME") or "",
        found["EnvironmentId"],
        found.get("SolutionStackName") or "",
        found.get("DateCreated"),
    )
