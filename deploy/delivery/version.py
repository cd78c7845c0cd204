"""Versions of the application: their labels and contents, and which one is newer."""

import hashlib
import re
from typing import Any, NamedTuple

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound
from deploy.delivery.image import find_digest
from deploy.resources import bucket

SEAL = re.compile(r"\[bundle sha256:[0-9a-f]{64}\]\Z")  # behind a commit's subject: any text


class Version(NamedTuple):
    """A published version."""

    label: str  # the commit and a build number, such as 0123456789ab-7
    digest: str  # of its image
    bundle: bytes


def find(run: Run, label: str) -> Version:
    """The version ``label``, verified to be unchanged since it was built.

    Raises NotFound if the version or its image does not exist, and Failure if its bundle has
    changed.
    """
    bundle, digest = read_bundle(run, label), find_digest(run, label)
    if digest is None:
        raise NotFound(
            f"the image of version {label} is no longer in the registry",
            next=f"name another version, or build the commit {commit(label)} again",
        )
    return Version(label, digest, bundle)


def exists(run: Run, label: str) -> bool:
    """Whether there is a version ``label``. Raises AwsFailure."""
    return _describe(run, label) is not None


def seal(bundle: bytes) -> str:
    """The hash of ``bundle`` for the description of its version.

    Those who deploy may not change a description, whereas many may write to the bucket that has the
    bundle.
    """
    return f"[bundle sha256:{hashlib.sha256(bundle).hexdigest()}]"


def read_bundle(run: Run, label: str) -> bytes:
    """The bundle of ``label``. Raises Failure when it is not the one that was built."""
    described = _describe(run, label)
    if described is None:
        raise NotFound(
            f"there is no version {label}",
            next=f"build it, or name one of these: {' '.join(newest(run, 5)) or '(none)'}",
        )
    sealed = SEAL.search(described.get("Description", ""))
    if not sealed:
        raise Failure(
            f"cannot verify that the bundle of version {label} is the one that was built: its "
            "description has no hash",
            next=f"build the commit {commit(label)} again",
        )
    source = described["SourceBundle"]
    where, key = source["S3Bucket"], source["S3Key"]
    bundle: bytes = run.aws.ask("s3", "get_object", Bucket=where, Key=key)["Body"]
    found = seal(bundle)
    if found != sealed[0]:
        raise Failure(
            f"the bundle of version {label} was changed after it was built: it is {found}, and was "
            f"{sealed[0]}",
            next=f"find out who wrote s3://{where}/{key}, and build the commit {commit(label)} "
            "again",
        )
    return bundle


def _describe(run: Run, label: str) -> dict[str, Any] | None:
    """The version ``label`` as AWS describes it, or None if there is none. Raises AwsFailure."""
    found = run.aws.ask(
        "elasticbeanstalk",
        "describe_application_versions",
        ApplicationName=run.settings.application,
        VersionLabels=[label],
    )["ApplicationVersions"]
    return next((one for one in found if one["VersionLabel"] == label), None)


def publish(run: Run, label: str, bundle: bytes, description: str) -> None:
    """Create the version ``label`` in the region of ``run``. Raises Failure.

    The ``description`` has the ``seal`` of the ``bundle``. A bundle that an interrupted run has
    stored is used if it is the same, and is never replaced.
    """
    bundles, key = bucket.find_bundles(run), f"{run.settings.application}/{label}.zip"
    try:
        bundles.put(key, bundle, {"Body": "(the bundle)"}, IfNoneMatch="*")
    except AwsFailure as failure:
        if failure.code != "PreconditionFailed":
            raise
        if bundles.get(key)["Body"] != bundle:
            raise Failure(
                f"s3://{bundles.name}/{key} exists, and is not the bundle of this version",
                next="find out who wrote it, and remove it: "
                + run.settings.aws(f"s3 rm s3://{bundles.name}/{key}"),
            ) from failure
    # Without Process: for a bundle in S3 it is optional, and a deployment validates the same files;
    # see docs.aws.amazon.com/elasticbeanstalk/latest/api/API_ApplicationVersionDescription.html
    try:
        run.aws.change(
            "elasticbeanstalk",
            "create_application_version",
            ApplicationName=run.settings.application,
            VersionLabel=label,
            Description=description,
            SourceBundle={"S3Bucket": bundles.name, "S3Key": key},
        )
    except AwsFailure as failure:
        # After a lost response the client tries again, and finds its own version
        found = _describe(run, label) if "already exists" in failure.reason else None
        if found is None or found.get("Description") != description:
            raise


def delete(run: Run, label: str) -> None:
    """Delete the version ``label`` with its bundle; its image stays. Raises AwsFailure."""
    run.aws.change(
        "elasticbeanstalk",
        "delete_application_version",
        ApplicationName=run.settings.application,
        VersionLabel=label,
        DeleteSourceBundle=True,
    )


def newest(run: Run, count: int | None = None) -> list[str]:
    """The labels of the ``count`` newest versions, or of all, newest first. Raises AwsFailure."""
    found = run.aws.every(
        "elasticbeanstalk",
        "describe_application_versions",
        "ApplicationVersions",
        ApplicationName=run.settings.application,
    )
    ordered = sorted(found, key=lambda one: one["DateCreated"], reverse=True)
    return [one["VersionLabel"] for one in ordered[:count]]


def last_built(run: Run) -> str:
    """The label of the version that was built last in this checkout. Raises NotFound."""
    path = run.settings.artifact.with_name("version")
    if not path.exists():
        raise NotFound(
            "no version was built in this checkout",
            next=f"build one, or name one with --version: {' '.join(newest(run, 5))}",
        )
    return path.read_text().strip()


def commit(label: str) -> str:
    """The commit that ``label`` was built from."""
    return label.partition("-")[0]


def refuse_older(run: Run, environment: str, before: str, label: str) -> None:
    """Raises Failure unless ``label`` is no older in git than ``before``, the running version.

    A pipeline execution that waited, or is repeated, must not undo a later deployment.
    """
    code, _, reason = run.tools.try_to_ask(
        "git", "merge-base", "--is-ancestor", commit(before), commit(label)
    )
    if code == 1:
        raise Failure(
            f"{environment} runs {before}, which is not older than {label}",
            next="deploy a newer commit; to roll back on purpose: rollback, or deploy without "
            "--forward",
        )
    if code:
        raise Failure(
            f"git cannot tell whether {before} is older than {label}: {reason}",
            next="run this command in a clone with the full history; if the commit is no longer on "
            "any branch, deploy without --forward",
        )
