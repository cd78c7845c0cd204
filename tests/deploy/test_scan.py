"""ECR's scan of an image, and the vulnerabilities that are accepted until a given date."""

import subprocess
from datetime import date
from types import SimpleNamespace

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from deploy.base.errors import Failure, InvalidConfig
from deploy.delivery import image, scan
from tests.support.aws import APPLICATION, SCANS

TODAY = date(2026, 11, 25)
DIGEST = "sha256:" + "a" * 64


def basic(name="CVE-2026-1", severity="CRITICAL"):
    attributes = [
        {"key": "package_name", "value": "zlib"},
        {"key": "package_version", "value": "1.3"},
    ]
    return {"findings": [{"name": name, "severity": severity, "attributes": attributes}]}


def enhanced(fix, name="CVE-2026-2", severity="CRITICAL", exploit="NO"):
    package = {"name": "openssl", "version": "3.5", "fixedInVersion": "3.6"}
    details = {"vulnerabilityId": name, "vulnerablePackages": [package]}
    finding = {
        "severity": severity,
        "fixAvailable": fix,
        "exploitAvailable": exploit,
        "packageVulnerabilityDetails": details,
    }
    return {"enhancedFindings": [finding]}


NEWER = "zlib1g zlib 1:1.4-1\n"  # what Debian has


@pytest.fixture
def debian(run, monkeypatch):
    """What the image's own apt-get prints."""
    said = SimpleNamespace(newer=NEWER, asked=0)

    def ask(*command, timeout=60):
        assert "apt-get" in command[-1]
        said.asked += 1
        return (
            (0, said.newer, "")
            if said.newer
            else (100, "", "Could not resolve 'archive.example.com'")
        )

    monkeypatch.setattr(run.tools, "try_to_ask", ask)
    return said


@pytest.fixture
def look(aws, run, project, clock, debian):
    """Evaluates ECR's answer against the accepted vulnerabilities."""

    def look(*scans, accepted=""):
        aws.scans, aws.images = list(scans), {"label": DIGEST}
        (project / scan.NAME).write_text(accepted)
        scan.refuse_critical(run, "image", DIGEST, TODAY)

    return look


def accept(identity="CVE-2026-1", until="2026-12-31"):
    return f'[[accepted]]\nid = "{identity}"\nuntil = {until}\nreason = "Not used"\n'


CLEAN = SCANS[-1][1]


@pytest.mark.parametrize(
    "findings", [CLEAN, basic(severity="HIGH"), enhanced("YES", severity="HIGH")]
)
def test_an_image_without_critical_findings_passes(look, findings, capsys, debian):
    look(("COMPLETE", findings))
    assert "ECR's scan of the image: nothing critical" in capsys.readouterr().err
    assert not debian.asked


def test_a_finding_without_a_fix_is_listed_and_passes(look, capsys, debian):
    """As Debian's images usually have some."""
    debian.newer = "openssl openssl 3.6"
    look(("COMPLETE", basic()))
    look(("ACTIVE", enhanced("NO")))
    printed = capsys.readouterr().err
    assert "CRITICAL CVE-2026-1 in zlib 1.3: no fix yet" in printed
    assert "CRITICAL CVE-2026-2 in openssl 3.5: no fix yet" in printed
    assert printed.count("1 critical, none of which blocks") == 2


@pytest.mark.parametrize(
    ("findings", "line"),
    [
        (basic(), "CRITICAL CVE-2026-1 in zlib 1.3: fixed in 1:1.4-1"),
        (enhanced("YES"), "CRITICAL CVE-2026-2 in openssl 3.5: fixed in 3.6"),
        (enhanced("PARTIAL"), "CRITICAL CVE-2026-2 in openssl 3.5: fixed in 3.6"),
        (enhanced("NO", exploit="YES"), "CVE-2026-2 in openssl 3.5: no fix yet, exploited"),
    ],
)
def test_a_critical_finding_with_a_fix_or_an_exploit_fails(look, findings, line, capsys):
    with pytest.raises(Failure, match="the image has 1 critical vulnerabilities that have a fix"):
        look(("ACTIVE", findings))
    assert line in capsys.readouterr().err


APT = """Inst zlib1g [1:1.3-1] (1:1.4-1 Debian:13/stable [amd64])
Inst an-addition (2.0 Debian:13/stable [amd64])
Conf zlib1g (1:1.4-1 Debian:13/stable [amd64])"""


