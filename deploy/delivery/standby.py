"""Records each deployment in the other regions, where it can be repeated without this one.

One object in our bucket there for each: label, commit, the image's digest, and the bundle.
"""

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config.environments import Environment
from deploy.delivery import image, version
from deploy.resources import bucket

FOLDER = "standby"
ENTRY = re.compile(r"(\d{8}T\d{6})\d*Z (\S+)")
SECONDS = "%Y%m%dT%H%M%S"


@dataclass(frozen=True)
class Release:
    """A version that an environment ran in another region."""

    label: str
    digest: str  # of its image
    at: datetime  # when it was deployed
    bundle: bytes


def record(run: Run, environment: Environment, label: str) -> None:
    """Record in the other regions that ``environment`` now runs ``label``.

    A failure is only reported, because the deployment succeeded. Does nothing for an environment
    without backups.
    """
    missing = []
    for region in environment.copy_regions(run.settings.region, run.settings.home):
        try:
            keep(run, environment, label, (region,))
        except bucket.Missing:
            missing.append(region)
        except Failure as failure:
            run.console.say(f"the deployment is not recorded in {region}: {failure.what}")
            run.console.say("  a recovery there would deploy the version before")
    if missing:
        run.console.say(f"{environment.short} has no backups in {', '.join(missing)} yet")
        run.console.say(f"  next: {run.settings.program} backups install {environment.short}")


def keep(run: Run, environment: Environment, label: str, regions: tuple[str, ...]) -> None:
    """The same in ``regions``. Raises Failure."""
    bundle, digest = version.read_bundle(run, label), image.find_digest(run, label)
    body = {
        "label": label, "commit": version.commit(label), "image": digest,
        "bundle": b64encode(bundle).decode(),
    }  # fmt: skip
    key = f"{FOLDER}/{environment.name}/{datetime.now(UTC):{SECONDS}%fZ} {label}"
    for region in regions:
        records = bucket.find_records(run.at(region))
        records.put(key, json.dumps(body).encode(), {"Body": f"(version {label})"})


def find(run: Run, environment: Environment, label: str | None = None) -> Release | None:
    """The version that ``environment`` ran last, by the records in this region, or None.

    With ``label``, the record of that version. Raises Failure.
    """
    keys = [key for key in _keys(run, environment) if label in (None, _label(key))]
    if not keys:
        return None
    records, key = bucket.find_records(run), keys[-1]
    body = records.get(key)["Body"]
    try:
        found = json.loads(body)
        at = datetime.strptime(key.rpartition("/")[2][:15], SECONDS).replace(tzinfo=UTC)
        return Release(found["label"], found["image"], at, b64decode(found["bundle"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"s3://{records.name}/{key} cannot be read: {error!r}",
                      next="name another version with --version") from error  # fmt: skip


def labels(run: Run, environment: Environment) -> list[str]:
    """The versions recorded in the region of ``run``, newest first. Raises AwsFailure."""
    return list(dict.fromkeys(_label(key) for key in reversed(_keys(run, environment))))


def _keys(run: Run, environment: Environment) -> list[str]:
    """The keys of the objects, the oldest first."""
    try:
        keys = bucket.find_records(run).find_keys(f"{FOLDER}/{environment.name}/")
    except bucket.Missing:
        return []
    return [key for key in keys if ENTRY.fullmatch(key.rpartition("/")[2])]


def _label(key: str) -> str:
    return key.rpartition(" ")[2]
