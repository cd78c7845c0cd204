"""SQLAlchemy's connection pool for PostgreSQL, with a time limit on every wait.

The limits come from psycopg2's wait callback and from the pool, so they hold for cursors, for
SQLAlchemy's connections and for ``db.session`` alike. Under a wait callback psycopg2 supports
neither COPY nor large objects.
"""

import functools
import math
import os
import select
import socket
import struct
import time
from typing import Any, cast

import psycopg2
from flask import Flask
from psycopg2.extensions import (
    POLL_OK,
    POLL_READ,
    STATUS_SETUP,
    TRANSACTION_STATUS_IDLE,
    connection,
    cursor,
    set_wait_callback,
)
from sqlalchemy import URL, Engine, PoolProxiedConnection, QueuePool, exc

from web import outage
from web.outage import PATIENCE, Locked, Unavailable

ANSWER_TIMEOUT = 3  # seconds for all that a request does with the database, login included
LOGIN_TIMEOUT = 5  # seconds for a login outside of requests, unless it has a connect_timeout
STATEMENT_TIMEOUT = 2  # seconds until PostgreSQL cancels a statement whose client may have left
LOCK_TIMEOUT = 0.2  # seconds that a statement waits for a row which another session has locked
MAX_AGE = 3600  # seconds until a connection is replaced, and the server's clock read again

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

ERRORS = (Unavailable, psycopg2.Error, exc.DBAPIError)  # some of which are outages
UNDEFINED = (
    psycopg2.errors.UndefinedTable,
    psycopg2.errors.UndefinedColumn,
    psycopg2.errors.UndefinedFunction,
)
_OUTAGES = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    psycopg2.errors.ReadOnlySqlTransaction,  # from a primary that was demoted
)
_REFUSED = "password authentication failed"  # a refused login has no SQLSTATE, only a message
_LATE = "too late"  # in the message of a change that the server received after its deadline

_LOOK = "SELECT extract(epoch FROM clock_timestamp())::float, current_setting('server_encoding')"

# The main query runs first; where it fails, nothing is changed
_CHANGE = """
    WITH change AS ({change}) SELECT CAST(
        CASE WHEN clock_timestamp() < to_timestamp(%s) THEN 'true' ELSE '{late}' END AS boolean)
"""


class Overdue(psycopg2.OperationalError):
    """PostgreSQL did not answer in time. The message names the step that took too long."""


class Cursor(cursor):
    """A cursor that waits longer for a table, which a migration has locked, than for a row."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  # psycopg2's names
        """Execute a statement, again while its table is locked, for STATEMENT_TIMEOUT at most.

        In a transaction it is not repeated. Raises psycopg2.Error.
        """
        try:
            super().execute(query, vars)
        except psycopg2.errors.LockNotAvailable as error:
            until = time.monotonic() + STATEMENT_TIMEOUT
            while _is_for_table(error) and self.connection.autocommit:
                try:
                    return super().execute(query, vars)
                except psycopg2.errors.LockNotAvailable:
                    if time.monotonic() > until:
                        raise
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


class Pool(QueuePool):
    """At most ``pool_size`` connections, shared by the threads of a process.

    Each is checked before its use.
    """

    def __init__(self, creator: Any, timeout: float = PATIENCE, **options: Any) -> None:
        super().__init__(creator, timeout=timeout, **options)
        self._outage = outage.Outage()

    def connect(self) -> PoolProxiedConnection:
        """A connection for the current request or, outside of requests, for anybody.

        Raises Unavailable when the database cannot be reached, is overloaded or does not answer in
        time, and at once while it is slow and another request is trying it.
        """
        use = outage.current()
        if use is not None:
            self._outage.admit(use)
            if use.is_trial and self.checkedout() >= self.size():
                raise Unavailable("all connections are in use")
        try:
            pooled = super().connect()
            while _is_stale(checked := cast(Connection, pooled.dbapi_connection)):
                pooled.invalidate()  # and opened again when its turn comes
                pooled = super().connect()
            checked.until = use.began + ANSWER_TIMEOUT if use else None
            if checked.get_transaction_status() != TRANSACTION_STATUS_IDLE:
                checked.rollback()  # what a view has left open
            checked.autocommit = False
            return pooled
        except exc.TimeoutError:
            raise Unavailable(f"all connections were in use for {PATIENCE} s") from None
        except (psycopg2.Error, UnicodeDecodeError) as error:
            raise Unavailable(" ".join(str(error).split())) from error


def init_app(app: Flask) -> None:
    """Configure the engine of ``app``, which Flask-SQLAlchemy makes afterwards."""
    forget_environment()
    set_wait_callback(_wait)
    login = Login(
        app.config["SQLALCHEMY_DATABASE_URI"],
        app.config["DATABASE_NEXT_PASSWORD"],
        connection_factory=Connection,
        cursor_factory=Cursor,
    )
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "creator": functools.partial(_open, login),
        "poolclass": Pool,
        # One thread of a worker never waits for the database, so that it can answer /livez
        "pool_size": app.config["SERVER"]["threads"] - 1,
        "max_overflow": 0,
        "pool_recycle": MAX_AGE,
        "pool_reset_on_return": None,  # Pool.connect undoes what is left open
        "use_native_hstore": False,  # looking for that type would add a round trip to each login
    }
    app.teardown_request(outage.end_request)


def forget_environment() -> None:
    """Remove libpq's variables (PGHOSTADDR, PGOPTIONS, ...) from the environment of this process.

    libpq reads them wherever the configuration says nothing, and has no other way to stop it.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def set_up(
    opened: connection, statement_timeout: float, lock_timeout: float, any_encoding: bool = False
) -> float:
    """Apply SETTINGS to a new connection; returns the server's time, in seconds since 1970.

    One round trip, and not connection options, because poolers such as PgBouncer refuse those.
    Raises psycopg2.Error, and closes ``opened``, also where the database's encoding is not UTF-8,
    which cannot hold every name.
    """
    limits = {"statement_timeout": f"{statement_timeout}s", "lock_timeout": f"{lock_timeout}s"}
    settings = SETTINGS | limits
    chosen = opened.info.dsn_parameters.get("options", "")  # in DATABASE_URL
    sets = "".join(
        f"SET {name} = '{value}'; " for name, value in settings.items() if name not in chosen
    )
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


