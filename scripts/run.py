"""Serve the application on this machine, with a PostgreSQL of its own: ``make run``.

Usage: python -m scripts.run [--dev]

--dev serves with Flask's development server: it reloads when a file changes, and shows a
debugger in the browser when something fails.
The data is kept under .local/. PORT=... in the environment chooses another port than 8000.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from scripts.postgres import PostgresError, Server, ensure_database
from web import config

HOME = Path(".local")
DATABASE = "birthday"
STOP_TIMEOUT = 15  # seconds
START_TIMEOUT = 30  # seconds

WELCOME = """
Serving on {url} - documentation at {url}/docs
Try in another terminal:

  curl -i -X PUT {url}/hello/John -d '{{"dateOfBirth": "1990-05-17"}}'
  curl {url}/hello/John

Ctrl-C stops it. The data stays in .local/postgres.
"""


def main() -> None:
    """Run until Ctrl-C or SIGTERM; exits with a sentence when something is in the way."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # SIGINT is ignored in the background of a script
        signal.signal(number, _interrupt)
    try:
        serve(dev="--dev" in sys.argv[1:])
    except KeyboardInterrupt:
        print("Stopped.")
    except (PostgresError, config.ConfigError) as error:
        raise SystemExit(f"make run: {error}") from None


def serve(*, dev: bool) -> None:
    """Start PostgreSQL, migrate, start the web server, and wait until one is told to stop."""
    HOME.mkdir(exist_ok=True)
    lock = _lock()
    host, port = _listen_address(os.environ)
    with Server(HOME / "postgres") as postgres, lock:
        ensure_database(postgres.url("postgres"), DATABASE)
        env = os.environ | {"DATABASE_URL": postgres.url(DATABASE), "FLASK_APP": "web"}
        flask = [sys.executable, "-m", "flask"]
        quiet = env | {"LOG_LEVEL": "WARNING"}
        if subprocess.run([*flask, "db", "upgrade"], env=quiet).returncode:
            raise PostgresError("the migration failed; the reason is above. Nothing was changed.")
        command = [sys.executable, "-m", "web"]
        if dev:
            command = [*flask, "run", "--debug", "--host", host, "--port", str(port)]
        _run_until_stopped(command, env, (host, port))


def _run_until_stopped(
    command: list[str], env: Mapping[str, str], address: tuple[str, int]
) -> None:
    web = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        if _wait_until_up(web, address):
            host, port = address
            print(WELCOME.format(url=f"http://{host}:{port}"), flush=True)
        status = web.wait()
        raise SystemExit(f"make run: the web server has ended with exit code {status}.")
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
    """Hold .local for this run alone. Raises PostgresError where another run has it."""
    lock = (HOME / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PostgresError(
            "another 'make run' or 'make dev' is using the data in .local/. "
            "Stop it first, with Ctrl-C in its terminal."
        ) from None
    return lock


def _listen_address(env: Mapping[str, str]) -> tuple[str, int]:
    """Where to listen. Raises ConfigError, and PostgresError where something listens already."""
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
