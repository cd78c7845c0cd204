"""The stack of docker-compose.yml: up, in trouble, and down."""

import json
import os
import re
import secrets
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.docker.conftest import docker, request, wait_for

NAMES = [f"Name{first}{second}" for first in "ABCDEFGHIJ" for second in "ABCDEFGHIJ"]


class Stack:
    """The running stack."""

    def __init__(self):
        self.project = f"birthday-{secrets.token_hex(4)}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.env = os.environ | {"PORT": str(self.port), "APP_VERSION": "under-test"}

    def compose(self, *arguments, check=True, timeout=600):
        command = ["docker", "compose", "--project-name", self.project, *arguments]
        ended = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=timeout
        )
        assert not check or ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def container(self, service):
        return self.compose("ps", "--all", "--quiet", service).strip()


@pytest.fixture(scope="module")
def stack(image):
    stack = Stack()
    try:
        stack.compose("up", "--build", "--wait")
        yield stack
    finally:
        stack.compose("--profile", "test", "down", "--volumes", "--timeout", "2")
        docker("image", "rm", "birthday-greetings-test", check=False)


class Load:
    """Four clients that save and greet without a pause, and check every answer.

    Each name belongs to one client, which therefore knows what it must read. While the
    database or the server is away, 503, 504 and no answer at all are right; a wrong one never is.
    """

    def __init__(self, stack):
        self.stack = stack
        self.counts = {}
        self.wrong = []
        self.saved = {}  # by name: the dates that may be there; one, if the last PUT was answered
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(NAMES[client::4],)) for client in range(4)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        print(f"\nanswers under load: {self.counts}")  # noqa: T201  # shown by make test-docker

    def _work(self, names):
        turn = 0
        while not self._stop.is_set():
            name, turn = names[turn % len(names)], turn + 1
            self._put(name, f"19{turn % 100:02}-03-04")
            self._get(name)

    def _put(self, name, born):
        status, text = request(
            "PUT", self.stack.url(f"/hello/{name}"), json.dumps({"dateOfBirth": born}).encode()
        )
        self._count("PUT", status, text, {204, 503, 504, 0})
        self.saved[name] = {born} if status == 204 else self.saved.get(name, set()) | {born}

    def _get(self, name):
        status, text = request("GET", self.stack.url(f"/hello/{name}"))
        self._count(
            "GET",
            status,
            text,
            {200, 503, 504, 0} | ({404} if len(self.saved[name]) > 1 else set()),
        )
        if status == 200 and not re.search(rf"Hello, {name}! ", text):
            self.wrong.append(text)

    def _count(self, method, status, text, allowed):
        key = f"{method} {status}"
        self.counts[key] = self.counts.get(key, 0) + 1
        if status not in allowed:
            self.wrong.append(f"{key}: {text}")


def nothing_was_lost(stack, load):
    rows = stack.compose(
        "exec",
        "-T",
        "db",
        "psql",
        "-U",
        "birthday",
        "-Atc",
        "SELECT username, date_of_birth FROM person",
    )
    stored = dict(line.split("|") for line in rows.split())
    acknowledged = {name: born for name, born in load.saved.items() if len(born) == 1}
    assert acknowledged
    lost = {name for name, born in acknowledged.items() if stored.get(name) not in born}
    assert not lost
    assert not load.wrong


def test_up_to_a_greeting(stack):
    body = b'{"dateOfBirth": "1990-05-17"}'
    assert request("PUT", stack.url("/hello/John"), body)[0] == 204
    assert "Hello, John!" in request("GET", stack.url("/hello/John"))[1]
    assert json.loads(request("GET", stack.url("/livez"))[1])["version"] == "under-test"


def test_no_port_of_the_database_is_published(stack):
    assert docker("port", stack.container("db")).stdout == ""


def ask_as_from_outside(stack, path, method="GET", body=None):
    """Status, media type and Retry-After of a request that came through a load balancer."""
    headers = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    asked = urllib.request.Request(stack.url(path), body, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as response:
            return response.status, response.headers.get_content_type(), None
    except urllib.error.HTTPError as error:
        with error:
            kind = error.headers.get_content_type()
            return error.code, kind, error.headers["Retry-After"]


def test_nginx_closes_operators_paths_to_the_outside_world(stack):
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
def test_what_is_wrong_is_answered_the_same_way_through_nginx(stack, method, path, body, status):
    answer = ask_as_from_outside(stack, path, method, body)
    assert answer[:2] == (status, "application/problem+json")


def test_one_address_gets_so_much_and_no_more(stack):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask_as_from_outside(stack, "/livez"), range(900)))
    counted = Counter(answers)
    assert counted[200, "application/json", None] >= 200
    assert counted[429, "application/problem+json", "1"] > 0
    assert sum(counted.values()) == 900
    assert len(counted) == 2


def test_nginx_logs_routes_and_no_names(stack):
    request("GET", stack.url("/hello/Someone"))
    log = stack.compose("logs", "--no-log-prefix", "nginx")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {"/hello/<username>", "/livez"} <= {line["route"] for line in lines}
    assert "Someone" not in log


def test_down_and_up_again_keeps_the_data(stack):
    body = b'{"dateOfBirth": "1990-05-17"}'
    assert request("PUT", stack.url("/hello/Jane"), body)[0] == 204
    stack.compose("down", "--timeout", "10")
    stack.compose("up", "--wait")
    assert request("GET", stack.url("/hello/Jane"))[0] == 200


def test_a_restart_of_the_database_under_load_gives_no_wrong_answer(stack):
    with Load(stack) as load:
        time.sleep(3)
        stack.compose("restart", "db")
        wait_for(stack.url("/readyz"))
        time.sleep(3)
        before = dict(load.counts)
        time.sleep(2)
        assert load.counts["PUT 204"] > before["PUT 204"]
    nothing_was_lost(stack, load)
    assert not any(key.endswith(" 0") for key in load.counts)  # web answered all the time


@pytest.mark.parametrize("service", ["db", "web"])
def test_no_acknowledged_put_is_lost_when_something_is_killed(stack, service):
    with Load(stack) as load:
        time.sleep(3)
        docker("kill", stack.container(service))
        time.sleep(1)
        stack.compose("up", "--wait", "--no-build")
        wait_for(stack.url("/readyz"))
        time.sleep(2)
    nothing_was_lost(stack, load)


def test_the_suite_runs_in_a_container(stack):
    """All but the tests of the image, against the database of the stack."""
    stack.compose("--profile", "test", "run", "--rm", "--build", "test", timeout=900)
