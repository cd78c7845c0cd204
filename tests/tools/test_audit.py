"""Known vulnerabilities of the pinned packages, from a local server that responds like OSV."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import audit

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
def run(osv, tmp_path):
    """Runs the audit of two small locks: exit code and output."""
    (tmp_path / "lock.txt").write_text(LOCK)
    (tmp_path / "other.txt").write_text(f"flask==2.0.0 {HASH}\n")
    (tmp_path / "devops").mkdir()
    accepted = tmp_path / "devops/vulnerabilities.toml"
    accepted.write_text("")

    def run(accept="", url=osv.url):
        accepted.write_text(accept)
        ended = subprocess.run(
            [sys.executable, "-m", "tools.audit", "lock.txt", "other.txt"],
            cwd=tmp_path, capture_output=True, text=True,
            env=os.environ | {"AUDIT_URL": url, "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    return run


def accept(until):
    return f'[[accepted]]\nid = "PYSEC-2026-1"\nuntil = {until}\nreason = "Not used"\n'


def test_without_known_vulnerabilities_it_passes(run, osv):
    code, output = run()
    assert code == 0, output
    assert sorted(osv.asked) == ["flask 2.0.0", "flask 3.1.0", "odd-one 1.0"]


def test_a_known_vulnerability_fails(run, osv):
    osv.known["flask 3.1.0"] = [vulnerability("PYSEC-2026-1")]
    code, output = run()
    assert code == 1
    assert "PYSEC-2026-1" in output
    assert "9.9" in output
    assert "temporarily in devops/vulnerabilities.toml" in output


def test_an_accepted_vulnerability_does_not_count(run, osv):
    osv.known["flask 3.1.0"] = [vulnerability("PYSEC-2026-1")]
    assert run(accept("2999-12-31"))[0] == 0


def test_an_accepted_vulnerability_counts_after_its_last_day(run, osv):
    osv.known["flask 3.1.0"] = [vulnerability("PYSEC-2026-1")]
    assert run(accept("2000-12-31"))[0] == 1


def test_a_query_without_a_response_is_not_a_pass(run, osv):
    osv.status = 500
    assert run()[0] == 1


def test_an_unreachable_server_is_not_a_pass(run):
    assert run(url="http://127.0.0.1:9/v1/query")[0] == 1


def test_every_lock_file_is_checked():
    """The locks of run and deploy are part of that of dev."""
    names = {path.stem for path in Path("requirements").glob("*.txt")}
    included = set()
    for line in Path("requirements/dev.in").read_text().splitlines():
        if line.startswith("-r "):
            included.add(Path(line[3:]).stem)
    assert set(audit.LOCKS) | included == names
