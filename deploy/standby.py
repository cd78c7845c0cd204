"""Records each deployment in the other regions, where it can be repeated without this one.

One object in Beanstalk's bucket there for each: label, commit, the image's digest, and the bundle.
"""

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy import beanstalk, image, version
from deploy.environments import Environment
from deploy.errors import AwsFailure, Failure
from deploy.run import Run

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
    regions = environment.copy_regions(run.settings.region, run.settings.home)
    if not regions:
        return
    for region in regions:
        try:
            keep(run, environment, label, (region,))
        except Failure as failure:
            run.console.say(f"the deployment is not recorded in {region}: {failure.what}")
            run.console.say("  a recovery there would deploy the version before")


def keep(run: Run, environment: Environment, label: str, regions: tuple[str, ...]) -> None:
    """The same. Raises Failure."""
    bundle, digest = version.read_bundle(run, label), image.find_digest(run, label)
    body = {
        "label": label, "commit": version.commit(label), "image": digest,
        "bundle": b64encode(bundle).decode(),
    }  # fmt: skip
    key = f"{FOLDER}/{environment.name}/{datetime.now(UTC):{SECONDS}%fZ} {label}"
    for region in regions:
        there = run.at(region)
        there.aws.change(
            "s3", "put_object", shown={"Body": f"(version {label})"},
            Bucket=beanstalk.name_bucket(there), Key=key, Body=json.dumps(body).encode(),
        )  # fmt: skip


def find(run: Run, environment: Environment, label: str | None = None) -> Release | None:
    """The version that ``environment`` ran last, by the records in this region, or None.

    With ``label``, the record of that version. Raises Failure.
    """
    keys = [key for key in _keys(run, environment) if label in (None, _label(key))]
    if not keys:
        return None
    bucket, key = beanstalk.name_bucket(run), keys[-1]
    body = run.aws.ask("s3", "get_object", Bucket=bucket, Key=key)["Body"]
    try:
        found = json.loads(body)
        at = datetime.strptime(key.rpartition("/")[2][:15], SECONDS).replace(tzinfo=UTC)
        return Release(found["label"], found["image"], at, b64decode(found["bundle"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"s3://{bucket}/{key} cannot be read: {error!r}",
                      next="name another version with --version") from error  # fmt: skip


def labels(run: Run, environment: Environment) -> list[str]:
    """The versions recorded in the region of ``run``, newest first. Raises AwsFailure."""
    return list(dict.fromkeys(_label(key) for key in reversed(_keys(run, environment))))


def _keys(run: Run, environment: Environment) -> list[str]:
    """The keys of the objects, the oldest first."""
    try:
        found = run.aws.every(
            "s3", "list_objects_v2", "Contents",
            Bucket=beanstalk.name_bucket(run), Prefix=f"{FOLDER}/{environment.name}/",
        )  # fmt: skip
    except AwsFailure as failure:
        if failure.code == "NoSuchBucket":
            return []
        raise
    keys = sorted(one["Key"] for one in found)
    return [key for key in keys if ENTRY.fullmatch(key.rpartition("/")[2])]


def _label(key: str) -> str:
    return key.rpartition(" ")[2]
