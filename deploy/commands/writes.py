"""Stops and allows writes: while they are stopped, only the smoke test may save and delete.

The application takes its keys from API_KEYS. Stopping replaces them by the smoke test's, and keeps
what they were beside them in the same secret; allowing puts that back. Both are safe to repeat.
"""

from deploy.base.context import Run
from deploy.base.errors import Failure, state
from deploy.commands import credentials
from deploy.config.environments import SECRETS, Environment
from deploy.delivery import rollout, smoke, version
from deploy.resources import beanstalk, lock, secretsmanager

NAME, BEFORE = "API_KEYS", credentials.KEYS_BEFORE


def stop(run: Run, environment: Environment) -> None:
    """Let nobody but the smoke test write, and see that every instance refuses it.

    Raises Failure.
    """
    with lock.hold(run, environment.name):
        with state("nothing was changed"):
            key = smoke.find_key(run, environment)
            arn = credentials.find_place(run, environment, NAME).arn
            stored = secretsmanager.read(run, arn) or {}
            if BEFORE not in stored:
                own = {NAME: credentials.digest(key), BEFORE: stored.get(NAME, "")}
                secretsmanager.write(run, arn, stored | own)
        with state("the keys are replaced, but instances may accept writes still"):
            _use(run, environment, arn)
            if not run.changes.dry_run:
                smoke.refuse_writes(run, environment, key)
    run.changes.done(f"{environment.name} accepts no writes; `writes allow` ends that")


def allow(run: Run, environment: Environment) -> None:
    """Put back the keys from before ``stop``, or that none is needed. Raises Failure."""
    with lock.hold(run, environment.name):
        with state("nothing was changed"):
            arn = credentials.find_place(run, environment, NAME).arn
            stored = secretsmanager.read(run, arn) or {}
            if BEFORE not in stored:
                raise Failure(f"writes to {environment.name} were not stopped", next="none")
            before = stored[BEFORE]
        with state("writes are still stopped"):
            if before:
                secretsmanager.write(run, arn, {**stored, NAME: before})
                _use(run, environment, arn)
            else:
                _forget(run, environment)
            smoke.check(run, environment, smoke.find_key(run, environment))
            rest = {name: value for name, value in stored.items() if name not in (NAME, BEFORE)}
            secretsmanager.write(run, arn, rest | ({NAME: before} if before else {}))
    run.changes.done(f"{environment.name} accepts writes as before")


def _use(run: Run, environment: Environment, arn: str) -> None:
    """Give every container the present value."""
    current = beanstalk.wait_until_ready(run, environment)
    if beanstalk.find_option(run, environment.name, SECRETS, NAME):
        target = version.find(run, current.version)
        rollout.deploy(run, environment, target, is_locked=True)
        return
    option = {"Namespace": SECRETS, "OptionName": NAME, "Value": f"{arn}:{NAME}"}
    beanstalk.change(run, environment, OptionSettings=[option])


def _forget(run: Run, environment: Environment) -> None:
    """Let no container need a key."""
    beanstalk.wait_until_ready(run, environment)
    if beanstalk.find_option(run, environment.name, SECRETS, NAME):
        option = {"Namespace": SECRETS, "OptionName": NAME}
        beanstalk.change(run, environment, OptionsToRemove=[option])
