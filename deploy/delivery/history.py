"""What was deployed when: one object in S3 for each deployment that has ended.

It is kept in the region of the environment, where a rollback reads the labels, and in those of its
backups, where a recovery deploys by the image's digest and the bundle, without this region.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config.environments import Environment
from deploy.delivery import notify, version
from deploy.delivery.version import Version
from deploy.resources import bucket

Kind = Literal["deploy", "rollback", "failed"]
FOLDER = "deployments"
TIME = "%Y%m%dT%H%M%S%fZ"  # to the microsecond, since the keys are sorted
# Other objects, such as the folder that S3's console makes, are none of ours
KEY = re.compile(
    rf"{FOLDER}/[^/]+/(?P<at>\d{{8}}T\d{{12}}Z) (?P<kind>deploy|rollback|failed) (?P<label>\S+)"
)


@dataclass(frozen=True)
class Entry:
    """A deployment that has ended."""

    at: datetime
    kind: str
    label: str
    who: str  # empty if it was not known
    detail: str  # of a failure


def record(
    run: Run,
    environment: Environment,
    kind: Kind,
    label: str,
    detail: str = "",
    elsewhere: bool = True,
) -> None:
    """Add that ``environment`` now runs ``label``, or failed to, here and ``elsewhere``.

    A failure is only reported, because the deployment has ended.
    """
    here, missing, done = run.settings.region, [], []
    copies = environment.copy_regions(here, run.settings.home) if elsewhere else ()
    try:
        found = version.find(run, label)
    except Failure as failure:
        found = Version(label, "", b"")
        run.changes.done(f"version {label} is recorded without its bundle: {failure.what}")
        run.changes.done("  a recovery in another region cannot deploy it")
    for region in (here, *copies):
        try:
            add(run.at(region), environment.name, kind, found, detail)
            done.append(region)
        except bucket.Missing:
            missing.append(region)
        except Failure as failure:
            run.console.say(f"the deployment is not recorded in {region}: {failure.what}")
            run.console.say("  a later rollback or recovery there will not include it")
    if done:
        run.changes.done(f"{environment.name}: recorded in {', '.join(done)}: {kind} {label}")
    if missing:
        run.console.say(f"{environment.short} has no backups in {', '.join(missing)} yet")
        run.console.say(f"  next: {run.settings.program} backups install {environment.short}")


def add(run: Run, name: str, kind: Kind, found: Version, detail: str = "") -> None:
    """The same in the region of ``run`` only. Raises Failure."""
    key = f"{FOLDER}/{name}/{datetime.now(UTC):{TIME}} {kind} {found.label}"
    body = {
        "who": notify.find_who(run),
        "detail": detail,
        "image": found.digest,
        "bundle": b64encode(found.bundle).decode(),
    }
    records = bucket.find_records(run)
    records.put(key, json.dumps(body).encode(), {"Body": f"(version {found.label})"})


def read(run: Run, name: str) -> list[str]:
    """The labels that ``name`` ran, the newest last. Raises Failure."""
    return versions((one["kind"], one["label"]) for one in _find_keys(run, name))


def find_last(run: Run, name: str, count: int) -> list[Entry]:
    """The last ``count`` deployments to ``name``, the newest first. Raises Failure."""
    return [_load(run, key)[0] for key in _find_keys(run, name)[-count:][::-1]]


def find(run: Run, name: str, label: str | None = None) -> Version | None:
    """The version that ``name`` ran last, or ``label`` if it ran that, or None. Raises Failure.

    Digest and bundle are empty if they could not be read when it was deployed.
    """
    keys = [
        key
        for key in _find_keys(run, name)
        if key["kind"] != "failed" and label in (None, key["label"])
    ]
    return _load(run, keys[-1])[1] if keys else None


def _find_keys(run: Run, name: str) -> list[re.Match[str]]:
    """The keys of the entries, the oldest first."""
    keys = bucket.find_records(run).find_keys(f"{FOLDER}/{name}/")
    return [match for match in map(KEY.fullmatch, keys) if match]


def _load(run: Run, key: re.Match[str]) -> tuple[Entry, Version]:
    records = bucket.find_records(run)
    content = records.get(key.string)["Body"]
    try:
        at, body = datetime.strptime(key["at"], TIME).replace(tzinfo=UTC), json.loads(content)
        return (
            Entry(at, key["kind"], key["label"], body["who"], body["detail"]),
            Version(key["label"], body["image"], b64decode(body["bundle"])),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(
            f"s3://{records.name}/{key.string} cannot be read: {error!r}",
            next="name another version with --version",
        ) from error


def versions(entries: Iterable[tuple[str, str]]) -> list[str]:
    """The labels of ``entries`` (kind and label, the oldest first), each run of the same once.

    A rollback removes what came after the version that it restored. What failed never ran.
    """
    log: list[str] = []
    for kind, label in entries:
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
