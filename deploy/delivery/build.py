"""Build once: image, bundle and application version, under a label that is never used twice."""

import re
from datetime import UTC, datetime
from pathlib import Path

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, state
from deploy.delivery import bundle, image, provenance, scan, version
from deploy.delivery.version import Version

DESCRIPTION_MAX = 200  # characters in the description of an application version
TOO_MANY = "TooManyApplicationVersionsException"  # an application has 1,000 at most


def build(run: Run, allow_dirty: bool = False, test: bool = False) -> Version:
    """Publish a version of the commit that is checked out; with ``test``, only if its image passes.

    An interrupted build is continued: a published image is used again. Raises Failure.
    """
    run.tools.require("docker", "git", *(["make"] if test else []))
    label = new_label(run, allow_dirty)
    repository = image.repository(run)
    if version.exists(run, label):
        raise Failure(
            f"version {label} exists, and is never replaced",
            next=f"deploy it ('deploy ENV --version {label}'), or set another BUILD_NUMBER",
        )
    name, digest = f"{repository}:{label}", image.find_digest(run, label)
    is_published = digest is not None
    if is_published and label.endswith("-dirty"):
        raise Failure(
            f"there is an image {label} of files that were not committed",
            next="set another BUILD_NUMBER",
        )
    digest = digest or _publish_image(run, name, label, test)
    with state(f"the image {label} is published, no version was created"):
        if is_published:
            run.console.say(f"image {label} was published by an interrupted run: using it")
            image.pull(run, name)
        run.changes.quietly(lambda: _examine(run, label, name, digest))
        packed = bundle.make(f"{repository}@{digest}", run.settings.root)
        _publish_version(run, label, packed)
    run.changes.quietly(lambda: _keep(run.settings.artifact, label, packed))
    run.changes.done(f"version {label} is published: image {digest}")
    return Version(label, digest, packed)


def new_label(run: Run, allow_dirty: bool) -> str:
    """The label for the commit that is checked out. Raises Failure for uncommitted files."""
    commit = run.tools.ask("git", "rev-parse", "--short=12", "HEAD")
    changed = run.tools.ask("git", "status", "--porcelain")
    number = build_number(run)
    if not changed:
        return f"{commit}-{number}"
    if not allow_dirty:
        raise Failure(
            f"these files are not committed, so the build could not be reproduced:\n{changed}",
            next="commit them, or use --allow-dirty to try something out",
        )
    return f"{commit}-{number}-dirty"


def build_number(run: Run) -> str:
    """The second part of a label. Raises Failure when BUILD_NUMBER cannot be part of one."""
    env = run.settings.env
    given = env.get("BUILD_NUMBER") or env.get("CODEBUILD_BUILD_NUMBER")
    if given and not re.fullmatch(r"[0-9A-Za-z.]{1,40}", given):
        raise Failure(
            f"BUILD_NUMBER {given!r} cannot be part of a version",
            next="use at most 40 letters, digits and dots",
        )
    return given or f"{datetime.now(UTC):%Y%m%d%H%M%S}"


def description(run: Run, seal: str) -> str:
    """The subject of the commit and ``seal``, without the characters that XML forbids."""
    subject = run.tools.ask("git", "log", "-1", "--format=%s")
    printable = "".join(character for character in subject if character.isprintable())
    return f"{printable[: DESCRIPTION_MAX - len(seal) - 1]} {seal}"


def _publish_image(run: Run, name: str, label: str, test: bool) -> str:
    with state("nothing was published"):
        image.build(run, name, label)
        if test and run.tools.change("make", "test-image", f"IMAGE={name}"):
            raise Failure("the tests of the image failed", next="fix what they report")
        image.push(run, name)
    if run.changes.dry_run:
        return image.UNKNOWN
    digest = image.find_digest(run, label)
    if digest is None:
        raise Failure(
            f"the registry does not have the image {label} that was pushed",
            "no version was created",
            "run it again",
        )
    return digest


def _examine(run: Run, label: str, name: str, digest: str) -> None:
    image.refuse_index(run, label)
    scan.refuse_critical(run, name, digest, datetime.now(UTC).date())
    provenance.keep(run, label, name, digest)


def _publish_version(run: Run, label: str, packed: bytes) -> None:
    try:
        version.publish(run, label, packed, description(run, version.seal(packed)))
    except Failure as failure:
        if isinstance(failure, AwsFailure) and failure.code == TOO_MANY:
            failure.next = f"{run.settings.program} versions prune"
        failure.next += (
            f"; then run it again with BUILD_NUMBER={label.partition('-')[2]}: the published image "
            "is used again"
        )
        raise


def _keep(artifact: Path, label: str, packed: bytes) -> None:
    """Where `eb deploy` finds the bundle, and ``version.last_built`` the label."""
    artifact.parent.mkdir(parents=True, exist_ok=True)
    artifact.write_bytes(packed)
    artifact.with_name("version").write_text(f"{label}\n")
