"""`make cloud`: AWS on loopback for a person, from the first line to Ctrl-C."""

import re
import shlex
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.rehearsal.machines.docker import docker
from tests.rehearsal.project import SCRIPT
from tests.rehearsal.waiting import limit, wait_for
from tests.support.aws import APPLICATION


class Terminal:
    """The terminal in which a person has started `make cloud`, and types commands."""

    def __init__(self, folder, env):
        self.process = subprocess.Popen(
            [".venv/bin/python", "-u", "-m", "tests.rehearsal"],
            cwd=folder,
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def shows(self, pattern):
        """Wait for a line that matches."""

        def find():
            found = next(filter(None, (re.search(pattern, one) for one in list(self.lines))), None)
            assert found or self._reader.is_alive(), self.lines
            return found

        return wait_for(find, 600, lambda: self.lines)

    def type(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def _read(self):
        for line in self.process.stdout:  # each as it comes
            self.lines.append(line.rstrip())


@pytest.fixture
def terminal(world):
    terminal = Terminal(world.project.folder, world.project.environment)
    yield terminal
    with terminal.process as process:  # which closes what it was connected with
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(limit(300))


def containers(process):
    """What it has started."""
    label = f"label={APPLICATION}.rehearsal={process.pid}"
    return docker("ps", "--all", "--quiet", "--filter", label).stdout.split()


def test_make_cloud_follows_the_documents_and_can_be_interrupted(world, terminal):
    folder = Path(shlex.split(terminal.shows(r"^  cd (.*?)  +#")[1])[0])
    env = shlex.split(terminal.shows(r"^  source (.*)")[1])[0]

    def script(*arguments):
        command = f"source {shlex.quote(env)} && {SCRIPT} {shlex.join(arguments)}"
        return subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            text=True,
            timeout=limit(900),
            env=world.project.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    assert script("status").stdout == "there is no environment in eu-west-1\n"

    second = subprocess.run(
        [".venv/bin/python", "-m", "tests.rehearsal"],
        cwd=world.project.folder,
        env=world.project.environment,
        capture_output=True,
        text=True,
        timeout=limit(300),
    )
    assert second.returncode == 1
    assert f"already running as process {terminal.process.pid}" in second.stderr

    terminal.type("approve")
    terminal.shows("nothing waits for approval")
    terminal.type("wish")
    terminal.shows("there is no 'wish'")
    terminal.type("night")
    terminal.shows("no nightly backups are installed")

    created = script("create", "staging")
    assert created.returncode == 0, created.stdout
    registry = re.search(r"--tag (127\.0\.0\.1:\d+)/", created.stdout)[1]
    url = terminal.shows(rf"{APPLICATION}-staging answers at http://\S+localhost:(\d+)/docs")
    assert f"127.0.0.1:{url[1]}" in script("status").stdout
    assert '"logger": "web.requests"' in script("logs", "staging").stdout
    assert "NO MESSAGES" in script("status").stdout
    terminal.type("confirm")
    terminal.shows("each address gets its messages")
    assert "NO MESSAGES" not in script("status").stdout
    terminal.type("lose eu-west-1")
    terminal.shows("eu-west-1 is down")
    lost = script("status", "staging")
    assert lost.returncode == 1
    assert "did not answer elasticbeanstalk:DescribeEnvironments" in lost.stdout
    terminal.type("return eu-west-1")
    terminal.shows("eu-west-1 is back")
    assert script("status", "staging").returncode == 0
    assert containers(terminal.process)
    assert not [line for line in terminal.lines if '"POST / HTTP' in line]

    command = f"source {shlex.quote(env)} && exec {SCRIPT} create prod"
    deploying = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=world.project.environment,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: "prod" in script("status").stdout)
    terminal.type("lose eu-north-1")
    terminal.shows("eu-north-1 is down")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(limit(300)) == 0
    terminal.shows("everything is removed")
    deploying.send_signal(signal.SIGINT)  # it would go on asking AWS for ten minutes
    assert deploying.wait(limit(300))
    assert not containers(terminal.process)
    assert not folder.exists()
    assert registry not in docker("images", "--format", "{{.Repository}}").stdout
    assert not Path(env).exists()
