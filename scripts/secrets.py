"""See, set and rotate the secrets of an environment on Beanstalk.

Usage: python -m scripts.secrets list ENV        names, never values; exit code 1 if any is missing
       python -m scripts.secrets set ENV NAME    from a prompt, or from standard input
       python -m scripts.secrets rotate ENV      another password for the database, while it is used

Which secrets there are stands in devops/environments.toml, in "environmentsecrets". What runs keeps
what it was started with: after a change of one of them, what runs is deployed once more. All of
this can be run again after a failure, and goes on where it ended.
"""

import getpass
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import boto3

from scripts import environments

APPLICATION = "birthday-greetings"
CONFIG = Path(__file__).parent.parent / ".elasticbeanstalk/config.yml"
NAMESPACE = "aws:elasticbeanstalk:application:environmentsecrets"
PASSWORD_LENGTH = 40
PATIENCE = 1800  # seconds until RDS has changed the password
PAUSE = float(os.environ.get("POLL_SECONDS") or 10)  # seconds


class Secret(NamedTuple):
    """An environment variable of the application, and where its value is."""

    name: str
    arn: str
    key: str


def main() -> None:
    """Exits with a sentence when something is wrong, missing, or refused by AWS."""
    region = re.search(r"default_region: (\S+)", CONFIG.read_text())
    if region:
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ.get("AWS_REGION") or region[1])
    match sys.argv[1:]:
        case ["list", environment]:
            show(environment)
        case ["set", environment, name]:
            change(environment, name)
        case ["rotate", environment]:
            rotate(environment)
        case _:
            raise SystemExit(__doc__)


def show(environment: str) -> None:
    """Print where each secret of ``environment`` is; exit code 1 if one is missing."""
    missing = False
    for secret in _secrets(environment):
        found = secret.key in (_read(secret.arn) or {})
        missing = missing or not found
        name = secret.arn.rsplit(":", 1)[1]
        print(f"{'      ' if found else 'MISSING'} {secret.name}  {name}, key {secret.key}")
    if missing:
        raise SystemExit(1)


def change(environment: str, name: str) -> None:
    """Give the secret ``name`` of the application a value, and let what runs know it."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        _stop(f"{name!r} is no name of an environment variable", "use capitals, digits and _")
    outputs = _outputs(environment)
    known = {secret.name: secret for secret in _secrets(environment)}
    if name in known and known[name].arn != outputs["ApplicationSecret"]:
        _stop(f"{name} is not set by hand", f"python -m scripts.secrets rotate {environment}")
    value = _ask(name)
    if name == "API_KEYS":
        value = _with_smoke_test(value, outputs["SmokeTestSecret"])
    arn = outputs["ApplicationSecret"]
    _write(arn, (_read(arn) or {}) | {name: value})
    print(f"secrets: {name} of {environment} is set.")
    if name in known:
        _deploy_again(environment)
    else:
        print(
            f"  next: name it in devops/environments.toml, {NAMESPACE!r}:\n"
            f'        {name} = "{{ApplicationSecret}}:{name}"\n'
            f"        and run scripts/build_and_deploy.sh create {environment}"
        )


def rotate(environment: str) -> None:
    """Give the database of ``environment`` another password. Raises SystemExit.

    First everybody learns the new one beside the old one, then the database changes, then the new
    one is the only one. At each moment, everybody who runs or starts knows the one that holds.
    """
    name, arn = f"{APPLICATION}-{environment}", _outputs(environment)["DatabaseSecret"]
    value = _read(arn) or _stop(f"there is no secret {arn}", "restore it in Secrets Manager")
    old, new = value["password"], value.get("next_password", "none")
    if new in (old, "none"):
        new = boto3.client("secretsmanager").get_random_password(
            PasswordLength=PASSWORD_LENGTH, ExcludePunctuation=True
        )["RandomPassword"]
        _write(arn, value | {"next_password": new})
        print("secrets: the new password is known beside the old one.")
    else:
        print("secrets: going on with a rotation that did not end.")
    _deploy_again(environment)
    boto3.client("rds").modify_db_instance(
        DBInstanceIdentifier=name, MasterUserPassword=new, ApplyImmediately=True
    )
    _wait_for_database(name)
    _write(arn, value | {"password": new, "next_password": new})
    print(f"secrets: the database of {environment} has another password, and the old one is gone.")
    if subprocess.run(["scripts/build_and_deploy.sh", "smoke", environment]).returncode:
        _stop(
            "the password is changed, but the smoke test failed",
            f"look at the message above; then: scripts/build_and_deploy.sh smoke {environment}",
        )


def _with_smoke_test(digests: str, arn: str) -> str:
    """``digests``, and that of the smoke test's key, without which a deployment could not save."""
    words = digests.replace(",", " ").split()
    if not all(re.fullmatch(r"[0-9a-fA-F]{64}", word) for word in words):
        _stop(
            "API_KEYS are not SHA-256 digests, which have 64 hexadecimal digits",
            "make them of the keys: printf %s KEY | openssl dgst -sha256 -r",
        )
    value = _read(arn) or _stop(f"there is no secret {arn}", "restore it in Secrets Manager")
    own = hashlib.sha256(value["key"].encode()).hexdigest()
    return ",".join(dict.fromkeys([*map(str.lower, words), own]))


