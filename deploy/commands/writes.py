"""Stops and allows writes: while they are stopped, only the smoke test may save and delete.

The application takes its keys from API_KEYS. Stopping replaces them, and keeps what they were
beside them in the same secret; allowing puts that back. Both are safe to repeat.
"""

from secrets import token_hex
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import Failure, state
from deploy.commands import credentials, secret_values
from deploy.commands.credentials import KEYS_BEFORE as BEFORE
from deploy.commands.secret_values import KEYS as NAME
from deploy.config import environments
from deploy.config.environments import SECRETS, Environment
from deploy.delivery import smoke
from deploy.resources import beanstalk, lock, secretsmanager, stuck


def stop(run: Run, environment: Environment) -> None:
    """Reject all writes but those of the smoke test, and verify it on every instance.

    One more key is among the new ones, and known to this run only: an instance that accepts it has
    no older ones. Raises Failure.
    """
    proof = token_hex()
    with lock.hold(run, environment.name):
        with state("nothing was changed"):
            keys = (smoke.find_key(run, environment), proof)
            arn = _find_secret(run, environment)
            label = stuck.wait_until_usable(run, environment).version
            stored = credentials.read(run, arn)
            own = {NAME: ",".join(map(secret_values.digest, keys))}
            kept = {BEFORE: stored.get(BEFORE, stored.get(NAME, ""))}
            secretsmanager.write(run, arn, stored | own | kept)
        with state("the keys are replaced, but instances may still accept writes"):
            _use(run, environment, arn, label)
            run.changes.quietly(lambda: smoke.refuse_writes(run, environment, proof))
    allowing = f"{run.settings.program} writes allow {environment.short}"
    run.changes.done(f"{environment.name} accepts no writes; this ends that: {allowing}")


def allow(run: Run, environment: Environment) -> None:
    """Put back the keys from before ``stop``, or that none is needed. Raises Failure."""
    with lock.hold(run, environment.name):
        with state("nothing was changed"):
            arn = _find_secret(run, environment)
            stored = credentials.read(run, arn)
            if BEFORE not in stored:
                run.console.say(f"writes to {environment.name} are not stopped")
                return
            label = stuck.wait_until_usable(run, environment).version
        with state("writes are still stopped"):
            if stored[BEFORE]:
                secretsmanager.write(run, arn, stored | {NAME: stored[BEFORE]})
                _use(run, environment, arn, label)
            else:
                _forget(run, environment)
                smoke.check(run, environment, key="")
            secretsmanager.write(run, arn, allowed(stored))
    how = (
        "with the previous keys" if stored[BEFORE] else "without a key, as before they were stopped"
    )
    run.changes.done(f"{environment.name} accepts writes {how}")


def allowed(stored: dict[str, Any]) -> dict[str, Any]:
    """The application's secrets as they were before ``stop``, if they are ``stored`` after it."""
    if BEFORE not in stored:
        return stored
    rest = {name: value for name, value in stored.items() if name not in (NAME, BEFORE)}
    return rest | ({NAME: stored[BEFORE]} if stored[BEFORE] else {})


def _find_secret(run: Run, environment: Environment) -> str:
    """The ARN of the secret that has the keys. Raises Failure."""
    place = credentials.find_place(run, environment, NAME)
    command = run.settings.program
    if place.key != NAME:
        raise Failure(
            f"{NAME} of {environment.name} are stored as {place.key}",
            next=f'in {environments.NAME}: {NAME} = "{{ApplicationSecret}}:{NAME}"; then '
            f"{command} secrets set {environment.short} {NAME}; {command} create "
            f"{environment.short}",
        )
    return place.arn


def _use(run: Run, environment: Environment, arn: str, label: str) -> None:
    """Give every container the present value."""
    if beanstalk.find_option(run, environment.name, SECRETS, NAME):
        credentials.redeploy(run, environment, label)
        return
    option = {"Namespace": SECRETS, "OptionName": NAME, "Value": f"{arn}:{NAME}"}
    beanstalk.change(run, environment, OptionSettings=[option])


def _forget(run: Run, environment: Environment) -> None:
    """Let no container need a key."""
    if beanstalk.find_option(run, environment.name, SECRETS, NAME):
        option = {"Namespace": SECRETS, "OptionName": NAME}
        beanstalk.change(run, environment, OptionsToRemove=[option])
