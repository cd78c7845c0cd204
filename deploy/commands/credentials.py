"""The secrets of an environment: listed by name, set, and rotated.

The secrets are configured in devops/environments.toml, in "environmentsecrets". A container
keeps the values with which it was started, so the running version is deployed again after a change.
After a failure the same command can be run again, and continues where it ended.
"""

import hashlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from deploy.base.context import Run
from deploy.base.errors import Failure, NotFound, state
from deploy.base.waiting import Pending, wait_until
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.delivery import rollout, smoke, version
from deploy.resources import beanstalk, lock, secretsmanager, stacks

PASSWORD_LENGTH = 40
PATIENCE = 1800  # seconds until RDS has changed the password
DIGEST = re.compile(r"[0-9a-f]{64}")
# Kept in the same secret: what API_KEYS were when writes were stopped (see writes.py), and the
# previous value of each name, at the name with this ending
KEYS_BEFORE, PREVIOUS = "API_KEYS_BEFORE", "_PREVIOUS"
# What the application accepts, since it does not start with anything else. Which of its settings
# can be set as secrets, and which are not secrets: tests hold both to web/config.py
SETTABLE = {
    "API_KEYS": (
        re.compile(r"[0-9a-f]{64}(,[0-9a-f]{64})*"),
        "SHA-256 digests of keys, in hexadecimal, separated by commas",
    ),
    "SENTRY_DSN": (
        re.compile(r"https?://[^\s/@:?#]+@[^\s/@:?#]+(:[0-9]{1,5})?(/[^\s?#]+)?/[0-9]+"),
        "the DSN of a project in Sentry, such as https://KEY@HOST/PROJECT",
    ),
}
SETTINGS = (
    "APP_VERSION",
    "DATABASE_CA_FILE",
    "DATABASE_TLS",
    "DATABASE_URL",
    "HOST",
    "LOG_LEVEL",
    "PORT",
    "RDS_DB_NAME",
    "RDS_HOSTNAME",
    "RDS_PORT",
    "RDS_USERNAME",
    "SENTRY_ENVIRONMENT",
    "THREADS",
    "TIME_ZONE",
    "WORKERS",
)


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
                exists = key in (secretsmanager.read(run, arn) or {})
                found.append(Secret(option["OptionName"], arn, key, exists))
    return found


def show(run: Run, environment: Environment) -> bool:
    """Print the secrets that ``environment`` needs; whether all of them exist. Raises Failure."""
    found = read(run, environment)
    for one in found:
        where = f"{one.arn.rsplit(':', 1)[1]}, key {one.key}"
        run.console.result(f"{'      ' if one.exists else 'MISSING'} {one.name}  {where}")
    return all(one.exists for one in found)


def change(run: Run, environment: Environment, name: str, ask: Callable[[], str] | None) -> None:
    """Set the secret ``name`` to what ``ask`` returns, and redeploy if it is in use.

    Without ``ask``, to its previous value. Raises Failure, before it calls ``ask`` if ``name``
    cannot be set.
    """
    with state("nothing was changed"):
        _refuse_name(environment, name)
        place = find_place(run, environment, name)
        value = _valid(run, environment, name, ask()) if ask else None
    with lock.hold(run, environment.name):
        with state("nothing was changed"):
            label = _find_label(run, environment, name)
            stored = secretsmanager.read(run, place.arn) or {}
            if name == "API_KEYS" and KEYS_BEFORE in stored:
                remedy = f"{run.settings.program} writes allow {environment.short}"
                raise Failure(f"writes to {environment.name} are stopped", next=remedy)
            again = f"{run.settings.program} deploy {environment.short} --version {label}"
            stored = _replace(stored, place.key, value, again if label else "give it a value")
            secretsmanager.write(run, place.arn, stored)
        run.changes.done(f"{name} of {environment.short} is set")
        if label:
            way_back = _way_back(run, environment, place, stored) if ask else again
            _use(run, environment, name, label, way_back)
            return
    run.console.say(f"  next: name it in {environments.NAME}, {environments.SECRETS!r}:")
    run.console.say(f'        {name} = "{{ApplicationSecret}}:{place.key}"')
    run.console.say(f"        and run {run.settings.program} create {environment.short}")


def _use(run: Run, environment: Environment, name: str, label: str, way_back: str) -> None:
    with state(f"{name} is set; the running version does not use it yet"):
        try:
            _redeploy(run, environment, label)
        except Failure as failure:
            failure.next = f"{way_back}; {failure.next}"
            raise


def find_place(run: Run, environment: Environment, name: str) -> Secret:
    """Where ``name`` is stored, or will be. Raises Failure, also if it is not set by hand."""
    own = _outputs(run, environment)["ApplicationSecret"]
    known = {secret.name: secret for secret in read(run, environment)}
    place = known.get(name, Secret(name, own, name, exists=False))
    if place.arn != own:
        remedy = f"{run.settings.program} secrets rotate {environment.short}"
        raise Failure(f"{name} is not set by hand", next=remedy)
    return place


