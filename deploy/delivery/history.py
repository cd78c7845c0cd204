"""What was deployed when, one object in S3 for each entry; a rollback reads it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.delivery import notify
from deploy.resources import bucket
from deploy.resources.bucket import Bucket

Kind = Literal["deploy", "rollback", "failed"]
# Other objects, such as the folder that S3's console makes, are none of ours
ENTRY = re.compile(r"(\d{8}T\d{6})\d*Z (deploy|rollback|failed) (\S+)")
SECONDS = "%Y%m%dT%H%M%S"


@dataclass(frozen=True)
class Entry:
    """A deployment that has ended."""

    at: datetime
    kind: str
    label: str
    who: str
    detail: str  # of a failure


def record(run: Run, name: str, kind: Kind, label: str, detail: str = "") -> None:
    """Add that ``name`` runs ``label`` now, or failed to. That this fails is reported only."""
    # To the microsecond, since the keys are sorted
    key = f"deployments/{name}/{datetime.now(UTC):{SECONDS}%fZ} {kind} {label}"
    try:
        body = json.dumps({"who": notify.find_who(run), "detail": detail}).encode()
        bucket.find_records(run).put(key, body)
    except Failure as failure:
        run.console.say(f"the deployment is not in the history: {failure.what}")
        run.console.say("  a later rollback will not know it")


def read(run: Run, name: str) -> list[str]:
    """The labels that ``name`` ran, the newest last. Raises Failure."""
    return versions(key.rpartition("/")[2] for key in _keys(bucket.find_records(run), name))


def find_last(run: Run, name: str, count: int) -> list[Entry]:
    """The last ``count`` deployments to ``name``, the newest first. Raises Failure."""
    found, records = [], bucket.find_records(run)
    for key in _keys(records, name)[-count:][::-1]:
        match = ENTRY.search(key)
        at, kind, label = match.groups() if match else ("", "", "")
        more = json.loads(records.get(key)["Body"])
        moment = datetime.strptime(at, SECONDS).replace(tzinfo=UTC)
        found.append(Entry(moment, kind, label, more.get("who", ""), more.get("detail", "")))
    return found


def _keys(records: Bucket, name: str) -> list[str]:
    """The keys of the entries, the oldest first."""
    keys = records.find_keys(f"deployments/{name}/")
    return [key for key in keys if ENTRY.fullmatch(key.rpartition("/")[2])]


def versions(entries: Iterable[str]) -> list[str]:
    """The labels of ``entries`` ("TIME KIND LABEL", the oldest first), each run of the same once.

    A rollback removes what came after the version that it restored. What failed never ran.
    """
    log: list[str] = []
    for entry in entries:
        _, kind, label = entry.split(" ", 2)
        if kind == "failed":
            continue
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
