"""The stack of docker-compose.yml: starting, under faults, and stopping."""

import contextlib
import http.client
import json
import os
import re
import secrets
import select
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.support.containers import PATIENCE, docker, request
from tests.support.load import NO_ANSWER, Load
from web import docs

OUTAGES = (503, 504)  # statuses while a container is down

pytestmark = pytest.mark.usefixtures("compose")


class Stack:
    """The running stack of the checkout ``folder``."""

    def __init__(self, folder="."):
        self.folder = folder
        self.project = f"service-{secrets.token_hex(4)}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.env = os.environ | {"PORT": str(self.port), "APP_VERSION": "under-test"}

    def compose(self, *arguments, check=True, timeout=1800):
        command = ["docker", "compose", "--project-name", self.project, *arguments]
        ended = subprocess.run(
            command, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=timeout
        )
        assert not check or ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def down(self):
        self.compose("down", "--volumes", "--rmi", "local", "--timeout", "2")

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def container(self, service):
        return self.compose("ps", "--all", "--quiet", service).strip()


@pytest.fixture(scope="module")
def stack(image):
    stack = Stack()
    try:
        stack.compose("up", "--wait")
        yield stack
    finally:
        stack.down()


@pytest.fixture
def load(stack):
    """Clients of the stack; while a container is down, nginx may time out waiting for it (504)."""
    load = Load("127.0.0.1", stack.port, clients=4, outages=OUTAGES)
    yield load
    print(f"\nanswers under load: {dict(load.counts)}")  # noqa: T201  # shown by make test-docker


def nothing_was_lost(stack, load):
    query = "SELECT username, date_of_birth FROM person"
    rows = stack.compose("exec", "-T", "db", "psql", "-U", "app", "-Atc", query)
    stored = {name: date.fromisoformat(born) for name, born in (r.split("|") for r in rows.split())}
    assert load.acknowledged
    assert not load.lost(stored), {n: (load.saved[n], stored.get(n)) for n in load.lost(stored)}
    assert not load.wrong


def test_the_stack_saves_and_greets(stack):
    body = b'{"dateOfBirth": "1990-05-17"}'
    assert request("PUT", stack.url("/hello/John"), body)[0] == 204
    assert "Hello, John!" in request("GET", stack.url("/hello/John"))[1]
    assert json.loads(request("GET", stack.url("/livez"))[1])["version"] == "under-test"


def test_the_stack_shows_its_address_once_it_serves(stack):
    said = stack.compose("logs", "--no-log-prefix", "address")
    assert said == f"Serving on {stack.url('')}\n"


def test_the_stack_runs_the_files_of_its_own_checkout(stack, tmp_path):
    """Not what another checkout has built, nor what this one had before; `up -d` ends when it serves."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
    other = Stack(clone)
    text = clone / "web/birthday.py"
    try:
        for word in ("Goodbye", "Welcome"):
            text.write_text(re.sub(r'f"\w+, ', f'f"{word}, ', text.read_text()))
            other.compose("up", "--detach")
            request("PUT", other.url("/hello/Ann"), b'{"dateOfBirth": "1990-05-17"}')
            assert f"{word}, Ann!" in request("GET", other.url("/hello/Ann"))[1]
    finally:
        other.down()
    request("PUT", stack.url("/hello/Ann"), b'{"dateOfBirth": "1990-05-17"}')
    assert "Hello, Ann!" in request("GET", stack.url("/hello/Ann"))[1]


def test_an_invalid_setting_is_explained_and_nothing_else_starts(stack):
    """Compose names the container whose log has the reason, and does not restart it."""
    other = Stack()
    other.env |= {"TIME_ZONE": "Mars/Phobos"}
    try:
        with pytest.raises(AssertionError, match='service "migrate"'):
            other.compose("up", "--detach")
        assert "Invalid TIME_ZONE 'Mars/Phobos'" in other.compose("logs", "migrate")
        assert not other.compose("ps", "--quiet", "web", "nginx")
    finally:
        other.down()


def test_the_port_of_the_database_is_not_published(stack):
    assert docker("port", stack.container("db")).stdout == ""


def ask_as_from_outside(stack, path, method="GET", body=None, address="198.51.100.7"):
    """Status, media type and Retry-After of a request that came through a load balancer."""
    headers = {"X-Forwarded-For": f"203.0.113.9, {address}"}
    asked = urllib.request.Request(stack.url(path), body, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as response:
            return response.status, response.headers.get_content_type(), None
    except urllib.error.HTTPError as error:
        with error:
            kind = error.headers.get_content_type()
            return error.code, kind, error.headers["Retry-After"]


def test_nginx_denies_outside_clients_the_operators_paths(stack):
    assert request("GET", stack.url("/readyz"))[0] == 200
    assert ask_as_from_outside(stack, "/readyz")[:2] == (404, "application/problem+json")
    assert ask_as_from_outside(stack, "/livez")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/hello/john%0A", None, 400),
        ("GET", "/hello/john%00", None, 400),
        ("GET", "/hello/Jo%2Fhn", None, 404),
        ("PUT", "/hello/John", b" " * 5000, 413),
        ("PUT", "/hello/John", b" " * 2_000_000, 413),
        ("GET", "/hello/" + "a" * 9000, None, 414),
        ("GET", "/problem/429", None, 404),
    ],
)
def test_invalid_requests_get_the_same_response_through_nginx(stack, method, path, body, status):
    answer = ask_as_from_outside(stack, path, method, body)
    assert answer[:2] == (status, "application/problem+json")


def raw(stack, request, encoding="utf-8"):
    """Status line, headers by name in lower case, and body of the answer to ``request``."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(request)
        answer = connection.makefile("rb").read().decode(encoding)
    head, _, body = answer.partition("\r\n\r\n")
    status, *headers = head.split("\r\n")
    return (
        status,
        {name.lower(): value for name, value in (h.split(": ", 1) for h in headers)},
        body,
    )


