"""The service into which faults are injected."""

import os
import signal
import subprocess
import sys
import time

import psycopg2

from tests.support.load import Load
from tests.support.server import find_workers, free_port
from tools.postgres import Server, ensure_database


class Service:
    """PostgreSQL and the server, as `make run` starts them."""

    def __init__(self, home):
        self.home = home
        self.database = Server(home / "postgres")
        self.port = free_port()
        self.web = None

    def start(self, **options):
        """Start both, and migrate the database. ``options`` are passed to start_web()."""
        self.database.start()
        ensure_database(self.database.url("postgres"), "faults_test")
        flask = [sys.executable, "-m", "flask", "--app", "web", "db", "upgrade"]
        subprocess.run(flask, env=self.env() | {"LOG_LEVEL": "ERROR"}, check=True)
        self.start_web(**options)
        return self

    def env(self):
        return os.environ | {"DATABASE_URL": self.url, "PORT": str(self.port)}

    @property
    def url(self):
        return self.database.url("faults_test")

    def start_web(self, output=None, name=None, configuration=None, **env):
        """Start the server, with its log in ``output``, and wait until it is ready.

        With ``name`` for the database's host, the server looks it up by ``configuration``, which is
        put in the place of /etc/resolv.conf; it is only waited for until it is alive.
        """
        command = [sys.executable, "-m", "web"]
        if name:
            env |= {"DATABASE_URL": self.url.replace("127.0.0.1", name)}
            mount = f'mount --bind {configuration} /etc/resolv.conf && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", mount, "sh", *command]
        with (self.home / "output").open("ab") as log:
            self.web = subprocess.Popen(
                command,
                env=self.env() | env,
                stdout=log if output is None else output,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not (self.is_alive() if name else self.is_ready()):
            assert self.web.poll() is None, (self.home / "output").read_text()
            assert time.monotonic() < deadline, (self.home / "output").read_text()
            time.sleep(0.05)

    def is_alive(self):
        return Load("127.0.0.1", self.port).ask("GET", "/livez")[0] == 200

    def is_ready(self):
        return Load("127.0.0.1", self.port).ask("GET", "/readyz")[0] == 200

    def workers(self):
        return find_workers(self.web.pid)

    def signal_database(self, number):
        """Send a signal to all processes of PostgreSQL."""
        for process in self.database.process_ids():
            os.kill(process, number)

    def connect(self):
        """A database session of another client, with autocommit."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        return connection

    def stored(self):
        """The date of birth of each name."""
        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT username, date_of_birth FROM person")
            rows = dict(cursor.fetchall())
        connection.close()
        return rows

    def stop(self):
        if self.web and self.web.poll() is None:
            self.web.send_signal(signal.SIGTERM)
            self.web.wait(30)
        self.database.destroy()
