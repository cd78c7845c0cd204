"""Connections to PostgreSQL: opened, set up, and with a time limit on every wait."""

import math
import os
import re
import select
import socket
import struct
import time
from typing import Any, cast

import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import connection, cursor
from sqlalchemy import URL

from web import outage

ANSWER_TIMEOUT = 3  # seconds for all that a request does with the database, login included
LOGIN_TIMEOUT = 5  # seconds for a login outside of requests, unless it has a connect_timeout
STATEMENT_TIMEOUT = 2  # seconds until PostgreSQL cancels a statement whose client may have left
LOCK_TIMEOUT = 0.2  # seconds that a statement waits for a row which another session has locked

# What a session must not take from the settings of its role, its database or its server, because it
# would change an answer
SETTINGS = {
    "datestyle": "ISO",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "role": "none",
    "search_path": "public",
    "standard_conforming_strings": "on",
    "synchronous_commit": "on",
}

_REFUSED = "password authentication failed"  # a refused login has no SQLSTATE, only a message
_LOOK = "SELECT extract(epoch FROM clock_timestamp())::float, current_setting('server_encoding')"


class Overdue(psycopg2.OperationalError):
    """PostgreSQL did not answer in time. The message names the step that took too long."""


class Cursor(cursor):
    """A cursor that waits longer for a table, which a migration has locked, than for a row."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  # psycopg2's names
        """Execute a statement, again while its table is locked, for STATEMENT_TIMEOUT at most.

        In a transaction it is not repeated. Raises psycopg2.Error.
        """
        until = 0.0
        while True:
            try:
                return super().execute(query, vars)
            except psycopg2.errors.LockNotAvailable as error:
                now = time.monotonic()
                until = until or now + STATEMENT_TIMEOUT
                if not is_for_table(error) or not self.connection.autocommit or now > until:
                    raise


class Connection(connection):
    """A connection of the pool. Outside of requests, each of its waits has a limit of its own."""

    clock = 0.0  # the server's clock minus time.monotonic(), seconds; at most that
    until: float | None = None  # the deadline of its request, by time.monotonic()


class Login:
    """Opens connections to the database of ``url``; calling it returns a new one.

    ``next_password`` is tried if the password of ``url`` is refused. While the database's
    password is changed, every process knows both, so they need not switch at the same moment.
    """

    def __init__(self, url: URL, next_password: str = "", **options: Any) -> None:
        _, arguments = url.get_dialect()().create_connect_args(url)
        self._arguments = {**arguments, **options, "client_encoding": "utf8"}
        self._passwords = [self._arguments.pop("password", None)]
        if next_password:
            self._passwords.append(next_password)

    def __call__(self) -> connection:
        """A new connection; the password that was accepted is tried first from then on.

        Raises psycopg2.Error, and UnicodeDecodeError where the server's message is not UTF-8.
        """
        first, *others = self._passwords
        opened: connection
        try:
            opened = psycopg2.connect(**self._arguments, password=first)
        except psycopg2.OperationalError as error:
            if not others or _REFUSED not in str(error):
                raise
            opened = psycopg2.connect(**self._arguments, password=others[0])
            self._passwords = [*others, first]
        return opened


def read_options(text: str) -> set[str]:
    """The settings that libpq's parameter ``options`` names: -c name=value or --name=value."""
    names = re.findall(r"(?:-c *|--)([\w.-]+) *=", text)
    return {name.replace("-", "_").lower() for name in names}


