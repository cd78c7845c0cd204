"""Known vulnerabilities of the pinned packages, from a local server that responds like OSV."""

import sys
from pathlib import Path

import pytest

from tests.support.json_server import JsonServer
from tools import audit

ACCEPTED = """
[[accepted]]
id = "PYSEC-2026-1"
until = 2999-12-31
reason = "Not used"

[[accepted]]
id = "PYSEC-2026-2"
until = 2000-12-31
reason = "Not used"
"""
HASH = "--hash=sha256:" + "0" * 64
LOCK = f"flask==3.1.0 {HASH}\nodd-one==1.0 ; python_version >= '3.0' \\\n    {HASH}\n"


class Osv(JsonServer):
    """What was asked for, what is known by version, and the status of its answers."""

    def __init__(self):
        self.asked, self.known, self.status = [], {}, 200
        super().__init__(self._answer)

    def _answer(self, method, path, headers, body):
        package = f"{body['package']['name']} {body['version']}"
        self.asked.append(package)
        return self.status, {"vulns": self.known.get(package, [])}, {}


@pytest.fixture
def osv():
    server = Osv()
    yield server
    server.stop()


def vulnerability(identity):
    event = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}
    package = {"name": "flask", "ecosystem": "PyPI"}
    return {
        "id": identity,
        "summary": "It is wrong",
        "details": "Quite wrong",
        "affected": [{"package": package, "ranges": [event]}],
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two small locks, and the vulnerabilities that are accepted."""
    (tmp_path / "lock.txt").write_text(LOCK)
    (tmp_path / "other.txt").write_text(f"flask==2.0.0 {HASH}\n")
    (tmp_path / "devops").mkdir()
    (tmp_path / "devops/vulnerabilities.toml").write_text(ACCEPTED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch, url, *locks):
    """The message with which an audit ends, if any."""
    monkeypatch.setenv("AUDIT_URL", url)
    monkeypatch.setattr(sys, "argv", ["tools.audit", *locks])
    try:
        audit.main()
    except SystemExit as ended:
        return ended.code
    return None


@pytest.mark.process
def test_packages_without_known_vulnerabilities_pass(folder, osv, monkeypatch):
    assert run(monkeypatch, f"{osv.url}/v1/query", "lock.txt", "other.txt") is None
    assert sorted(osv.asked) == ["flask 2.0.0", "flask 3.1.0", "odd-one 1.0"]


@pytest.mark.process
def test_a_known_vulnerability_fails_unless_it_is_accepted_today(folder, osv, monkeypatch, capfd):
    names = ("PYSEC-2026-1", "PYSEC-2026-2", "PYSEC-2026-3")
    osv.known["flask 3.1.0"] = [vulnerability(name) for name in names]
    message = run(monkeypatch, f"{osv.url}/v1/query", "lock.txt")
    assert "temporarily in devops/vulnerabilities.toml" in message
    output = capfd.readouterr().out
    assert "PYSEC-2026-1" not in output  # accepted
    assert "PYSEC-2026-2" in output  # no longer
    assert "PYSEC-2026-3" in output
    assert "9.9" in output


@pytest.mark.process
def test_an_accepted_vulnerability_does_not_count(folder, osv, monkeypatch):
    osv.known["flask 3.1.0"] = [vulnerability("PYSEC-2026-1")]
    assert run(monkeypatch, f"{osv.url}/v1/query", "lock.txt") is None


@pytest.mark.process
def test_a_query_without_a_response_is_not_a_pass(folder, osv, monkeypatch):
    osv.status = 500
    assert run(monkeypatch, f"{osv.url}/v1/query", "other.txt")


@pytest.mark.process
def test_an_unreachable_server_is_not_a_pass(folder, monkeypatch):
    assert run(monkeypatch, "http://127.0.0.1:9/v1/query", "other.txt")


def test_every_lock_file_is_checked():
    """The locks of run and deploy are part of that of dev."""
    names = {path.stem for path in Path("requirements").glob("*.txt")}
    included = set()
    for line in Path("requirements/dev.in").read_text().splitlines():
        if line.startswith("-r "):
            included.add(Path(line[3:]).stem)
    assert set(audit.LOCKS) | included == names
