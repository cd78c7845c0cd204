"""Secrets in Secrets Manager, each of which is a JSON object."""

import json
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import Failure


def read(run: Run, name: str) -> dict[str, Any] | None:
    """The value of the secret with this name or ARN, or None if there is none. Raises Failure."""
    # It has never existed, or is scheduled for deletion
    absent = "ResourceNotFoundException|InvalidRequestException"
    answer = run.aws.find("secretsmanager", "get_secret_value", absent, SecretId=name)
    if answer is None:
        return None
    try:
        value = json.loads(answer["SecretString"])
    except (KeyError, ValueError):
        value = None
    if not isinstance(value, dict):  # its text must not be shown
        raise Failure(
            f"the secret {name} is not a JSON object", next="correct it in Secrets Manager"
        )
    return value


def write(run: Run, name: str, value: dict[str, Any]) -> None:
    """Replace the value of the secret with this name or ARN. Raises AwsFailure."""
    run.aws.change(
        "secretsmanager", "put_secret_value", shown={"SecretString": "..."},
        SecretId=name, SecretString=json.dumps(value),
    )  # fmt: skip
