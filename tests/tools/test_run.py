"""``make run`` as people use it: in folders of all kinds, twice, with Ctrl-C."""

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

import psutil
import pytest
from sqlalchemy import make_url

from tools.postgres import UNPRIVILEGED
from web import storage

PROJECT = Path.cwd()
BODY = b'{"dateOfBirth": "1990-05-17"}'
AS_ROOT = os.geteuid() == 0
# A database that is named would be served
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name != "DATABASE_URL" and not name.startswith("RDS_")
}


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
        deadline = time.monotonic() + 60
        while "Ctrl-C stops it" not in self.output:
            assert self.process.poll() is None, f"it ended: {self.output}"
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return self

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body)
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.end()

    def end(self):
        return self.process.wait(60)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serves(run):
    assert run.request("PUT", "/hello/John", BODY)[0] == 204
    assert "Hello, John!" in run.request("GET", "/hello/John")[1]


@pytest.fixture
def folder(home):
    """A folder like a clone, with blanks in its name, which is removed afterwards."""
    folder = home / f"a folder {time.monotonic_ns()}"
    folder.mkdir()
    yield folder
    while Run.started:  # those that a failed test left behind
        process = Run.started.pop()
        process.terminate()
        process.wait(60)
    data = folder / ".local/postgres/data"
    if data.is_symlink():
        shutil.rmtree(data.readlink().parent)
    shutil.rmtree(folder)


def test_it_serves_and_keeps_the_data(folder):
    run = Run(folder).wait_until_up()
    serves(run)
    assert f"curl http://127.0.0.1:{run.port}/hello/John" in run.output
    assert run.stop() == 0
    assert run.output.endswith("Stopped.\n")
    assert not (folder / ".local/postgres/data/postmaster.pid").exists()
    again = Run(folder).wait_until_up()
    assert again.request("GET", "/hello/John")[0] == 200
    assert again.stop(signal.SIGTERM) == 0


def test_nothing_is_printed_before_the_welcome(folder):
    run = Run(folder).wait_until_up()
    assert run.output.lstrip().startswith("Serving on")
    serves(run)
    assert run.stop() == 0
    assert {json.loads(line)["logger"] for line in run.output.splitlines() if line[:1] == "{"} == {
        "web.requests"
    }


def is_over(run, timeout=30):
    """Whether the server and PostgreSQL that ``run`` started have both ended."""
    deadline = time.monotonic() + timeout
    pid_file = run.folder / ".local/postgres/data/postmaster.pid"
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", run.port)) and not pid_file.exists():
                return True
        time.sleep(0.1)
    return False


def test_closing_the_terminal_ends_all_processes(folder):
    run = Run(folder).wait_until_up()
    assert run.stop(signal.SIGHUP) == 0
    assert is_over(run, timeout=0.5)


def test_the_end_of_make_ends_all_processes(folder):
    """Even where it was killed, and could not tell anybody."""
    shell = ["sh", "-c", '"$@"; true', "sh"]  # in the place of make
    run = Run(folder, command=shell).wait_until_up()
    run.process.kill()
    run.end()
    assert is_over(run)


def test_a_postgresql_that_ends_is_noticed(folder):
    run = Run(folder).wait_until_up()
    pid = int((folder / ".local/postgres/data/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    assert run.end() == 1
    assert "PostgreSQL has ended unexpectedly. See .local/postgres/log" in run.output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIME_ZONE", "Mars/Olympus"),
        ("HOST", "localhost"),
        ("THREADS", "1"),
        ("DATABASE_POOL_SIZE", "9"),
    ],
)
def test_an_invalid_configuration_is_reported(folder, name, value):
    run = Run(folder, **{name: value})
    assert run.end() == 1
    assert run.output.startswith(f"make run: wrong configuration: Invalid {name}")
    assert len(run.output.splitlines()) == 1


def test_a_database_in_the_environment_is_used(folder, env, app, context):
    run = Run(folder, **env).wait_until_up()
    serves(run)
    assert not (folder / ".local").exists()
    assert f"The data is in the database {make_url(env['DATABASE_URL']).database} on " in run.output
    assert run.stop() == 0
    with app.app_context():
        assert storage.find("John")


