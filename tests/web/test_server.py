"""The production server, as ``python -m web`` runs it, over real HTTP."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest

from tests.support.server import Web, has_ended, read, serving, wait_until
from web import __main__

pytestmark = pytest.mark.process

BODY = b'{"dateOfBirth": "1990-05-17"}'


@pytest.fixture(scope="module")
def web(env, app, tmp_path_factory):
    """One for all the tests that leave it as it was."""
    with serving(env, tmp_path_factory.mktemp("web")) as server:
        yield server


def test_a_user_is_saved_greeted_and_deleted(web):
    assert web.request("PUT", "/hello/John", BODY)[0] == 204
    status, headers, body = web.request("GET", "/hello/John")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["message"].startswith("Hello, John! ")
    status, headers, body = web.request("PUT", "/hello/John", BODY)
    assert (status, body) == (204, b"")


@pytest.mark.parametrize(
    "path", ["john%0A", "john%00", "%FF", "%C3%28", "a" * 5000, "%F0%9F%98%80", "a%20b"]
)
def test_invalid_names_are_refused(web, path):
    for method in ("GET", "PUT"):
        status, headers, body = web.request(method, f"/hello/{path}", BODY)
        assert (status, headers["Content-Type"]) == (400, "application/problem+json")
        assert json.loads(body)["status"] == 400


def test_names_in_other_scripts_are_valid(web):
    path = "/hello/%E0%A4%A6%E0%A5%87%E0%A4%B5"
    assert web.request("PUT", path, BODY)[0] == 204
    assert "देव" in web.request("GET", path)[2].decode()


def test_a_chunked_body_is_read(web):
    assert web.request("PUT", "/hello/John", iter([BODY[:5], BODY[5:]]))[0] == 204
    for length in (4096, 4097, 9000):
        chunks = iter([b" " * 1000] * (length // 1000) + [b" " * (length % 1000)])
        expected = 400 if length == 4096 else 413
        assert web.request("PUT", "/hello/John", chunks)[0] == expected


@pytest.mark.parametrize("chunked", [False, True])
def test_the_response_to_a_long_body_can_be_read(web, chunked):
    """Many clients do not listen before they have sent everything."""
    for _ in range(20):
        body = iter([b"[" * 1000] * 100) if chunked else b"[" * 100_000
        status, headers, _ = web.request("PUT", "/hello/John", body)
        assert (status, headers["Content-Type"]) == (413, "application/problem+json")


@pytest.mark.parametrize("sent", [0, 1, 28])
def test_a_body_that_ends_too_early_is_refused(web, sent):
    """Although what came of it may be valid: the query string in its place, or all but blanks."""
    name = f"Early{'abc'[sent % 3]}"
    head = f"PUT /hello/{name}?dateOfBirth=1990-05-17 HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n"
    answer = web.raw(head.encode() + BODY[:sent])
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert web.request("GET", f"/hello/{name}")[0] == 404


def test_invalid_http_is_not_a_server_error(web):
    for request in (
        b"\0\0\0\0\r\n\r\n",
        b"GET /hello/a b HTTP/1.1\r\n\r\n",
        b"PUT /hello/a HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        assert b" 500 " not in web.raw(request).split(b"\r\n")[0]
    assert web.request("GET", "/livez")[0] == 200


def test_a_worker_that_dies_is_replaced(web):
    before = web.workers()
    assert len(before) == 2
    for worker in before:
        web.replace(worker)
    assert web.request("PUT", "/hello/John", BODY)[0] == 204


def test_connections_that_are_idle_or_too_slow_are_closed(env, app, tmp_path):
    """Whether they have never sent anything, half a request, or whole ones before."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(env, tmp_path, idle=timedelta(seconds=1)) as web, ExitStack() as stack:
        connections = [stack.enter_context(web.connect()) for _ in range(3)]
        for connection, sent in zip(connections, (b"", request[:9], request), strict=True):
            connection.sendall(sent)
        answers = [read(connection) for connection in connections]
    assert answers[:2] == [b"", b""]
    assert answers[2].startswith(b"HTTP/1.1 200 ")


def test_only_http_1_is_spoken(web):
    assert web.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0") == b""
    upgrade = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABk",
    }
    assert web.request("GET", "/livez", headers=upgrade)[0] == 200


