"""Known vulnerabilities of the pinned packages, from a local server that responds like OSV."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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


@pytest.fixture
def osv():
    """The server: what was asked for, what is known by version, and the status of its answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = f"{asked['package']['name']} {asked['version']}"
            server.asked.append(package)
            answer = json.dumps({"vulns": server.known.get(package, [])}).encode()
            self.send_response(server.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.known, server.status = [], {}, 200
        server.url = f"http://127.0.0.1:{server.server_port}/v1/query"
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def vulnerability(identity):
    event = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}
    package = {"name": "flask", "ecosystem": "PyPI"}
    return {
        "id": identity, "summary": "It is wrong", "details": "Quite wrong",
        "affected": [{"package": package, "ranges": [event]}],
    }  # fmt: skip


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
def test_without_known_vulnerabilities_it_passes(folder, osv, monkeypatch):
    assert run(monkeypatch, osv.url, "lock.txt", "other.txt") is None
    assert sorted(osv.asked) == ["flask 2.0.0", "flask 3.1.0", "odd-one 1.0"]


@pytest.mark.process
def test_a_known_vulnerability_fails_unless_it_is_accepted_today(folder, osv, monkeypatch, capfd):
    names = ("PYSEC-2026-1", "PYSEC-2026-2", "PYSEC-2026-3")
    osv.known["flask 3.1.0"] = [vulnerability(name) for name in names]
    message = run(monkeypatch, osv.url, "lock.txt")
    assert "temporarily in devops/vulnerabilities.toml" in message
    output = capfd.readouterr().out
    assert "PYSEC-2026-1" not in output  # accepted
    assert "PYSEC-2026-2" in output  # no longer
    assert "PYSEC-2026-3" in output
    assert "9.9" in output


@pytest.mark.process
def test_an_accepted_vulnerability_does_not_count(folder, osv, monkeypatch):
    osv.known["flask 3.1.0"] = [vulnerability("PYSEC-2026-1")]
    assert run(monkeypatch, osv.url, "lock.txt") is None


@pytest.mark.process
def test_a_query_without_a_response_is_not_a_pass(folder, osv, monkeypatch):
    osv.status = 500
    assert run(monkeypatch, osv.url, "other.txt")


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