def test_the_env_file_of_compose_is_not_read(folder):
    (folder / ".env").write_text("TIME_ZONE=Mars/Olympus\nLOG_LEVEL=nonsense\n")
    for arguments in ([], ["--dev"]):
        run = Run(folder, *arguments).wait_until_up()
        serves(run)
        run.stop()


def test_a_second_run_on_the_same_data_is_refused(folder):
    first = Run(folder).wait_until_up()
    second = Run(folder)
    assert second.end() == 1
    assert "another 'make run' or 'make dev' is using the data in .local/" in second.output
    assert "Traceback" not in second.output
    assert first.request("GET", "/readyz")[0] == 200
    first.stop()


def test_a_server_left_running_is_reported(folder):
    run = Run(folder).wait_until_up()
    left = psutil.Process(
        int((folder / ".local/postgres/data/postmaster.pid").read_text().split()[0])
    )
    web = [child for child in psutil.Process(run.process.pid).children() if child != left]
    run.process.kill()
    run.end()
    again = Run(folder)
    assert again.end() == 1
    assert f"stop it with: kill -INT {left.pid}" in again.output
    for process in web:
        process.terminate()
    left.send_signal(signal.SIGINT)
    psutil.wait_procs([*web, left], timeout=20)
    assert Run(folder).wait_until_up().stop() == 0


def test_a_port_in_use_is_reported(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = Run(folder, port=port)
        assert run.end() == 1
    assert f"cannot listen on port {port}" in run.output
    assert f"make run PORT={port + 1}" in run.output
    assert "Traceback" not in run.output


def test_an_invalid_variable_is_reported_in_one_line(folder):
    run = Run(folder, TIME_ZONE="Mars")
    assert run.end() == 1
    assert "Invalid TIME_ZONE 'Mars'" in run.output
    assert "Traceback" not in run.output


def test_development_reloads_and_logs_no_names(folder):
    run = Run(folder, "--dev").wait_until_up()
    serves(run)
    run.stop()
    assert "Debugger is active" in run.output
    assert '"route": "/hello/<username>"' in run.output
    assert "/hello/John HTTP" not in run.output  # as werkzeug would log it


@pytest.mark.skipif(not AS_ROOT, reason="only root can close a folder to others and enter it")
def test_below_a_folder_that_only_root_may_enter(folder):
    private = folder / "private"
    (private / "clone").mkdir(parents=True)
    private.chmod(0o700)
    run = Run(private / "clone").wait_until_up()
    serves(run)
    run.stop()
    again = Run(private / "clone").wait_until_up()
    assert again.request("GET", "/hello/John")[0] == 200
    again.stop()
    assert private.stat().st_mode & 0o777 == 0o700
    data = private / "clone/.local/postgres/data"
    assert (data / "PG_VERSION").exists()
    shutil.rmtree(data.readlink().parent)


@pytest.mark.skipif(not AS_ROOT, reason="the other tests here ran as an ordinary user")
def test_as_an_ordinary_user(folder):
    entry = pwd.getpwnam(UNPRIVILEGED)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    if not may_run_here(entry):
        pytest.skip(f"{UNPRIVILEGED} may not enter this checkout, or not run its Python")
    run = Run(folder, user=UNPRIVILEGED, HOME=str(folder)).wait_until_up()
    serves(run)
    assert run.stop() == 0
    assert (folder / ".local/postgres/data").stat().st_uid == entry.pw_uid


def may_run_here(entry):
    try:
        return not subprocess.run(
            [sys.executable, "-c", "import tools.run"],
            cwd="/", env={"PYTHONPATH": str(PROJECT)}, capture_output=True,
            user=entry.pw_uid, group=entry.pw_gid, extra_groups=[],
        ).returncode  # fmt: skip
    except PermissionError:
        return False


def test_the_greeting_of_the_terminal_is_json_that_works():
    from tools.run import WELCOME

    body = WELCOME.format(url="", data="").split("-d '")[1].split("'")[0]
    assert json.loads(body) == json.loads(BODY)
