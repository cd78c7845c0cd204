"""Serve the application on this machine, with its own PostgreSQL: ``make run``.

Usage: python -m tools.run [--dev]

--dev serves with Flask's development server: it reloads when a file changes, and shows a
debugger in the browser when something fails.
The data is kept under .local/. Settings are environment variables, as for the image; if one of
them names a database, that one is used, and its migrations are up to you.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import click
import flask_migrate
from sqlalchemy.exc import SQLAlchemyError

from tools.postgres import USER, PostgresError, Server, ensure_database
from web import config, create_app

HOME = Path(".local")
STOP_TIMEOUT = 15  # seconds
START_TIMEOUT = 30  # seconds
PAUSE = 0.5  # seconds between two checks at what should be running

WELCOME = """
Serving on {url} - documentation at {url}/docs
Try in another terminal:

  curl -i -X PUT {url}/hello/John -d '{{"dateOfBirth": "1990-05-17"}}'
  curl {url}/hello/John

Ctrl-C stops it. {data}
"""


def main() -> None:
    """Run until Ctrl-C, SIGTERM or the end of the terminal; if it cannot start, says why.

    Exit code 1 also if the web server, PostgreSQL or make ends unexpectedly.
    """
    # shells make background jobs of a script ignore SIGINT
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if sys.stdout.isatty():
            print("Starting PostgreSQL and the web server...", flush=True)
        serve(dev="--dev" in sys.argv[1:])
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("Stopped.", flush=True)
    except config.ConfigError as error:
        raise SystemExit(f"make run: wrong configuration: {error}") from None
    except PostgresError as error:
        raise SystemExit(f"make run: {error}") from None


def serve(*, dev: bool) -> None:
    """Start PostgreSQL, migrate, start the web server, and wait until a signal asks it to stop."""
    env = os.environ | {"FLASK_APP": "web", "FLASK_SKIP_DOTENV": "1"}
    address = _listen_address(env)
    if any(env.get(name) for name in ("DATABASE_URL", "RDS_HOSTNAME")):
        url = config.load(env)["SQLALCHEMY_DATABASE_URI"]
        data = f"The data is in the database {url.database} on {url.host}."
        _run_until_stopped(_command(address, dev=dev), env, address, data, lambda: True)
        return
    config.load(env | {"DATABASE_URL": f"postgresql://here/{USER}"})
    HOME.mkdir(exist_ok=True)
    lock = _lock()
    with Server(HOME / "postgres") as postgres, lock:
        ensure_database(postgres.url("postgres"), USER)
        env["DATABASE_URL"] = postgres.url(USER)
        _migrate(env)
        data = "The data stays in .local/postgres."
        _run_until_stopped(_command(address, dev=dev), env, address, data, postgres.is_running)


def _migrate(env: Mapping[str, str]) -> None:
    """Migrate in this process: another one would take a second to import the application."""
    try:
        with create_app({**env, "LOG_LEVEL": "WARNING"}).app_context():
            flask_migrate.upgrade()
    except (click.ClickException, SQLAlchemyError) as error:
        raise PostgresError(f"the migration failed, and changed nothing: {error}") from error


def _command(address: tuple[str, int], *, dev: bool) -> list[str]:
    host, port = address
    if dev:
        return [
            sys.executable,
            "-m",
            "flask",
            "run",
            "--debug",
            "--host",
            host,
            "--port",
            str(port),
        ]
    return [sys.executable, "-m", "web", "--quiet"]


def _run_until_stopped(
    command: list[str],
    env: Mapping[str, str],
    address: tuple[str, int],
    data: str,
    has_database: Callable[[], bool],
) -> None:
    parent = os.getppid()
    web = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        if _wait_until_up(web, address):
            host, port = address
            host = f"[{host}]" if ":" in host else host
            print(WELCOME.format(url=f"http://{host}:{port}", data=data), flush=True)
        while web.poll() is None and has_database():
            if os.getppid() != parent:
                raise KeyboardInterrupt  # make was killed
            time.sleep(PAUSE)
        if web.returncode is None:
            raise PostgresError("PostgreSQL stopped unexpectedly. See .local/postgres/log for why.")
        raise SystemExit(f"make run: the web server has ended with exit code {web.returncode}.")
    finally:
        if web.poll() is None:
            web.terminate()
            try:
                web.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                web.kill()


def _wait_until_up(web: "subprocess.Popen[bytes]", address: tuple[str, int]) -> bool:
    deadline = time.monotonic() + START_TIMEOUT
    while web.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _lock() -> IO[str]:
    """Lock .local for this run. Raises PostgresError if another run holds it."""
    lock = (HOME / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise PostgresError(
            "another 'make run' or 'make dev' is using the data in .local/. "
            "Stop it first, with Ctrl-C in its terminal."
        ) from None
    return lock


def _listen_address(env: Mapping[str, str]) -> tuple[str, int]:
    """The address to listen on. Raises ConfigError, and PostgresError if it is in use."""
    host = config.read("HOST", env)
    port = config.read("PORT", env)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PostgresError(
                f"cannot listen on port {port} of {host} ({error.strerror}). "
                f"Choose another one, for example: make run PORT={port + 1}"
            ) from None
    return host, port


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
