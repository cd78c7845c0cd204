"""Known vulnerabilities: those that ECR finds in an image, and those accepted for a limited time.

The accepted ones are listed in devops/vulnerabilities.toml, whose comments explain the format.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure
from deploy.base.settings import read_text
from deploy.base.tables import check, kind, parse_toml, tables, text
from deploy.base.waiting import Pending, wait_until
from deploy.delivery import image

NAME = "devops/vulnerabilities.toml"
PATIENCE = 900  # seconds until ECR has scanned an image; it takes a minute or two
DONE = ("COMPLETE", "ACTIVE")  # scanned once, or continuously by Amazon Inspector
UNDER_WAY = ("PENDING", "IN_PROGRESS")
NOT_FOUND = "ScanNotFoundException"
OTHER_IMAGE = "build it with another BUILD_NUMBER"
AGAIN = (
    "scan it again (aws ecr start-image-scan --repository-name {name} --image-id "
    f"imageDigest={{digest}} --region {{region}}) and run this again, or {OTHER_IMAGE}"
)
SETTINGS = (
    "see how images are scanned: aws ecr get-registry-scanning-configuration --region {region}"
)
# What to do about a scan without a result:
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-troubleshooting.html
REMEDIES = {
    NOT_FOUND: SETTINGS,
    "FAILED": AGAIN,
    "UNSUPPORTED_IMAGE": "build it on a distribution that is scanned: "
    "https://docs.aws.amazon.com/inspector/latest/user/supported.html",
    "FINDINGS_UNAVAILABLE": "activate Amazon Inspector in {region}, or scan without it; "
    + SETTINGS,
    "SCAN_ELIGIBILITY_EXPIRED": OTHER_IMAGE,  # older than Amazon Inspector looks at
    "LIMIT_EXCEEDED": "wait for the next day; then " + AGAIN,
    "IMAGE_ARCHIVED": OTHER_IMAGE,
    "IMAGE_SIZE_EXCEEDED": "make the image smaller, and " + OTHER_IMAGE,
}
RULES = {
    "id": text(r"[A-Z]+-[\w-]+", "an id such as CVE-2026-12345"),
    "until": kind(date, "a date such as 2026-12-31"),
    "reason": text(r"(?s).*\S.*", "a sentence that says why"),
}


class Accepted(NamedTuple):
    """A vulnerability that is ignored up to and including the day ``until``."""

    id: str
    until: date
    reason: str


class Finding(NamedTuple):
    """A critical vulnerability, and the package that has it."""

    id: str
    package: str
    version: str
    fix: str  # what is known about a fix; empty where ECR does not say, as after basic scanning
    counts: bool  # it has a fix, or is exploited


def load(document: str) -> list[Accepted]:
    """The vulnerabilities that the TOML ``document`` accepts. Raises InvalidConfig."""
    found = parse_toml(NAME, document)
    check(NAME, "", found, {"accepted": tables("accepted")}, optional="accepted")
    entries = found.get("accepted", [])
    for number, entry in enumerate(entries, 1):
        check(NAME, f"accepted {number}: ", entry, RULES)
    return [Accepted(one["id"], one["until"], one["reason"].strip()) for one in entries]


def read(root: Path) -> list[Accepted]:
    """What is accepted in the checkout ``root``. Raises InvalidConfig."""
    return load(read_text(root, NAME))


def ids(accepted: list[Accepted], today: date) -> set[str]:
    """Those that do not count ``today``."""
    return {one.id for one in accepted if today <= one.until}


def refuse_critical(run: Run, name: str, digest: str, today: date) -> None:
    """Wait for ECR's scan of the image ``digest``, which is ``name`` here.

    Raises Failure if a critical vulnerability that is not accepted has a fix or is known to be
    exploited, and if there is no result, which does not count as a pass. Those without a fix are
    only listed. Where ECR does not know of fixes, the distribution is asked.
    """
    accepted = read(run.settings.root)
    found = _ask_for_fixes(run, name, sorted(set(_critical(_wait(run, digest)))))
    for one in found:
        run.console.say(f"  CRITICAL {one.id} in {one.package} {one.version}: {one.fix}")
    counting = [one.id for one in found if one.counts and one.id not in ids(accepted, today)]
    if counting:
        expired = sorted({one.id for one in accepted} & set(counting))
        late = f"; no longer accepted: {' '.join(expired)}" if expired else ""
        raise Failure(
            f"the image has {len(counting)} critical vulnerabilities that have a fix or are "
            f"exploited: {' '.join(counting)}{late}",
            next=f"update these packages, or accept them temporarily in {NAME}",
        )
    critical = f"{len(found)} critical, none of which blocks" if found else "nothing critical"
    run.console.say(f"ECR's scan of the image: {critical}")


def _ask_for_fixes(run: Run, name: str, found: list[Finding]) -> list[Finding]:
    """``found``, with what the distribution knows of those about which ECR says nothing."""
    if all(one.fix for one in found):
        return found
    newer = image.list_upgrades(run, name)
    fixes = {package: f"fixed in {version}" for package, version in newer.items()}
    return [
        one
        if one.fix
        else one._replace(counts=one.package in fixes, fix=fixes.get(one.package, "no fix yet"))
        for one in found
    ]


def _wait(run: Run, digest: str) -> list[dict[str, Any]]:
    """All pages of the result. Raises Failure, at once for a scan that will not have one."""

    def look() -> tuple[str, str, list[dict[str, Any]]] | Pending:
        try:
            pages = run.aws.pages(
                "ecr",
                "describe_image_scan_findings",
                repositoryName=run.settings.application,
                imageId={"imageDigest": digest},
            )
        except AwsFailure as failure:
            if failure.code == NOT_FOUND:  # it begins a moment after the push
                return Pending(NOT_FOUND, failure.reason)
            raise
        said = pages[-1].get("imageScanStatus", {})
        status, why = said.get("status", "unknown"), said.get("description", "")
        if status in UNDER_WAY or (status in DONE and not _has_result(pages)):
            return Pending(status, why)
        return status, why, pages

    status, why, *pages = wait_until(run, "ECR's scan", look, PATIENCE)
    if not pages or status not in DONE:
        remedy = REMEDIES.get(status, "see the image in the console of ECR, then run it again")
        raise Failure(
            f"ECR has no result for the image: {status}{f', {why}' if why else ''}",
            next=remedy.format(
                name=run.settings.application, digest=digest, region=run.settings.region
            ),
        )
    return pages[0]


def _has_result(pages: list[dict[str, Any]]) -> bool:
    """Whether a scan that is done has its findings, or says when it was completed.

    Amazon Inspector's findings come later than the status: https://github.com/aws/aws-sdk/issues/289
    """
    found = [page.get("imageScanFindings", {}) for page in pages]
    signs = ("imageScanCompletedAt", "findings", "enhancedFindings")
    return any(one.get(sign) for one in found for sign in signs)


def _critical(pages: list[dict[str, Any]]) -> Iterator[Finding]:
    """The critical vulnerabilities, of basic scanning and of Amazon Inspector's."""
    for page in pages:
        found = page.get("imageScanFindings", {})
        for one in found.get("findings", []):
            if one.get("severity") == "CRITICAL":
                said = {each["key"]: each.get("value", "") for each in one.get("attributes", [])}
                package, version = said.get("package_name", "?"), said.get("package_version", "?")
                yield Finding(one["name"], package, version, "", counts=False)
        for one in found.get("enhancedFindings", []):
            if one.get("severity") == "CRITICAL":
                yield _enhanced(one)


def _enhanced(finding: dict[str, Any]) -> Finding:
    details = finding.get("packageVulnerabilityDetails", {})
    packages = details.get("vulnerablePackages", [])
    fixed = finding.get("fixAvailable") in ("YES", "PARTIAL")
    exploited = finding.get("exploitAvailable") == "YES"
    fix = f"fixed in {_join(packages, 'fixedInVersion')}" if fixed else "no fix yet"
    return Finding(
        details.get("vulnerabilityId", finding.get("title", "?")),
        _join(packages, "name"),
        _join(packages, "version"),
        f"{fix}, exploited" if exploited else fix,
        counts=fixed or exploited,
    )


def _join(packages: list[dict[str, Any]], key: str) -> str:
    return ", ".join(sorted({one.get(key, "?") for one in packages})) or "?"
