"""The production server, as ``python -m web`` runs it, over real HTTP."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import psutil
import pytest

from web import __main__

BODY = b'{"dateOfBirth": "1990-05-17"}'


class Web:
    """A running server."""

    def __init__(self, env, folder, program=("-m", "web")):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                env=os.environ | env | {"PORT": str(self.port)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_until_up()
        except BaseException:
            self.process.kill()
            raise

    def wait_until_up(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                assert self.request("GET", "/livez")[0] == 200
                return
            except OSError:
                assert self.process.poll() is None, self.output.read_text()
                time.sleep(0.05)
        raise TimeoutError(self.output.read_text())

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def raw(self, request):
        """The answer to something that need not be HTTP; nothing where it just hung up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                return connection.makefile("rb").read()
            except OSError:
                return b""

    def hang(self):
        """Send a request that is never answered, and wait until its worker is gone.

        The connection stays open both ways: the server may drop a request whose client has
        finished sending, before a thread has begun with it.
        """
        with suppress(OSError, http.client.HTTPException):
            self.request("GET", "/readyz")

    def workers(self):
        return [
            child
            for child in psutil.Process(self.process.pid).children()
            if "resource_tracker" not in " ".join(child.cmdline())
        ]


@contextmanager
def serving(env, folder, program=("-m", "web")):
    server = Web(env, folder, program)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(20)


def changed(*changes):
    """The arguments for Python to serve with other limits or another behaviour."""
    modules = "from web import __main__ as main, deadman, health; import datetime, re, time"
    return ("-c", "\n".join([modules, *changes, "main.main()"]))


def has_ended(process):
    """Whether it has, be it that nobody has asked for its exit code yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def web(env, app, tmp_path_factory):
    """One for all the tests that leave it as it was."""
    with serving(env, tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def own(env, app, tmp_path):
    """One for this test alone."""
    with serving(env, tmp_path) as server:
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
    for request in (b"\0\0\0\0\r\n\r\n", b"GET /hello/a b HTTP/1.1\r\n\r\n", b"PUT /hello/a HTTP/1.1\r\nContent-Length: x\r\n\r\n"):  # fmt: skip
        assert b" 500 " not in web.raw(request).split(b"\r\n")[0]
    assert web.request("GET", "/livez")[0] == 200


def test_a_worker_that_dies_is_replaced(own):
    before = {worker.pid for worker in own.workers()}
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
        time.sleep(1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = {worker.pid for worker in own.workers() if worker.status() != psutil.STATUS_ZOMBIE}
        if len(now) == 2 and not now & before:
            break
        time.sleep(0.1)
    own.wait_until_up()
    assert own.request("PUT", "/hello/John", BODY)[0] == 204


def test_connections_that_are_idle_or_too_slow_are_closed(env, app, tmp_path):
    """Whether they have never sent anything, half a request, or whole ones before."""
    limit = changed("main.IDLE_TIMEOUT = datetime.timedelta(seconds=1)")
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(env, tmp_path, limit) as web:
        for sent in (b"", request[:9], request):
            with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
                connection.sendall(sent)
                assert (
                    connection.makefile("rb").read().startswith(b"HTTP/1.1 200" * (sent == request))
                )


def test_idle_connections_are_kept_longer_than_the_proxy_keeps_them():
    """The platform's nginx has 60 s for its upstream, and sends requests on them until then."""
    assert __main__.IDLE_TIMEOUT.total_seconds() > 60


def test_only_http_1_is_spoken(web):
    assert web.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0") == b""
    upgrade = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABk",
    }
    assert web.request("GET", "/livez", headers=upgrade)[0] == 200


def test_a_second_server_on_the_same_port_refuses_to_start(web, env):
    ended = subprocess.run(
        [sys.executable, "-m", "web"],
        env=os.environ | env | {"PORT": str(web.port)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"web: cannot listen on port {web.port} of 127.0.0.1")
    assert ended.stderr.count("\n") == 1
    assert web.request("GET", "/livez")[0] == 200


def test_workers_end_when_their_server_was_killed(own):
    workers = own.workers()
    assert len(workers) == 2
    own.process.kill()
    for worker in workers:
        wait_until(lambda worker=worker: has_ended(worker), "the end of a worker")


NEVER = "main.GRACE = datetime.timedelta(days=1)"  # so that nobody is killed for not hearing


@pytest.mark.parametrize(
    "moment", ["now", *(f"Spawning worker-{n}" for n in (1, 2)), *["Started worker-2"] * 8]
)
def test_a_stop_while_it_starts_is_obeyed(env, moment):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    starting = subprocess.Popen(
        [sys.executable, *changed(NEVER)],
        env=os.environ | env | {"PORT": port},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while moment != "now" and moment not in starting.stdout.readline():
            pass
        starting.terminate()
        starting.communicate(timeout=60)
    finally:
        starting.kill()


HANG = "health.storage.ping = lambda: time.sleep(3600)"
HANG_WITH_THE_LOCK = 'health.storage.ping = lambda: re.match("(a+)+$", "a" * 60 + "b")'


@pytest.mark.parametrize(("hang", "requests"), [(HANG, 4), (HANG_WITH_THE_LOCK, 1)])
def test_a_worker_that_hangs_is_replaced(env, app, tmp_path, hang, requests):
    program = changed("deadman.LIMIT, deadman.LOOK = 1, 0.1", hang)
    with serving(env | {"WORKERS": "1", "THREADS": "2"}, tmp_path, program) as web:
        (before,) = web.workers()
        asking = [threading.Thread(target=web.hang) for _ in range(requests)]
        for thread in asking:
            thread.start()
        wait_until(lambda: has_ended(before), "the end of the worker")
        for thread in asking:
            thread.join()
        web.wait_until_up()
        assert "Timeout" in web.output.read_text()
        assert "in <lambda>" in web.output.read_text()


def test_a_worker_with_a_free_thread_is_left_alone(env, app, tmp_path):
    program = changed("deadman.LIMIT, deadman.LOOK = 1, 0.1", HANG)
    with serving(env | {"WORKERS": "1", "THREADS": "2"}, tmp_path, program) as web:
        (before,) = web.workers()
        with socket.create_connection(("127.0.0.1", web.port)) as waiting:
            waiting.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                assert web.request("GET", "/livez")[0] == 200
            assert web.workers() == [before]
        before.kill()  # or it would wait for its request


def test_a_request_in_flight_is_served_at_sigterm(own):
    """Half of a request is sent, the server told to stop, then the rest is sent."""
    answers = []

    def ask():
        with socket.create_connection(("127.0.0.1", own.port), timeout=20) as connection:
            head = f"PUT /hello/John HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
            connection.sendall(head.encode() + BODY[:5])
            time.sleep(2)
            connection.sendall(BODY[5:])
            answers.append(connection.makefile("rb").readline())

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1)
    own.process.terminate()
    asking.join()
    assert answers == [b"HTTP/1.1 204 No Content\r\n"]
    assert own.process.wait(10) == 0


def test_all_output_is_json_and_contains_no_names(own):
    own.request("PUT", "/hello/Rumpelstiltskin", BODY)
    own.process.terminate()
    own.process.wait(20)
    lines = own.output.read_text().splitlines()
    assert all(json.loads(line)["message"] for line in lines)
    assert "Rumpelstiltskin" not in "".join(lines)
    assert "1990" not in "".join(lines)


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
