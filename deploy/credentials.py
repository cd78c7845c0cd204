"""The secrets of an environment: listed by name, set, and rotated.

The secrets are configured in devops/environments.toml, in "environmentsecrets". A container
keeps the values with which it was started, so the running version is deployed again after a change.
After a failure the same command can be run again, and continues where it ended.
"""

import hashlib
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from deploy import beanstalk, environments, rollout, smoke, stacks, vault, version
from deploy.environments import Environment
from deploy.errors import Failure, NotFound, state
from deploy.run import Run
from deploy.settings import PROGRAM

PASSWORD_LENGTH = 40
PATIENCE = 1800  # seconds until RDS has changed the password
DIGEST = re.compile(r"[0-9a-f]{64}")


class Secret(NamedTuple):
    """An environment variable of the application, and where its value is stored."""

    name: str
    arn: str
    key: str
    exists: bool


def read(run: Run, environment: Environment) -> list[Secret]:
    """The secrets that ``environment`` needs, by name, without their values. Raises Failure."""
    found = []
    with state("nothing was changed"):
        for option in environment.options(_outputs(run, environment)):
            if option["Namespace"] == environments.SECRETS:
                parts = option["Value"].split(":")
                arn, key = ":".join(parts[:7]), parts[7]
                exists = key in (vault.read(run, arn) or {})
                found.append(Secret(option["OptionName"], arn, key, exists))
    return found


def change(run: Run, environment: Environment, name: str, ask: Callable[[], str]) -> None:
    """Set the secret ``name`` to what ``ask`` returns, and redeploy if it is in use.

    Raises Failure, before it calls ``ask`` if ``name`` cannot be set.
    """
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise Failure(f"{name!r} is not a name for an environment variable", "nothing was changed",
                      "use capital letters, digits and _")  # fmt: skip
    arn = _outputs(run, environment)["ApplicationSecret"]
    known = {secret.name: secret for secret in read(run, environment)}
    if name in known and known[name].arn != arn:
        raise Failure(f"{name} is not set by hand", "nothing was changed",
                      f"{PROGRAM} secrets rotate {environment.short}")  # fmt: skip
    value = ask()
    if not value:
        raise Failure(f"{name} would be empty, which counts as absent", "nothing was changed",
                      "give it a value")  # fmt: skip
    with state("nothing was changed"):
        if name == "API_KEYS":
            value = _with_smoke_test(value, smoke.find_key(run, environment))
        vault.write(run, arn, (vault.read(run, arn) or {}) | {name: value})
    run.changes.done(f"{name} of {environment.short} is set")
    if name in known:
        with state(f"{name} is set; the running version does not use it yet"):
            _redeploy(run, environment)
        return
    run.console.say(f"  next: name it in {environments.NAME}, {environments.SECRETS!r}:")
    run.console.say(f'        {name} = "{{ApplicationSecret}}:{name}"')
    run.console.say(f"        and run {PROGRAM} create {environment.short}")


def rotate(run: Run, environment: Environment) -> None:
    """Change the database password of ``environment``, without a failed request.

    First every instance gets the new password beside the old one, then the database is changed,
    then the old one is dropped: containers that run or start meanwhile know the accepted one.
    Raises Failure.
    """
    arn = _outputs(run, environment)["DatabaseSecret"]
    with state("nothing was changed"):
        value = vault.read(run, arn)
        if not (value and value.get("password")):
            raise NotFound(f"there is no password in {arn}", next="restore it in Secrets Manager")
        old, new = value["password"], value.get("next_password", "none")
        if new in (old, "none"):
            new = _new_password(run)
            vault.write(run, arn, value | {"next_password": new})
            run.changes.done("the new password is stored beside the old one")
        else:
            run.console.say("continuing an interrupted rotation")
    with state("the database has the old password, and the new one is stored beside it"):
        _redeploy(run, environment)
    with state("the database has either password, and every instance knows both"):
        run.aws.change(
            "rds", "modify_db_instance", shown={"MasterUserPassword": "..."},
            DBInstanceIdentifier=environment.name, MasterUserPassword=new, ApplyImmediately=True,
        )  # fmt: skip
        run.changes.quietly(lambda: _wait_for_database(run, environment.name))
    with state("the database has the new password, and the old one is stored beside it"):
        vault.write(run, arn, value | {"password": new, "next_password": new})
    run.changes.done(
        f"the database of {environment.short} has a new password; the old one is no longer accepted"
    )
    with state("the password is changed"):
        smoke.check(run, environment, smoke.find_key(run, environment))


def _new_password(run: Run) -> str:
    answer = run.aws.ask(
        "secretsmanager", "get_random_password",
        PasswordLength=PASSWORD_LENGTH, ExcludePunctuation=True,
    )  # fmt: skip
    return str(answer["RandomPassword"])


def _with_smoke_test(digests: str, key: str) -> str:
    """``digests``, and that of the smoke test's key, which deployments need."""
    words = digests.replace(",", " ").lower().split()
    make = "make them of the keys: printf %s KEY | openssl dgst -sha256 -r"
    if not words or not all(DIGEST.fullmatch(word) for word in words):
        raise Failure(
            "API_KEYS are not SHA-256 digests, which have 64 hexadecimal digits", next=make
        )
    if hashlib.sha256().hexdigest() in words:
        raise Failure("API_KEYS have the digest of an empty key", next=make)
    own = hashlib.sha256(key.encode()).hexdigest()
    return ",".join(dict.fromkeys([*words, own]))


def _outputs(run: Run, environment: Environment) -> dict[str, str]:
    found: dict[str, str] = {}
    with state("nothing was changed"):
        for stack in (run.settings.foundation, environment.name):
            outputs = stacks.find_outputs(run, stack)
            if outputs is None:
                raise NotFound(f"there is no stack {stack}",
                               next=f"{PROGRAM} create {environment.short}")  # fmt: skip
            found |= outputs
    return found


def _wait_for_database(run: Run, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    show = run.console.waiting(f"the database {name}")
    while True:
        found = run.aws.ask("rds", "describe_db_instances", DBInstanceIdentifier=name)
        database = found["DBInstances"][0]
        pending = "MasterUserPassword" in database.get("PendingModifiedValues", {})
        if database["DBInstanceStatus"] == "available" and not pending:
            return
        show(f"{database['DBInstanceStatus']}{', with a password pending' if pending else ''}", "")
        if time.monotonic() >= deadline:
            raise Failure(
                f"{name} is still {database['DBInstanceStatus']} after {PATIENCE} s",
                "every instance knows both passwords",
                "run it again: it continues",
            )
        time.sleep(run.settings.poll)


def _redeploy(run: Run, environment: Environment) -> None:
    """Deploy the running version again, so that its containers get the current values."""
    current = beanstalk.wait_until_ready(run, environment).version
    rollout.deploy(run, environment, version.find(run, current))
