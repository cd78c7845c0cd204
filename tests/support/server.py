"""The production server and ``flask`` in processes of their own, and applications that misbehave.

The processes are forked from one that has imported the application, because the imports take most
of the time that ``python -m web`` needs to start.
"""

import http.client
import multiprocessing
import os
import re
import runpy
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NoReturn

import psutil
from flask.cli import cli

from web import create_app
from web.__main__ import main
from web.deadman import DeadMan

Env = Mapping[str, str]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["web.__main__", __name__])
TIMEOUT = 120  # seconds; only what never happens takes so long


class Web:
    """A running server; ``changes`` are arguments of its main function."""

    def __init__(self, env: Env, folder: Path, **changes: Any) -> None:
        self.port = free_port()
        self.output = folder / "output"
        self.output.touch()
        env = os.environ | env | {"PORT": str(self.port)}
        # how this Python starts workers by default, or they would be started as their server is
        method = multiprocessing.get_start_method()
        self.process = PROCESSES.Process(target=_serve, args=(env, self.output, method, changes))
        self.process.start()

    def wait_until_up(self) -> None:
        def is_up() -> bool:
            assert self.process.is_alive(), self.output.read_text()
            with suppress(OSError):
                return self.request("GET", "/livez")[0] == 200
            return False

        wait_until(is_up, self.output)

    def request(
        self, method: str, path: str, body: Any = None, headers: Env | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def raw(self, request: bytes) -> bytes:
        """The answer to something that need not be HTTP; nothing where it just hung up."""
        with self.connect() as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                return read(connection)
            except OSError:
                return b""

    def workers(self) -> list[psutil.Process]:
        return find_workers(self.process.pid)

    def replace(self, worker: psutil.Process) -> None:
        """Kill a worker, and wait for the next one."""
        before = self.workers()
        worker.kill()
        wait_until(
            lambda: len(self.workers()) == len(before) and worker not in self.workers(), self.output
        )
        self.wait_until_up()

    def stop(self) -> int | None:
        """Ask it to stop; its exit code."""
        self.process.terminate()
        return self.end()

    def end(self) -> int | None:
        """Its exit code, once it has ended."""
        self.process.join(TIMEOUT)
        assert not self.process.is_alive(), self.output.read_text()
        return self.process.exitcode


@contextmanager
def serving(env: Env, folder: Path, **changes: Any) -> Iterator[Web]:
    """A server that is up, and is killed afterwards if the test has not stopped it."""
    server = Web(env, folder, **changes)
    try:
        server.wait_until_up()
        yield server
        if server.process.is_alive():
            server.stop()
    finally:
        server.process.kill()
        server.process.join()


def wait_until(condition: Callable[[], object], awaited: str | Path, pause: float = 0.02) -> None:
    """Wait for a condition; ``awaited`` is what to show if it never becomes true, text or a file."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        shown = awaited if isinstance(awaited, str) else awaited.read_text()
        assert time.monotonic() < deadline, shown
        time.sleep(pause)


def find_workers(server: int | None) -> list[psutil.Process]:
    """The worker processes of a server, given by its process id, that are alive."""
    found = []
    for child in psutil.Process(server).children():
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if not has_ended(child) and "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


def has_ended(process: psutil.Process) -> bool:
    """Whether it has, be it that nobody has asked for its exit code yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def read(connection: socket.socket) -> bytes:
    """All that arrives until the other side closes the connection."""
    with connection.makefile("rb") as answer:
        return answer.read()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_flask(env: Env, output: Path, *arguments: str) -> ForkServerProcess:
    """A process that runs a command of ``flask``; its output goes to a file."""
    process = PROCESSES.Process(target=_flask, args=(os.environ | env, output, arguments))
    process.start()
    return process


def _flask(env: Env, output: Path, arguments: Sequence[str]) -> None:
    _become(env, output)
    cli.main(["--app", "web", *arguments])


def _serve(env: Env, output: Path, method: str, changes: dict[str, Any]) -> None:
    multiprocessing.set_start_method(method, force=True)
    _become(env, output)
    sys.argv = ["web"]
    if changes:
        main(**changes)
    else:
        del sys.modules["web.__main__"]  # runpy warns of a module that was imported before it runs
        runpy.run_module("web", run_name="__main__", alter_sys=True)


def _become(env: Env, output: Path) -> None:
    os.environ.clear()
    os.environ.update(env)
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


# --- Applications that a server can load in place of its own --------------------------------------


def load_hanging() -> DeadMan:
    """With paths that hang, and a worker that ends after a second without progress."""
    app = create_app()
    app.add_url_rule("/hang", view_func=hang)
    app.add_url_rule("/hang-with-the-lock", view_func=hang_with_the_lock)
    return DeadMan(app, app.config["SERVER"]["threads"], limit=1, look=0.1)


def hang() -> str:
    time.sleep(3600)
    return "it did not hang"


def hang_with_the_lock() -> str:
    """Keep the interpreter's lock, so that no other thread runs."""
    return str(re.match("(a+)+$", "a" * 60 + "b"))


def load_failing() -> DeadMan:
    """With a path that fails."""
    app = create_app()
    app.add_url_rule("/fail/<name>", view_func=fail)
    return DeadMan(app, app.config["SERVER"]["threads"])


def fail(name: str) -> NoReturn:
    raise RuntimeError(name)