def set_up(
    opened: connection, statement_timeout: float, lock_timeout: float, any_encoding: bool = False
) -> float:
    """Apply SETTINGS to a new connection; returns the server's time, in seconds since 1970.

    One round trip, and not connection options, because poolers such as PgBouncer refuse those.
    Raises psycopg2.Error, and closes ``opened``, also where the database's encoding is not UTF-8,
    which cannot hold every name.
    """
    chosen = read_options(opened.info.dsn_parameters.get("options", ""))
    settings = {name: value for name, value in SETTINGS.items() if name not in chosen}
    settings["statement_timeout"] = f"{statement_timeout}s"
    settings["lock_timeout"] = f"{lock_timeout}s"
    sets = "".join(f"SET {name} = '{value}'; " for name, value in settings.items())
    try:
        opened.autocommit = True
        with opened.cursor() as asked:
            asked.execute(sets + _LOOK)
            now, encoding = asked.fetchone() or (0.0, "")
        opened.autocommit = False
        if encoding != "UTF8" and not any_encoding:
            raise psycopg2.OperationalError(
                f"its encoding is {encoding}: create it with ENCODING 'UTF8' TEMPLATE template0"
            )
    except BaseException:
        opened.close()
        raise
    return float(now)


def open_pooled(login: Login) -> Connection:
    """A connection for the pool. Raises psycopg2.Error."""
    opened = cast(Connection, login())
    opened.clock = set_up(opened, STATEMENT_TIMEOUT, LOCK_TIMEOUT) - time.monotonic()
    return opened


def forget_environment() -> None:
    """Remove libpq's variables (PGHOSTADDR, PGOPTIONS, ...) from the environment of this process.

    libpq reads them wherever the configuration says nothing, and has no other way to stop it.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def is_unfit(kept: connection) -> bool:
    """Whether a connection was closed while it was idle, or has a transaction that was left open.

    A server sends nothing on an idle connection until it closes it, so one system call can tell. A
    ping would add a round trip to every request.
    """
    if kept.closed or kept.get_transaction_status() != extensions.TRANSACTION_STATUS_IDLE:
        return True
    idle = select.poll()
    idle.register(kept, select.POLLIN)
    return bool(idle.poll(0))


def is_for_table(refused: psycopg2.Error) -> bool:
    """Whether a lock on a table was refused, not one on a row.

    PostgreSQL locks a statement's tables while it reads the statement, and then says where in its
    text it was; rows are locked while it executes it.
    """
    return refused.diag.statement_position is not None


def wait(asked: connection) -> None:
    """Return when the operation pending on ``asked`` is complete: psycopg2's wait callback.

    Raises Overdue, and closes ``asked``. Outside of requests, statements have no
    limit on connections other than the pool's, because migrations may take as long as they need.

    libpq's own limits do not cover a server that is frozen but whose kernel acknowledges what it
    receives: tcp_user_timeout and keepalives only detect a host that is gone, and statement_timeout
    needs a server that runs. Nothing limits the time to look up the host's name, but other threads
    run meanwhile.
    """
    is_login = asked.status == extensions.STATUS_SETUP
    until, limit = _limit(asked, is_login)
    while (state := asked.poll()) != extensions.POLL_OK:
        left = until - time.monotonic()
        poll = select.poll()
        poll.register(asked, select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
        if not poll.poll(None if left == math.inf else max(0.0, left) * 1000):
            _forget_undelivered(asked)
            if is_login:
                asked.close()  # psycopg2 does it only when the error is collected as garbage
            raise Overdue(f"the {'login' if is_login else 'answer'} took longer than {limit:g} s")


def _limit(asked: connection, is_login: bool) -> tuple[float, float]:
    """The end of a wait that begins now, by time.monotonic(), and the limit in seconds."""
    if isinstance(asked, Connection) and asked.until:
        return asked.until, ANSWER_TIMEOUT
    if use := outage.current():  # a login, or a connection that a view has opened
        return use.began + ANSWER_TIMEOUT, ANSWER_TIMEOUT
    limit = ANSWER_TIMEOUT if isinstance(asked, Connection) else math.inf
    if is_login:
        limit = float(asked.info.dsn_parameters.get("connect_timeout") or LOGIN_TIMEOUT)
    return time.monotonic() + limit, limit


def _forget_undelivered(asked: connection) -> None:
    """Have the kernel reset ``asked`` when it is closed, and forget what it has not delivered yet.

    It would deliver a statement even after a partition of minutes.
    """
    with socket.socket(fileno=os.dup(asked.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