def _secrets(environment: str) -> Iterator[Secret]:
    for option in environments.options(environment, _outputs(environment)):
        if option["Namespace"] == NAMESPACE:
            parts = option["Value"].split(":")
            yield Secret(option["OptionName"], ":".join(parts[:7]), parts[7])


def _outputs(environment: str) -> dict[str, str]:
    environments.parameters(environment)  # is there such an environment?
    client, found = boto3.client("cloudformation"), {}
    for stack in ("foundation", environment):
        [described] = client.describe_stacks(StackName=f"{APPLICATION}-{stack}")["Stacks"]
        for one in described.get("Outputs", []):
            found[one["OutputKey"]] = one.get("OutputValue") or ""
    return found


def _read(arn: str) -> dict[str, str] | None:
    client = boto3.client("secretsmanager")
    try:
        value: dict[str, str] = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
    except (client.exceptions.ResourceNotFoundException, client.exceptions.InvalidRequestException):
        return None
    return value


def _write(arn: str, value: dict[str, Any]) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=json.dumps(value))


def _ask(name: str) -> str:
    if sys.stdin.isatty():
        value = getpass.getpass(f"{name} (is not shown): ")
        if value != getpass.getpass("Once more: "):
            _stop("these were two different values", "run it again")
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        _stop(f"{name} would be empty, which counts as absent", "give it a value")
    return value


def _wait_for_database(name: str) -> None:
    client, deadline = boto3.client("rds"), time.monotonic() + PATIENCE
    while True:
        [database] = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
        pending = "MasterUserPassword" in database.get("PendingModifiedValues", {})
        if database["DBInstanceStatus"] == "available" and not pending:
            return
        if time.monotonic() > deadline:
            _stop(
                f"{name} is still {database['DBInstanceStatus']} after {PATIENCE} s, and everybody "
                "knows both passwords",
                "run it again: it goes on",
            )
        time.sleep(PAUSE)


def _deploy_again(environment: str) -> None:
    described = boto3.client("elasticbeanstalk").describe_environments(
        ApplicationName=APPLICATION,
        EnvironmentNames=[f"{APPLICATION}-{environment}"],
        IncludeDeleted=False,
    )["Environments"]
    if not described:
        _stop(f"there is no environment {environment}", f"create {environment}")
    label = described[0]["VersionLabel"]
    command = ["scripts/build_and_deploy.sh", "deploy", environment, "--version", label]
    if subprocess.run(command).returncode:
        _stop("what runs was not renewed; both passwords or values hold", "run it again")


def _stop(what: str, next_step: str) -> NoReturn:
    raise SystemExit(f"secrets: {what}.\n  next: {next_step}")


if __name__ == "__main__":
    main()
