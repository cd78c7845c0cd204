"""Secrets in Secrets Manager, each of which is a JSON object."""

import json
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.base.waiting import Pending, wait_until

WINDOW = 30  # days within which a deleted secret can be restored
REPLICAS = "ReplicationStatus"


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
        "secretsmanager",
        "put_secret_value",
        shown={"SecretString": "..."},
        SecretId=name,
        SecretString=json.dumps(value),
    )


def describe(run: Run, name: str) -> dict[str, Any] | None:
    """The secret with this name as AWS describes it, or None if there is none. Raises AwsFailure.

    One that is scheduled for deletion has a DeletedDate, and a replica another PrimaryRegion.
    """
    return run.aws.find(
        "secretsmanager", "describe_secret", "ResourceNotFoundException", SecretId=name
    )


def delete(run: Run, name: str) -> None:
    """Schedule the deletion of a secret, and delete its replicas at once. Raises Failure.

    AWS deletes none that has replicas: github.com/rebuy-de/aws-nuke/issues/1127.
    """

    def look() -> Pending | None:
        left = (describe(run, name) or {}).get(REPLICAS)
        return Pending("still replicated") if left else None

    replicas = [one["Region"] for one in (describe(run, name) or {}).get(REPLICAS, [])]
    if replicas:
        run.aws.change(
            "secretsmanager",
            "remove_regions_from_replication",
            SecretId=name,
            RemoveReplicaRegions=replicas,
        )
        if not run.changes.dry_run:
            wait_until(run, f"the secret {name}", look, run.settings.health_timeout)
    run.aws.change("secretsmanager", "delete_secret", SecretId=name, RecoveryWindowInDays=WINDOW)
