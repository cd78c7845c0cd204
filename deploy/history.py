"""What was deployed when, one object in S3 for each entry; a rollback reads it."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from deploy.errors import AwsFailure
from deploy.run import Run

Kind = Literal["deploy", "rollback"]
# Other objects, such as the folder that S3's console makes, are none of ours
ENTRY = re.compile(r"\S+ (deploy|rollback) \S+")


def record(run: Run, bucket: str, name: str, kind: Kind, label: str) -> None:
    """Add that ``name`` runs ``label`` now. That this fails is reported, and no failure."""
    # To the microsecond, since the keys are sorted
    key = f"deployments/{name}/{datetime.now(UTC):%Y%m%dT%H%M%S%fZ} {kind} {label}"
    try:
        run.aws.change("s3", "put_object", Bucket=bucket, Key=key)
    except AwsFailure as failure:
        run.console.say(f"the deployment is not in the history: {failure.what}")
        run.console.say("  a later rollback will not know it")


def read(run: Run, bucket: str, name: str) -> list[str]:
    """The labels that ``name`` ran, the newest last. Raises AwsFailure."""
    found = run.aws.every(
        "s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"deployments/{name}/"
    )
    names = sorted(one["Key"].rpartition("/")[2] for one in found)
    return versions(name for name in names if ENTRY.fullmatch(name))


def versions(entries: Iterable[str]) -> list[str]:
    """The labels of ``entries`` ("TIME KIND LABEL", the oldest first), each run of the same once.

    A rollback takes back what came after the version to which it went.
    """
    log: list[str] = []
    for entry in entries:
        _, kind, label = entry.split(" ", 2)
        if kind == "rollback" and label in log:
            del log[len(log) - log[::-1].index(label) :]
        elif kind == "rollback":
            log.clear()
        if log[-1:] != [label]:
            log.append(label)
    return log


def version_before(log: list[str], current: str) -> str | None:
    """The label that ran before ``current``, or None if ``log`` does not say."""
    positions = [i for i, label in enumerate(log) if label == current and i > 0]
    return log[positions[-1] - 1] if positions else None
