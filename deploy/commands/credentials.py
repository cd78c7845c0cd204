"""Which secrets an environment has, and where each is stored.

They are configured in devops/environments.toml, in "environmentsecrets". A container keeps the
values with which it was started, so the running version is deployed again after a change.
"""

from typing import Any, NamedTuple

from deploy.base.context import Run
from deploy.base.errors import Failure, NotFound
from deploy.config.environments import SECRETS, Environment
from deploy.delivery import rollout, version
from deploy.resources import secretsmanager, stacks

# Kept in the same secret: what API_KEYS were when writes were stopped (see writes.py)
KEYS_BEFORE = "API_KEYS_BEFORE"


class Secret(NamedTuple):
    """An environment variable of the application, and where its value is stored."""

    name: str
    arn: str
    key: str
    exists: bool


def find(run: Run, environment: Environment) -> list[Secret]:
    """The secrets that ``environment`` needs, by name, without their values. Raises Failure."""
    found = []
    for option in environment.options(find_outputs(run, environment)):
        if option["Namespace"] == SECRETS:
            *parts, key = option["Value"].split(":")[:8]
            exists = key in read(run, ":".join(parts))
            found.append(Secret(option["OptionName"], ":".join(parts), key, exists))
    return found


def find_place(run: Run, environment: Environment, name: str) -> Secret:
    """Where ``name`` is stored, or will be. Raises Failure, also if it is not set by hand."""
    own = find_outputs(run, environment)["ApplicationSecret"]
    known = {secret.name: secret for secret in find(run, environment)}
    place = known.get(name, Secret(name, own, name, exists=False))
    if place.arn != own:
        remedy = f"{run.settings.program} secrets rotate {environment.short}"
        raise Failure(f"{name} is not set by hand", next=remedy)
    return place


def find_outputs(run: Run, environment: Environment) -> dict[str, str]:
    """The outputs of the stacks, which name the secrets. Raises Failure."""
    found: dict[str, str] = {}
    for stack in (run.settings.foundation, environment.name):
        outputs = stacks.find_outputs(run, stack)
        if outputs is None:
            remedy = run.settings.elsewhere(f"create {environment.short}")
            raise NotFound(f"there is no stack {stack}", next=remedy)
        found |= outputs
    return found


def read(run: Run, arn: str) -> dict[str, Any]:
    """The values of a secret; empty if there is none. Raises Failure."""
    return secretsmanager.read(run, arn) or {}


def are_writes_stopped(run: Run, name: str) -> bool:
    """Whether writes to the environment ``name`` are stopped. Raises Failure."""
    return KEYS_BEFORE in read(run, f"{name}/application")


def show(run: Run, environment: Environment) -> bool:
    """Print the secrets that ``environment`` needs; whether all of them exist. Raises Failure."""
    found = find(run, environment)
    for one in found:
        where = f"{one.arn.rsplit(':', 1)[1]}, key {one.key}"
        run.console.result(f"{'      ' if one.exists else 'MISSING'} {one.name}  {where}")
    return all(one.exists for one in found)


def redeploy(run: Run, environment: Environment, label: str) -> None:
    """Deploy the running version again, so that its containers get the current values.

    The caller holds the lock. Raises Failure.
    """
    rollout.deploy(run, environment, version.find(run, label), is_locked=True)
