"""``make run`` as people use it: twice, with Ctrl-C, and where it cannot start."""

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import make_url

import tools.run
from tests.support.server import TIMEOUT, free_port, wait_until
from tools.postgres import UNPRIVILEGED
from web import storage

PROJECT = Path.cwd()
BODY = b'{"dateOfBirth": "1990-05-17"}'
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AS_ROOT = os.geteuid() == 0
# A database that is named would be served
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name != "DATABASE_URL" and not name.startswith("RDS_")
} | {"PGHOSTADDR": "192.0.2.1", "PGSERVICE": "nowhere"}  # what libpq would obey


class Run:
    """``python -m tools.run`` in a folder."""

    started: ClassVar = []  # in the test that runs

    def __init__(self, folder, *arguments, port=None, user=None, command=(), **env):
        self.folder = folder
        self.port = port or free_port()
        self.log = folder / f"output {time.monotonic_ns()}"
        as_user = {}
        if user:
            entry = pwd.getpwnam(user)
            as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, sys.executable, "-m", "tools.run", *arguments],
                cwd=folder,
                env=ENVIRONMENT | {"PYTHONPATH": str(PROJECT), "PORT": str(self.port)} | env,
                stdout=log,
                stderr=log,
                **as_user,
            )
        self.started.append(self.process)

    @property
    def output(self):
        return self.log.read_text()

    def wait_until_up(self):
        def is_up():
            assert self.process.poll() is None, f"it ended: {self.output}"
            return "Ctrl-C stops it" in self.output

        wait_until(is_up, self.log)
        return self

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        connection.request(method, path, body)
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.end()

    def end(self):
        return self.process.wait(TIMEOUT)


def serves(run):
    assert run.request("PUT", "/hello/John", BODY)[0] == 204
    assert "Hello, John!" in run.request("GET", "/hello/John")[1]


@pytest.fixture(scope="module")
def folder(home):
    """A folder like a clone, with blanks in its name, where the .env file of Compose is not read."""
    folder = home / "a folder"
    folder.mkdir()
    (folder / ".env").write_text("TIME_ZONE=Mars/Olympus\nLOG_LEVEL=nonsense\n")
    yield folder
    data = folder / ".local/postgres/data"
    if data.is_symlink():
        shutil.rmtree(data.readlink().parent)
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def ended():
    """Ends the runs that a failed test left behind."""
    yield
    while Run.started:
        process = Run.started.pop()
        process.terminate()
        process.wait(TIMEOUT)


@pytest.mark.process
def test_make_run_serves_and_keeps_the_data(folder):
    """First with the server of production, then with that of development."""
    run = Run(folder).wait_until_up()
    assert run.output.lstrip().startswith("Serving on")  # and nothing before the welcome
    assert f"curl http://127.0.0.1:{run.port}/hello/John" in run.output
    serves(run)
    assert run.stop(signal.SIGINT) == 0
    assert run.output.endswith("Stopped.\n")
    assert is_over(run)
    assert {json.loads(line)["logger"] for line in run.output.splitlines() if line[:1] == "{"} == {
        "web.requests"
    }
    again = Run(folder, "--dev").wait_until_up()
    assert again.request("GET", "/hello/John")[0] == 200
    assert again.stop(signal.SIGHUP) == 0  # the terminal was closed
    assert is_over(again)
    assert "Debugger is active" in again.output
    assert '"route": "/hello/<username>"' in again.output
    assert "/hello/John HTTP" not in again.output  # as werkzeug would log it


def is_over(run):
    """Whether the server and PostgreSQL that ``run`` started have both ended."""
    pid_file = run.folder / ".local/postgres/data/postmaster.pid"
    with socket.socket() as probe:
        return bool(probe.connect_ex(("127.0.0.1", run.port))) and not pid_file.exists()


@pytest.mark.process
def test_the_end_of_make_ends_all_processes(folder):
    """Even where it was killed, and could not tell anybody."""
    shell = ["sh", "-c", '"$@"; true', "sh"]  # in the place of make
    run = Run(folder, command=shell).wait_until_up()
    run.process.kill()
    run.end()
    wait_until(lambda: is_over(run), run.log)


@pytest.mark.process
def test_the_end_of_postgresql_ends_make_run(folder):
    run = Run(folder).wait_until_up()
    pid = int((folder / ".local/postgres/data/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    assert run.end() == 1
    assert "PostgreSQL stopped unexpectedly. See .local/postgres/log" in run.output


@pytest.mark.process
def test_an_invalid_configuration_ends_it(tmp_path):
    run = Run(tmp_path, TIME_ZONE="Mars/Olympus")
    assert run.end() == 1
    assert run.output.startswith("make run: wrong configuration: Invalid TIME_ZONE 'Mars/Olympus'")
    assert len(run.output.splitlines()) == 1


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The one line with which a run in an empty folder is refused, here in this process."""
    monkeypatch.setattr(sys, "argv", ["tools.run"])
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(ENVIRONMENT):
        monkeypatch.delenv(name)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def refused(**env):
        for name, value in ({"PORT": str(free_port())} | env).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            tools.run.main()
        assert "\n" not in ended.value.code
        return ended.value.code

    yield refused
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOST", "localhost"), ("THREADS", "1")],
)
def test_an_invalid_configuration_is_reported(refused, tmp_path, name, value):
    assert refused(**{name: value}).startswith(f"make run: wrong configuration: Invalid {name}")
    assert not list(tmp_path.iterdir())


def test_a_second_run_on_the_same_data_is_refused(refused, tmp_path):
    (tmp_path / ".local").mkdir()
    with tools.run._lock():
        line = refused()
    assert "another 'make run' or 'make dev' is using the data in .local/" in line


def test_a_port_in_use_is_reported(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(PORT=str(port))
    assert f"cannot listen on port {port}" in line
    assert f"make run PORT={port + 1}" in line


@pytest.mark.process
def test_a_database_in_the_environment_is_used(tmp_path, env, app, context):
    run = Run(tmp_path, **env).wait_until_up()
    serves(run)
    assert not (tmp_path / ".local").exists()
    assert f"The data is in the database {make_url(env['DATABASE_URL']).database} on " in run.output
    assert run.stop(signal.SIGTERM) == 0
    with app.app_context():
        assert storage.find("John")


@pytest.mark.process
@pytest.mark.skipif(not AS_ROOT, reason="the other tests here ran as an ordinary user")
def test_an_ordinary_user_can_run_it(home):
    entry = pwd.getpwnam(UNPRIVILEGED)
    if not may_run_here(entry):
        pytest.skip(f"{UNPRIVILEGED} may not enter this checkout, or not run its Python")
    folder = home / "ordinary"
    folder.mkdir()
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    run = Run(folder, user=UNPRIVILEGED, HOME=str(folder)).wait_until_up()
    serves(run)
    assert run.stop() == 0
    assert (folder / ".local/postgres/data").stat().st_uid == entry.pw_uid
    shutil.rmtree(folder)


def may_run_here(entry):
    """Whether a user can start the Python of this environment, and import its packages and ours."""
    command = [sys.executable, "-c", "import click, tools"]
    as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    env = {"PYTHONPATH": str(PROJECT)}
    try:
        return not subprocess.run(
            command, cwd="/", env=env, capture_output=True, **as_user
        ).returncode
    except PermissionError:
        return False


def test_the_example_on_the_terminal_is_valid_json():
    body = tools.run.WELCOME.format(url="", data="").split("-d '")[1].split("'")[0]
    assert json.loads(body) == json.loads(BODY)