HOST = b"Host: x\r\nConnection: close\r\n"
OWN_ANSWERS = {
    "not HTTP": (b"\0\0\0\0\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "wrong length": (b"PUT /hello/Ann HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", 400),
    "two lengths": (
        b"PUT /hello/Ann HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "wrong chunk": (
        b"PUT /hello/Ann HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        400,
    ),
    "placeholder": (b"GET /hello/<username> HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "letters": ("GET /hello/Zoë HTTP/1.1\r\n".encode() + HOST + b"\r\n", 400),
    "quotes": (b'GET /hello/Ann?timeZone="UTC" HTTP/1.1\r\n' + HOST + b"\r\n", 400),
    "internal path": (b"GET /problem HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "operator's path": (
        b"GET /readyz HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: 192.0.2.1\r\n\r\n",
        404,
    ),
    "trace": (b"TRACE /hello/Ann HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "long body": (
        b"PUT /hello/Ann HTTP/1.1\r\n" + HOST + b"Content-Length: 4097\r\n\r\n" + b" " * 4097,
        413,
    ),
    "long chunks": (
        b"PUT /hello/Ann HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n1001\r\n"
        + b" " * 4097
        + b"\r\n0\r\n\r\n",
        413,
    ),
    "long path": (b"GET /hello/" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "long header": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "coding": (b"PUT /hello/Ann HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "version": (b"GET /livez HTTP/3.0\r\n" + HOST + b"\r\n", 505),
}


@pytest.mark.parametrize("what", OWN_ANSWERS)
def test_nginxs_own_errors_are_problem_documents_too(stack, what):
    request, expected = OWN_ANSWERS[what]
    status, headers, body = raw(stack, request)
    problem = json.loads(body)
    assert status.split()[1] == str(expected) == str(problem["status"])
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert problem["title"] == HTTPStatus(expected).phrase or sys.version_info < (3, 13)
    assert problem["detail"]
    assert "nginx" not in body
    line = logged(stack, headers["x-request-id"])
    assert line["status"] == expected


def test_the_documentation_page_is_small_on_a_slow_line(stack):
    sizes = []
    for name in docs.ASSETS:
        target = f"GET /docs/{name} HTTP/1.1\r\n".encode() + HOST + b"Accept-Encoding: gzip\r\n"
        status, headers, body = raw(stack, target + b"\r\n", "latin-1")
        assert status.split()[1] == "200"
        sizes.append(len(body))
        again = target + f"If-None-Match: {headers['etag']}\r\n\r\n".encode()
        assert raw(stack, again)[0].split()[1] == "304"
    assert sum(sizes) < 700_000  # of 1.9 MB


def logged(stack, request_id):
    """The last log line of nginx with this request id."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        log = stack.compose("logs", "--no-log-prefix", "nginx")
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        found = [line for line in lines if line["request_id"] == request_id]
        if found:
            return found[-1]
        time.sleep(0.05)
    raise TimeoutError(request_id)


def test_every_error_status_of_nginx_has_a_title_and_a_detail():
    """All statuses that nginx's source code can send to a client; 499 and 444 appear only in its log."""
    configuration = Path(".platform/nginx/nginx.conf").read_text()
    redirected = set(re.search(r"error_page ([\d ]+) /problem;", configuration)[1].split())
    renamed = set(re.findall(r"error_page \d+ =(\d+) /problem;", configuration))
    titles = re.search(r"map \$status \$title {(.*?)}", configuration, re.DOTALL)[1]
    assert set(re.findall(r"^\s+(\d+)", titles, re.MULTILINE)) == redirected | renamed


@pytest.mark.parametrize(
    "given", ["0190d5b2-7c1e-7b3a-9f00-0123456789ab", "1-67891233-abcdef012345678912345678", None]
)
@pytest.mark.parametrize("path", ["/livez", "/problem"])
def test_the_request_id_is_the_same_in_response_and_log(stack, given, path):
    """Whether the application or nginx itself responds, and whether the id is the caller's or a new one."""
    header = b"X-Request-ID: " + (given or "Rumpelstiltskin_1812-12-20").encode() + b"\r\n"
    _, headers, _ = raw(stack, b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + header + b"\r\n")
    answered = headers["x-request-id"]
    assert answered == given or (given is None and re.fullmatch(r"[0-9a-f]{32}", answered))
    logged(stack, answered)
    if path == "/livez":
        assert answered in stack.compose("logs", "web")


def ask_until_refused(stack, client):
    """The kinds of responses on one connection, up to the first that is 429; a new one takes longer than most."""
    counted = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=20)
    with contextlib.closing(connection):
        for number in range(500):
            claimed = f"203.0.113.9, 192.0.2.{client + number % 250}"
            connection.request("GET", "/livez", headers={"X-Forwarded-For": claimed})
            response = connection.getresponse()
            response.read()
            kind = response.headers.get_content_type()
            counted[response.status, kind, response.headers["Retry-After"]] += 1
            if response.status == 429:
                break
    return counted


def test_requests_from_one_address_are_rate_limited(stack):
    """Whatever its X-Forwarded-For claims: there is no trusted load balancer here."""
    with ThreadPoolExecutor(16) as pool:
        counted = sum(pool.map(lambda n: ask_until_refused(stack, n), range(16)), Counter())
    assert counted[200, "application/json", None] >= 200
    assert counted[429, "application/problem+json", "1"] > 0
    assert len(counted) == 2


def test_one_address_cannot_take_all_connections(stack):
    """Bodies that trickle: so many at a time are waited for, the others are refused, and go on."""
    head = b"PUT /hello/Ann HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 4000\r\n\r\n"
    # Requests of earlier tests count towards the rate limit until enough time has passed
    configuration = Path(".platform/nginx/nginx.conf").read_text()
    rate, burst, limit = (
        int(re.search(rf"{key}(\d+)", configuration)[1])
        for key in ("rate=", "burst=", "limit_conn connections ")
    )
    time.sleep(burst / rate + 1)
    held = []
    try:
        for _ in range(limit + 30):
            connection = socket.create_connection(("127.0.0.1", stack.port), timeout=20)
            connection.sendall(head + b"{")
            held.append(connection)
        deadline = time.monotonic() + 20
        while len(held) > limit and time.monotonic() < deadline:
            for connection in held:
                connection.sendall(b" ")
            readable, _, _ = select.select(held, [], [], 0.2)
            for connection in readable:
                assert connection.recv(1024).startswith(b"HTTP/1.1 429 ")
                held.remove(connection)
                connection.close()
        assert len(held) == limit
        other = "import urllib.request as r; print(r.urlopen(r.Request('http://nginx/livez', headers={'X-Forwarded-For': '192.0.2.9'})).status)"
        assert stack.compose("exec", "-T", "web", "python", "-c", other) == "200\n"
    finally:
        for connection in held:
            connection.close()


def test_nginx_does_not_wait_for_a_stalled_body(stack):
    head = b"PUT /hello/Ann HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", stack.port), timeout=60) as connection:
        connection.sendall(head)
        assert connection.recv(1024) == b""


def test_nginx_logs_no_names(stack):
    """Neither in a line of its own nor in an error, wherever in the request the name is."""
    for sent in (
        b"GET /hello/Rumpelstiltskin HTTP/1.1\r\n" + HOST + b"\r\n",
        b"RUMPELSTILTSKIN /hello/Rumpelstiltskin HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /hello/Rumpelstiltskin HTTP/1.1\r\nRumpelstiltskin\r\n\r\n",
        b"GET /hello/Rumpelstiltskin HTTP/1.1\r\n"
        + HOST
        + b"X-Request-ID: Rumpelstiltskin\r\n\r\n",
        b"GET /hello/Rumpelstiltskin HTTP/1.1\r\n"
        + HOST
        + b"X-Amzn-Trace-Id: Root=Rumpelstiltskin\r\n\r\n",
        b"GET /Rumpelstiltskin HTTP/1.1\r\nHost: Rumpelstiltskin\r\nConnection: close\r\n\r\n",
        b"PUT /hello/Rumpelstiltskin HTTP/1.1\r\n" + HOST + b"Content-Length: 9999\r\n\r\n",
    ):
        _, headers, _ = raw(stack, sent)
    logged(stack, headers["x-request-id"])
    log = stack.compose("logs", "--no-log-prefix", "nginx", "web")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {"/hello/<username>", "/livez"} <= {line.get("route") for line in lines}
    assert "OTHER" in {line.get("method") for line in lines}
    assert "rumpelstiltskin" not in log.lower()


def test_services_have_no_more_privileges_than_they_need(stack):
    services = json.loads(stack.compose("--profile", "test", "config", "--format", "json"))[
        "services"
    ]
    for name in ("db", "migrate", "web", "nginx", "address"):
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["security_opt"] == ["no-new-privileges:true"], name
    assert {name for name in services if services[name].get("cap_add")} == {"nginx"}
    in_network = {name for name in services if "database" in services[name].get("networks", {})}
    assert in_network == {"db", "migrate", "web", "test"}
    assert [*services["db"]["networks"]] == ["database"]
    for name, service in services.items():
        assert service["logging"]["options"]["max-size"], name
    for name in ("db", "web", "nginx", "address"):
        status = stack.compose("exec", "-T", name, "cat", "/proc/1/status")
        assert "NoNewPrivs:\t1" in status, name
        allowed = int(re.search(r"CapPrm:\s+(\w+)", status)[1], 16)
        assert allowed == (0xC3 if name == "nginx" else 0), (
            name
        )  # CHOWN, DAC_OVERRIDE, SETGID, SETUID


def test_data_survives_down_and_up(stack):
    body = b'{"dateOfBirth": "1990-05-17"}'
    assert request("PUT", stack.url("/hello/Jane"), body)[0] == 204
    stack.compose("down", "--timeout", "10")
    stack.compose("up", "--wait")
    assert request("GET", stack.url("/hello/Jane"))[0] == 200


def test_no_acknowledged_put_is_lost_when_containers_are_restarted_or_killed(stack, load):
    """Nor is there a wrong response. While the database restarts, the application answers all the time."""
    with load:
        load.wait_for_more(204)
        stack.compose("restart", "db")
        load.wait_for_more(204)
        assert load.total(NO_ANSWER) == 0
        for service in ("db", "web"):
            failed = load.total(NO_ANSWER, *OUTAGES)
            docker("kill", stack.container(service))
            load.wait_for(lambda before=failed: load.total(NO_ANSWER, *OUTAGES) > before)
            stack.compose("up", "--wait", "--no-build")
            load.wait_for_more(204)
    nothing_was_lost(stack, load)


def test_the_suite_runs_in_a_container(stack):
    """By the command of its image, against the database of the stack; here of the suite only a part."""
    few = "PYTEST_ADDOPTS=tests/web/test_storage.py"
    printed = stack.compose(
        "--profile", "test", "run", "--rm", "--build", "--env", few, "test", timeout=1800
    )
    docker("image", "rm", f"{stack.project}-test")  # `down` leaves it, as it has no container
    assert re.search(r"\d+ passed", printed)
