"""Sets a secret of an environment, to a new value or to the one before, and puts it to use.

After a failure the same command can be run again, and continues where it ended.
"""

from collections.abc import Callable
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import Failure, NotFound, state
from deploy.commands import credentials, secret_values
from deploy.commands.credentials import KEYS_BEFORE, Secret
from deploy.commands.secret_values import KEYS, PREVIOUS
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.resources import beanstalk, lock, secretsmanager, stuck


def change(run: Run, environment: Environment, name: str, ask: Callable[[], str] | None) -> None:
    """Set the secret ``name`` to what ``ask`` returns, and redeploy if it is in use.

    Without ``ask``, to its previous value. Raises Failure, before it calls ``ask`` if ``name``
    cannot be set.
    """
    secret_values.refuse_name(environment, name)
    place = credentials.find_place(run, environment, name)
    value = secret_values.parse(run, environment, name, ask()) if ask else None
    program, short = run.settings.program, environment.short
    with lock.hold(run, environment.name):
        with state("nothing was changed"):
            label = _find_label(run, environment, name)
            stored = credentials.read(run, place.arn)
            if name == KEYS and KEYS_BEFORE in stored:
                remedy = f"{program} writes allow {short}"
                raise Failure(f"writes to {environment.name} are stopped", next=remedy)
            again = f"{program} deploy {short} --version {label}"
            stored = _replace(stored, place.key, value, again if label else "give it a value")
            secretsmanager.write(run, place.arn, stored)
        run.changes.done(f"{name} of {short} is set")
        if label:
            way_back = _way_back(run, environment, place, stored) if ask else again
            _use(run, environment, name, label, way_back)
            return
    run.console.say(f"  next: name it in {environments.NAME}, {environments.SECRETS!r}:")
    run.console.say(f'        {name} = "{{ApplicationSecret}}:{place.key}"')
    run.console.say(f"        and run {program} create {short}")


def _find_label(run: Run, environment: Environment, name: str) -> str:
    """The label whose containers have the secret ``name``, or empty if none has. Raises Failure."""
    if beanstalk.find(run, environment.name) is None or not beanstalk.find_option(
        run, environment.name, environments.SECRETS, name
    ):
        return ""
    return stuck.wait_until_usable(run, environment).version


def _replace(stored: dict[str, Any], key: str, value: str | None, remedy: str) -> dict[str, Any]:
    """``stored`` with ``value`` at ``key``, and the one before it, which None puts back.

    A repetition keeps the one before. Raises NotFound.
    """
    present, before = stored.get(key), stored.get(key + PREVIOUS)
    if value is None:
        if before in (None, present):
            raise NotFound(f"{key} has no other previous value", next=remedy)
        return stored | {key: before}
    kept = {} if present in (None, value) else {key + PREVIOUS: present}
    return stored | kept | {key: value}


def _use(run: Run, environment: Environment, name: str, label: str, way_back: str) -> None:
    with state(f"{name} is set; the running version does not use it yet"):
        try:
            credentials.redeploy(run, environment, label)
        except Failure as failure:
            failure.next = f"{way_back}; {failure.next}"
            raise


def _way_back(run: Run, environment: Environment, place: Secret, stored: dict[str, Any]) -> str:
    """What to do if the value now in ``stored`` is the cause of a failure."""
    if stored.get(place.key + PREVIOUS) not in (None, stored[place.key]):
        way = f"{run.settings.program} secrets set {environment.short} {place.name} --previous"
        return f"if the value is the cause: {way}"
    way = run.settings.aws(
        f"elasticbeanstalk update-environment --environment-name {environment.name} "
        f"--options-to-remove Namespace={environments.SECRETS},OptionName={place.name}"
    )
    return f"if the value is the cause: take {place.name} out of {environments.NAME}, and {way}"