def test_a_second_server_on_the_same_port_refuses_to_start(web, env, monkeypatch):
    for name, value in (env | {"PORT": str(web.port)}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        __main__.main()
    assert refused.value.code.startswith(f"web: cannot listen on port {web.port} of 127.0.0.1")
    assert "\n" not in refused.value.code
    assert web.request("GET", "/livez")[0] == 200


def test_workers_end_when_their_server_was_killed(env, app, tmp_path):
    with serving(env, tmp_path) as web:
        workers = web.workers()
        assert len(workers) == 2
        web.process.kill()
        for worker in workers:
            wait_until(lambda worker=worker: has_ended(worker), web.output)


@pytest.mark.parametrize(
    "moment", ["", *["Spawning worker-1", "Spawning worker-2"] * 4, *["Started worker-2"] * 12]
)
def test_a_stop_while_it_starts_is_obeyed(env, tmp_path, moment):
    web = Web(env, tmp_path, grace=timedelta(days=1))  # so that no worker is killed
    try:
        wait_until(lambda: moment in web.output.read_text(), web.output, pause=0.001)
        web.stop()
    finally:
        web.process.kill()


@pytest.fixture
def hanging(env, app, tmp_path):
    """One with a single worker, which can hang."""
    target = "tests.support.server:load_hanging"
    more = {"WORKERS": "1", "THREADS": "2"}
    with serving(env | more, tmp_path, target=target) as server:
        yield server


@contextmanager
def asking(web, path):
    """A request that is never answered: the connection stays open both ways meanwhile."""
    with web.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield


def is_replaced(web, worker, cause):
    wait_until(lambda: has_ended(worker), web.output)
    web.wait_until_up()
    output = web.output.read_text()
    assert "Timeout" in output
    assert cause in output


def test_a_worker_is_replaced_once_all_of_its_threads_hang(hanging):
    (before,) = hanging.workers()
    with asking(hanging, "/hang"):
        ends = time.monotonic() + 2
        while time.monotonic() < ends:
            assert hanging.request("GET", "/livez")[0] == 200
        assert hanging.workers() == [before]
        with asking(hanging, "/hang"):
            is_replaced(hanging, before, "in hang\n")


def test_a_worker_that_hangs_with_the_interpreters_lock_is_replaced(hanging):
    (before,) = hanging.workers()
    with asking(hanging, "/hang-with-the-lock"):
        is_replaced(hanging, before, "in hang_with_the_lock\n")


@pytest.fixture(scope="module")
def stopped(env, app, tmp_path_factory):
    """What came of a server that was told to stop in the middle of a request.

    Half of the request is sent, the server told to stop, then the rest is sent.
    """
    folder = tmp_path_factory.mktemp("stopped")
    with serving(env | {"WORKERS": "1"}, folder) as web, web.connect() as connection:
        head = f"PUT /hello/Rumpelstiltskin HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}"
        connection.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode() + BODY[:5])
        # a thread has begun with it
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        web.process.terminate()
        wait_until(lambda: "Stopping worker-1" in web.output.read_text(), web.output)
        connection.sendall(BODY[5:])
        answer = read(connection)
        return SimpleNamespace(answer=answer, code=web.end(), output=web.output.read_text())


def test_a_request_in_flight_is_served_at_sigterm(stopped):
    assert stopped.answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert stopped.code == 0


def test_all_output_is_json_and_contains_no_names(stopped):
    lines = stopped.output.splitlines()
    assert json.loads(lines[0])["message"] == "everybody may write, because API_KEYS is not set"
    assert [line for line in lines if json.loads(line)["message"] == "request"]
    assert all(json.loads(line)["message"] for line in lines)
    assert "Rumpelstiltskin" not in stopped.output
    assert "1990" not in stopped.output


def test_an_invalid_variable_is_reported_in_one_line():
    ended = subprocess.run(
        [sys.executable, "-m", "web"],
        env=os.environ | {"DATABASE_URL": "postgresql://a@b/c", "WORKERS": "no"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert (
        ended.stderr
        == "web: Invalid WORKERS 'no': expected the number of server processes, 1 to 64.\n"
    )
    assert ended.stdout == ""
