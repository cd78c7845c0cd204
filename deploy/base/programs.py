"""Programs on this machine: docker, git, make and eb."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.base import signals
from deploy.base.changes import Changes
from deploy.base.errors import Failure
from deploy.base.settings import ROOT

GRACE = 5  # seconds for a program to end once it was asked to
INSTALL = {"eb": "make .venv/installed"}


class Tools:
    """Runs programs in the checkout. Their output is for people, and goes to standard error."""

    def __init__(self, changes: Changes, root: Path = ROOT) -> None:
        self._changes, self._root = changes, root

    def require(self, *names: str) -> None:
        """Raises Failure if one of the programs is not installed."""
        for name in names:
            if _find(name) is None:
                raise Failure(
                    f"{name!r} is not installed",
                    next=INSTALL.get(name, f"install {name}"),
                )

    def ask(self, *command: str, timeout: float = 60) -> str:
        """The output of a program, without the final newline.

        Raises Failure with its error message.
        """
        code, output, reason = self.try_to_ask(*command, timeout=timeout)
        if code:
            raise Failure(
                f"`{shlex.join(command)}` failed: {reason or f'exit code {code}'}",
                next="see the reason above",
            )
        return output

    def try_to_ask(self, *command: str, timeout: float = 60) -> tuple[int, str, str]:
        """Exit code, output and error messages of a program. Raises Failure if it does not end."""
        try:
            ended = subprocess.run(
                _resolved(command),
                cwd=self._root,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(
                f"`{shlex.join(command)}` did not end within {timeout:.0f} s",
                next="run it by hand to see why",
            ) from error
        output, reason = (part.decode(errors="replace") for part in (ended.stdout, ended.stderr))
        return ended.returncode, output.removesuffix("\n"), reason.strip()

    def change(
        self,
        *command: str,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """The exit code of a program that changes something; 0 in a dry run, which only shows it.

        124 if it did not end within ``timeout`` seconds.
        """
        return self._changes.make(
            shlex.join(command), lambda: self._run(command, timeout, env or {}), 0
        )

    def _run(self, command: Sequence[str], timeout: float | None, env: Mapping[str, str]) -> int:
        sys.stderr.flush()
        process = None
        try:
            with signals.deferred():  # else a program just started would outlive this one
                process = subprocess.Popen(
                    _resolved(command),
                    cwd=self._root,
                    env=os.environ | dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=2,
                )
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return 124
        finally:  # whatever ends the wait, including a signal to this process
            if process:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _find(name: str) -> str | None:
    # Beside the Python that runs this, where `make .venv/installed` puts it
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def _resolved(command: Sequence[str]) -> list[str]:
    return [_find(command[0]) or command[0], *command[1:]]
