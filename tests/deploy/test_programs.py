"""External programs: their output, their exit codes, and that none outlives its caller."""

import os
import signal
import subprocess
import sys

import pytest

from deploy.base import signals
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.errors import Failure, Interrupted
from deploy.base.programs import Tools


@pytest.fixture
def tools(tmp_path):
    return Tools(Changes(Console()), tmp_path)


def test_the_output_of_a_program_is_returned(tools):
    assert tools.ask("printf", "a\nb\n\n") == "a\nb\n"


def test_a_program_that_fails_says_why(tools):
    with pytest.raises(Failure, match="`sh -c 'echo no >&2; exit 3'` failed: no"):
        tools.ask("sh", "-c", "echo no >&2; exit 3")
    with pytest.raises(Failure, match="failed: exit code 3"):
        tools.ask("sh", "-c", "exit 3")


def test_a_program_that_does_not_end_is_stopped(tools):
    with pytest.raises(Failure, match="did not end within 0 s"):
        tools.ask("sleep", "60", timeout=0.1)
    assert tools.change("sleep", "60", timeout=0.1) == 124


def test_a_missing_program_is_a_failure(tools):
    with pytest.raises(Failure, match="'no-such-program' is not installed"):
        tools.require("sh", "no-such-program")


def test_output_of_other_programs_goes_to_standard_error(tools, capfd):
    assert tools.change("echo", "progress") == 0
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == "+ echo progress\nprogress\n"


def test_a_dry_run_starts_nothing(tmp_path, capfd):
    tools = Tools(Changes(Console(), dry_run=True), tmp_path)
    assert tools.change("touch", "a file") == 0
    assert not (tmp_path / "a file").exists()
    assert capfd.readouterr().err == "+ touch 'a file'\n"


WAITING = """
import sys
from pathlib import Path
from deploy.base import signals
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.errors import Interrupted
from deploy.base.programs import Tools

signals.install()
tools = Tools(Changes(Console()), Path())
try:
    tools.change("sh", "-c", "echo $$; exec sleep 60")
except Interrupted:
    print("interrupted")
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_as_well(number):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr.readline().startswith("+ ")
    child = int(process.stderr.readline())
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_waits_while_a_lock_is_released(handlers):
    signals.install()
    done = []

    def give_back():
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("given back")
        done.append("never")

    with pytest.raises(Interrupted):
        give_back()
    assert done == ["given back"]


def test_signals_after_the_first_are_ignored(handlers):
    signals.install()
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