class Autocommit:
    """A context with a cursor whose statements are committed automatically. Raises Unavailable.

    After any exception its connection is closed: it may be broken, busy, or to a primary that was
    demoted.
    """

    def __init__(self, engine: Engine) -> None:
        self._pooled = engine.raw_connection()

    def __enter__(self) -> cursor:
        used = cast(Connection, self._pooled.dbapi_connection)
        used.autocommit = True
        return used.cursor()

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed:
            self._pooled.invalidate()
        else:
            self._pooled.close()


def change(engine: Engine, statement: str, *parameters: object) -> None:
    """Execute ``statement``, one INSERT, UPDATE or DELETE, in time or never.

    A request that was answered 503 must not replace what a later one has saved. A closed
    connection's statement can still arrive, from a proxy or a pooler, so it carries its deadline,
    by the server's clock. Raises Unavailable and psycopg2.Error, Overdue included.
    """
    whole = _CHANGE.format(change=statement, late=_LATE)
    with Autocommit(engine) as asked:
        used = cast(Connection, asked.connection)
        until = (used.until or time.monotonic() + ANSWER_TIMEOUT) + used.clock
        try:
            asked.execute(whole, (*parameters, until - LOCK_TIMEOUT))
        except psycopg2.errors.InvalidTextRepresentation as error:
            if _LATE not in str(error):
                raise
            raise Overdue("a change reached the database too late") from error


def cause(error: BaseException) -> BaseException:
    """The error of psycopg2 that SQLAlchemy may have wrapped."""
    return error.orig or error if isinstance(error, exc.DBAPIError) else error


def find_outage(error: BaseException) -> Unavailable | None:
    """The outage that ``error`` is a sign of; None where a statement is wrong.

    Its message can be logged: those of statements quote rows, those of logins name host and user.
    """
    if isinstance(error, Unavailable):
        return error
    failed = cause(error)
    # A broken protocol has no SQLSTATE, and neither has a statement that libpq cannot send
    unreadable = isinstance(failed, psycopg2.DatabaseError) and failed.pgcode is None
    if not isinstance(failed, _OUTAGES) and (
        not unreadable or isinstance(failed, psycopg2.ProgrammingError)
    ):
        return None
    if isinstance(failed, psycopg2.errors.LockNotAvailable) and not _is_for_table(failed):
        return Locked("another session has locked the row")
    failure = Unavailable(str(failed) if isinstance(failed, Overdue) else "a statement failed")
    failure.__cause__ = failed
    return failure


def _is_for_table(refused: psycopg2.Error) -> bool:
    """Whether a lock on a table was refused, not one on a row.

    PostgreSQL locks a statement's tables while it reads the statement, and then says where in its
    text it was; rows are locked while it executes it.
    """
    return refused.diag.statement_position is not None


def _open(login: Login) -> Connection:
    """A connection for the pool. Raises psycopg2.Error."""
    opened = cast(Connection, login())
    opened.clock = set_up(opened, STATEMENT_TIMEOUT, LOCK_TIMEOUT) - time.monotonic()
    return opened


def _is_stale(kept: connection) -> bool:
    """Whether a connection was closed while it was idle.

    A server sends nothing on an idle connection until it closes it, so one system call can tell. A
    ping would add a round trip to every request.
    """
    if kept.closed:
        return True
    idle = select.poll()
    idle.register(kept.fileno(), select.POLLIN)
    return bool(idle.poll(0))


def _wait(asked: connection) -> None:
    """Return when the operation pending on ``asked`` is complete: psycopg2's wait callback.

    Raises Overdue, and closes ``asked``. Outside of requests, statements have no
    limit on connections other than the pool's, because migrations may take as long as they need.

    libpq's own limits do not cover a server that is frozen but whose kernel acknowledges what it
    receives: tcp_user_timeout and keepalives only detect a host that is gone, and statement_timeout
    needs a server that runs. Nothing limits the time to look up the host's name, but other threads
    run meanwhile.
    """
    is_login = asked.status == STATUS_SETUP
    until, limit = _limit(asked, is_login)
    while (state := asked.poll()) != POLL_OK:
        left = until - time.monotonic()
        poll = select.poll()
        poll.register(asked.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
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