@pytest.mark.parametrize(
    ("update", "upgrade", "dpkg", "expected"),
    [
        ("exit 0", f"echo '{APT}'", "echo zlib1g zlib 1:1.4-1", (0, NEWER)),  # no addition
        ("exit 0", "exit 0", "exit 1", (0, "")),
        ("exit 100", "exit 0", "exit 1", (100, "")),
        ("exit 0", "exit 100", "exit 1", (100, "")),
        ("exit 0", f"echo '{APT}'", "exit 2", (2, "")),
    ],
)
def test_a_failed_query_of_debians_archive_is_not_an_answer(
    tmp_path, update, upgrade, dpkg, expected
):
    """The programs of the image are fakes; the shell between them is real."""
    apt = f'for one; do if [ "$one" = update ]; then {update}; fi; done\n{upgrade}'
    for name, text in (("apt-get", apt), ("dpkg-query", dpkg)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    ended = subprocess.run(
        ["sh", "-c", image.LIST_UPGRADES],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == expected


def test_an_image_with_unknown_fixes_does_not_pass(look, debian):
    debian.newer = None
    with pytest.raises(
        Failure, match="cannot be compared with Debian's archive: Could not resolve"
    ):
        look(("COMPLETE", basic()))


@pytest.mark.parametrize("done", scan.DONE)
def test_a_scan_waits_for_its_result(look, clock, done):
    """The findings come after the status that says so."""
    begun = [*SCANS[:3], (done, {}), (done, {"findings": []}), (done, {"enhancedFindings": []})]
    with pytest.raises(Failure, match="CVE-2026-1"):
        look(*begun, (done, basic()))
    assert len(clock.slept) == len(begun)


def statuses():
    """All that AWS may answer, and one that it does not know yet."""
    model = ServiceModel(Loader().load_service_model("ecr", "service-2"))
    return {*model.shape_for("ScanStatus").enum, "NEW"} - {*scan.DONE, *scan.UNDER_WAY}


@pytest.mark.parametrize("status", sorted(statuses()))
def test_a_missing_result_is_not_a_pass(look, status, clock):
    with pytest.raises(Failure, match=f"no result for the image: {status}, as asked") as caught:
        look((status,))
    assert clock.at == 0
    assert (status in scan.REMEDIES) is (status != "NEW")
    assert "{" not in caught.value.next


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (
            "FAILED",
            f"aws ecr start-image-scan --repository-name {APPLICATION} --image-id "
            f"imageDigest={DIGEST} --region eu-west-1) and run this again",
        ),
        ("UNSUPPORTED_IMAGE", "a distribution that is scanned"),
        ("FINDINGS_UNAVAILABLE", "activate Amazon Inspector in eu-west-1"),
        ("SCAN_ELIGIBILITY_EXPIRED", "build it with another BUILD_NUMBER"),
        ("LIMIT_EXCEEDED", "wait for the next day"),
    ],
)
def test_a_missing_result_comes_with_a_remedy(look, status, remedy):
    with pytest.raises(Failure) as caught:
        look((status,))
    assert remedy in caught.value.next


@pytest.mark.parametrize(
    "answer", [("ScanNotFoundException",), ("PENDING",), ("IN_PROGRESS",), ("ACTIVE", {})]
)
def test_a_scan_that_does_not_end_is_not_a_pass(look, answer, clock):
    with pytest.raises(Failure, match=f"ECR has no result for the image: {answer[0]}"):
        look(answer)
    assert clock.at >= scan.PATIENCE


def test_an_accepted_vulnerability_does_not_count_until_its_date_has_passed(look, capsys):
    look(("COMPLETE", basic()), accepted=accept(until="2026-11-25"))
    assert "1 critical, none of which blocks" in capsys.readouterr().err
    with pytest.raises(Failure, match="no longer accepted: CVE-2026-1"):
        look(("COMPLETE", basic()), accepted=accept(until="2026-11-24"))
    with pytest.raises(Failure, match="CVE-2026-1"):
        look(("COMPLETE", basic()), accepted=accept("CVE-2026-3"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[accepted", "invalid TOML"),
        ("accepted = 1", r"accepted 1: expected tables that begin with \[\[accepted\]\]"),
        ("[[acepted]]\nid = 1", "acepted: unknown key; expected accepted"),
        (accept().replace("reason", "why"), "why: unknown key; expected id, until, reason"),
        (accept("a b"), "id 'a b': expected an id such as CVE-2026-12345"),
        (accept(until="'soon'"), "until 'soon': expected a date"),
        (accept(until="2026-12-31T10:00:00"), "until .*: expected a date"),
        (accept().replace("Not used", " "), "reason ' ': expected a sentence"),
    ],
)
def test_an_invalid_file_is_refused(text, what):
    with pytest.raises(InvalidConfig, match=what):
        scan.load(text)


def test_the_projects_file_is_valid(project):
    assert scan.read(project) == []


# --- The command --------------------------------------------------------------------------------


def test_a_version_with_a_critical_finding_is_not_created(aws, fresh, programs, fails):
    aws.scans = [("ACTIVE", enhanced("YES"))]
    output = fails("build")
    assert "the image has 1 critical vulnerabilities that have a fix" in output
    assert "is published, no version was created" in output
    assert not programs.calls("^eb ")


@pytest.mark.parametrize("code", ["AccessDeniedException", None])
def test_a_registry_that_does_not_respond_is_not_a_pass(aws, fresh, programs, fails, code):
    aws.fail("ecr:DescribeImageScanFindings", code)
    assert "ecr:DescribeImageScanFindings" in fails("build")
    assert not programs.calls("^eb ")