def find_usable(run: Run, environment: Environment) -> str:
    """The label that ``environment`` runs, once AWS accepts an update of it. Raises Failure."""
    current = beanstalk.wait_until_ready(run, environment)
    beanstalk.refuse_stuck(run, current)
    return current.version


def _find_label(run: Run, environment: Environment, name: str) -> str:
    """The label whose containers have the secret ``name``, or empty if none has. Raises Failure."""
    if beanstalk.find(run, environment.name) is None or not beanstalk.find_option(
        run, environment.name, environments.SECRETS, name
    ):
        return ""
    return find_usable(run, environment)


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


def _refuse_name(environment: Environment, name: str) -> None:
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*(?<!_BEFORE)(?<!_PREVIOUS)", name):
        raise Failure(
            f"{name!r} is not a name for an environment variable",
            next="use capital letters, digits and _, and another ending than _BEFORE or _PREVIOUS",
        )
    if name in SETTINGS:
        raise Failure(
            f"{name} is a setting of the application, and not secret",
            next=f"set it in .ebextensions, or for {environment.short} only in {environments.NAME}",
        )


def _valid(run: Run, environment: Environment, name: str, value: str) -> str:
    """``value`` as it is stored. Raises Failure for one with which the application cannot start."""
    value = value.strip()
    if not value:
        raise Failure(f"{name} would be empty, which counts as absent", next="give it a value")
    if not value.isprintable():  # its text must not be shown
        raise Failure(f"{name} has a line break or another control character",
                      next="give it a value of one line")  # fmt: skip
    if name == "API_KEYS":
        value = _with_smoke_test(value, smoke.find_key(run, environment))
    pattern, expected = SETTABLE.get(name, (re.compile(r".*"), ""))
    if not pattern.fullmatch(value):
        raise Failure(f"the application would not start with this {name}",
                      next=f"expected {expected}")  # fmt: skip
    return value


def rotate(run: Run, environment: Environment) -> None:
    """Change the database password of ``environment``, without a failed request.

    First every instance gets the new password beside the old one, then the database is changed,
    then the old one is dropped: containers that run or start meanwhile know the accepted one.
    Raises Failure.
    """
    arn = _outputs(run, environment)["DatabaseSecret"]
    with lock.hold(run, environment.name):
        _rotate(run, environment, arn)


def _rotate(run: Run, environment: Environment, arn: str) -> None:
    with state("nothing was changed"):
        label = find_usable(run, environment)
        value = secretsmanager.read(run, arn)
        if not (value and value.get("password")):
            raise NotFound(f"there is no password in {arn}", next="restore it in Secrets Manager")
        old, new = value["password"], value.get("next_password", "none")
        if new in (old, "none"):
            new = _new_password(run)
            secretsmanager.write(run, arn, value | {"next_password": new})
            run.changes.done("the new password is stored beside the old one")
        else:
            run.console.say("continuing an interrupted rotation")
    with state("the database has the old password, and the new one is stored beside it"):
        _redeploy(run, environment, label)
    with state("the database has either password, and every instance knows both"):
        run.aws.change(
            "rds", "modify_db_instance", shown={"MasterUserPassword": "..."},
            DBInstanceIdentifier=environment.name, MasterUserPassword=new, ApplyImmediately=True,
        )  # fmt: skip
        run.changes.quietly(lambda: _wait_for_database(run, environment.name))
    with state("the database has the new password, and the old one is stored beside it"):
        secretsmanager.write(run, arn, value | {"password": new, "next_password": new})
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
    return ",".join(dict.fromkeys([*words, digest(key)]))


def digest(key: str) -> str:
    """The digest of a key, as API_KEYS have it."""
    return hashlib.sha256(key.encode()).hexdigest()


def _outputs(run: Run, environment: Environment) -> dict[str, str]:
    found: dict[str, str] = {}
    with state("nothing was changed"):
        for stack in (run.settings.foundation, environment.name):
            outputs = stacks.find_outputs(run, stack)
            if outputs is None:
                raise NotFound(
                    f"there is no stack {stack}",
                    next=run.settings.elsewhere(f"create {environment.short}"),
                )
            found |= outputs
    return found


def _wait_for_database(run: Run, name: str) -> None:
    def look() -> Pending | None:
        found = run.aws.ask("rds", "describe_db_instances", DBInstanceIdentifier=name)
        database = found["DBInstances"][0]
        pending = "MasterUserPassword" in database.get("PendingModifiedValues", {})
        if database["DBInstanceStatus"] == "available" and not pending:
            return None
        return Pending(database["DBInstanceStatus"], "its password is pending" if pending else "")

    late = wait_until(run, f"the database {name}", look, PATIENCE)
    if late:
        raise Failure(
            f"{name} is still {late.state} after {PATIENCE} s",
            "every instance knows both passwords",
            "run it again: it continues",
        )


def _redeploy(run: Run, environment: Environment, label: str) -> None:
    """Deploy the running version again, so that its containers get the current values."""
    rollout.deploy(run, environment, version.find(run, label), is_locked=True)
