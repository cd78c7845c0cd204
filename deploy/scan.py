"""Known vulnerabilities: those that ECR finds in an image, and those accepted for a limited time.

The accepted ones are listed in devops/vulnerabilities.toml, whose comments explain the format.
"""

import re
import tomllib
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploy.errors import AwsFailure, Failure, InvalidConfig
from deploy.run import Run
from deploy.settings import read_text
from deploy.waiting import Pending, wait_until

NAME = "devops/vulnerabilities.toml"
PATIENCE = 900  # seconds until ECR has scanned an image; it takes a minute or two
DONE = ("COMPLETE", "ACTIVE")  # scanned once, or continuously by Amazon Inspector
UNDER_WAY = ("PENDING", "IN_PROGRESS")
UNKNOWN = "ECR does not say whether there is a fix"
KEYS = {"id", "until", "reason"}


class Accepted(NamedTuple):
    """A vulnerability that is ignored up to and including the day ``until``."""

    id: str
    until: date
    reason: str


class Finding(NamedTuple):
    """A critical vulnerability, and the package that has it."""

    id: str
    package: str
    fix: str


def load(text: str) -> list[Accepted]:
    """The vulnerabilities that the TOML document ``text`` accepts. Raises InvalidConfig."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(NAME, f"invalid TOML: {error}") from error
    entries = document.pop("accepted", [])
    if document or not (isinstance(entries, list) and all(isinstance(e, dict) for e in entries)):
        raise InvalidConfig(NAME, "expected nothing but tables that begin with [[accepted]]")
    return [_accepted(one, f"accepted {number}") for number, one in enumerate(entries, 1)]


def read(root: Path) -> list[Accepted]:
    """What is accepted in the checkout ``root``. Raises InvalidConfig."""
    return load(read_text(root, NAME))


def ids(accepted: list[Accepted], today: date) -> set[str]:
    """Those that do not count ``today``."""
    return {one.id for one in accepted if today <= one.until}


def refuse_critical(run: Run, digest: str, today: date) -> None:
    """Wait for ECR's scan of the image ``digest``.

    Raises Failure if it found a critical vulnerability that has a fix and is not accepted, if ECR
    does not say whether there is a fix, and if there is no result, which does not count as a pass.
    """
    accepted = read(run.settings.root)
    pages = _wait(run, digest)
    found = sorted(set(_critical(pages)))
    counting = [one for one in found if one.id not in ids(accepted, today)]
    expired = {one.id for one in accepted} & {one.id for one in counting}
    for one in counting:
        late = ", accepted until a date that has passed" if one.id in expired else ""
        run.console.say(f"  CRITICAL {one.id} in {one.package}: {one.fix}{late}")
    if counting:
        raise Failure(
            f"the image has {len(counting)} critical vulnerabilities: "
            f"{' '.join(one.id for one in counting)}",
            next=f"update these packages, or accept what was found for a time in {NAME}",
        )
    critical = (
        f"{len(found)} critical vulnerabilities, all accepted" if found else "nothing critical"
    )
    run.console.say(f"ECR's scan of the image: {critical}")


def _wait(run: Run, digest: str) -> list[dict[str, Any]]:
    """All pages of the result. Raises Failure."""

    def look() -> list[dict[str, Any]] | Pending:
        pages, status, why = _look(run, digest)
        if status in UNDER_WAY:
            return Pending(status, why)
        if status not in DONE:
            raise _no_result(status, why)
        return pages

    found = wait_until(run, "ECR's scan", look, PATIENCE)
    if isinstance(found, Pending):
        raise _no_result(*found)
    return found


def _no_result(status: str, why: str) -> Failure:
    return Failure(
        f"ECR has no result for the image: {status}{f', {why}' if why else ''}",
        next="see the image in the console of ECR, then run it again",
    )


def _look(run: Run, digest: str) -> tuple[list[dict[str, Any]], str, str]:
    """The pages of the result so far, the status and its description. Raises AwsFailure."""
    try:
        pages = run.aws.pages(
            "ecr", "describe_image_scan_findings",
            repositoryName=run.settings.application, imageId={"imageDigest": digest},
        )  # fmt: skip
    except AwsFailure as failure:
        if failure.code == "ScanNotFoundException":  # it begins a moment after the push
            return [], UNDER_WAY[0], failure.reason
        raise
    said = pages[-1].get("imageScanStatus", {})
    return pages, said.get("status", "unknown"), said.get("description", "")


def _critical(pages: list[dict[str, Any]]) -> Iterator[Finding]:
    """The critical vulnerabilities, except those known to have no fix."""
    for page in pages:
        found = page.get("imageScanFindings", {})
        for one in found.get("findings", []):
            if one.get("severity") == "CRITICAL":
                said = {each["key"]: each.get("value", "") for each in one.get("attributes", [])}
                package = f"{said.get('package_name', '?')} {said.get('package_version', '')}"
                yield Finding(
                    one["name"], package.strip(), "ECR does not say whether there is a fix"
                )
        for one in found.get("enhancedFindings", []):
            if one.get("severity") == "CRITICAL" and one.get("fixAvailable") != "NO":
                details = one.get("packageVulnerabilityDetails", {})
                packages = details.get("vulnerablePackages", [])
                yield Finding(
                    details.get("vulnerabilityId", one.get("title", "?")),
                    ", ".join(f"{p.get('name')} {p.get('version', '')}".strip() for p in packages),
                    "fixed in "
                    + (", ".join(sorted({p.get("fixedInVersion", "?") for p in packages})) or "?"),
                )


def _accepted(entry: dict[str, Any], where: str) -> Accepted:
    if set(entry) != KEYS:
        raise InvalidConfig(NAME, f"{where}: expected {', '.join(sorted(KEYS))}")
    identity, until, reason = entry["id"], entry["until"], entry["reason"]
    if not (isinstance(identity, str) and re.fullmatch(r"[A-Z]+-[\w-]+", identity)):
        raise InvalidConfig(
            NAME, f"{where}: id {identity!r}: expected an id such as CVE-2026-12345"
        )
    if not isinstance(until, date) or isinstance(until, datetime):
        raise InvalidConfig(NAME, f"{where}: until {until!r}: expected a date such as 2026-12-31")
    if not (isinstance(reason, str) and reason.strip()):
        raise InvalidConfig(NAME, f"{where}: reason: expected a sentence for the next reader")
    return Accepted(identity, until, reason.strip())
