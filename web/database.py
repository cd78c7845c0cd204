"""SQLAlchemy's connection pool, for cursors, SQLAlchemy's connections and ``db.session`` alike.

All have the same time limits, by psycopg2's wait callback, and what they raise is told apart here:
an outage or a wrong statement. Under a wait callback psycopg2 supports neither COPY nor large
objects.
"""

import contextlib
import functools
import time
from collections.abc import Iterator
from typing import Any, cast

import psycopg2
from flask import Flask
from psycopg2.extensions import cursor, set_wait_callback
from sqlalchemy import Engine, PoolProxiedConnection, QueuePool, exc

from web import connection, outage
from web.connection import Connection, Cursor, Login, Overdue
from web.outage import Locked, Unavailable

MAX_AGE = 3600  # seconds until a connection is replaced, and the server's clock read again

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
_LATE = "too late"  # in the message of a change that the server received after its deadline

# The main query runs first; where it fails, nothing is changed
_CHANGE = """
    WITH change AS ({change}) SELECT CAST(
        CASE WHEN clock_timestamp() < to_timestamp(%s) THEN 'true' ELSE '{late}' END AS boolean)
"""


class Pool(QueuePool):
    """At most ``pool_size`` connections, shared by the threads of a process.

    Each is checked before its use.
    """

    def __init__(self, creator: Any, **options: Any) -> None:
        super().__init__(creator, **{"timeout": outage.PATIENCE, **options})
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
            while connection.is_unfit(checked := cast(Connection, pooled.dbapi_connection)):
                pooled.invalidate()  # and opened again when its turn comes
                pooled = super().connect()
            checked.until = use.began + connection.ANSWER_TIMEOUT if use else None
            checked.autocommit = False
            return pooled
        except exc.TimeoutError:
            raise Unavailable(f"all connections were in use for {outage.PATIENCE} s") from None
        except (psycopg2.Error, UnicodeDecodeError) as error:
            raise Unavailable(" ".join(str(error).split())) from error


def init_app(app: Flask) -> None:
    """Configure the engine of ``app``, which Flask-SQLAlchemy makes afterwards."""
    connection.forget_environment()
    set_wait_callback(connection.wait)
    login = Login(
        app.config["SQLALCHEMY_DATABASE_URI"],
        app.config["DATABASE_NEXT_PASSWORD"],
        connection_factory=Connection,
        cursor_factory=Cursor,
    )
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "creator": functools.partial(connection.open_pooled, login),
        "poolclass": Pool,
        # One thread of a worker never waits for the database, so that it can answer /livez
        "pool_size": app.config["SERVER"]["threads"] - 1,
        "max_overflow": 0,
        "pool_recycle": MAX_AGE,
        "pool_reset_on_return": None,  # what is left open makes a connection unfit
        "use_native_hstore": False,  # looking for that type would add a round trip to each login
    }
    app.teardown_request(outage.end_request)


@contextlib.contextmanager
def autocommit(engine: Engine) -> Iterator[cursor]:
    """A cursor whose statements are committed automatically. Raises Unavailable.

    After any exception its connection is closed: it may be broken, busy, or to a primary that was
    demoted.
    """
    pooled = engine.raw_connection()
    try:
        used = cast(Connection, pooled.dbapi_connection)
        used.autocommit = True
        yield used.cursor()
    except BaseException:
        pooled.invalidate()
        raise
    pooled.close()


def change(engine: Engine, statement: str, *parameters: object) -> None:
    """Execute ``statement``, one INSERT, UPDATE or DELETE, in time or never.

    A request that was answered 503 must not replace what a later one has saved. A closed
    connection's statement can still arrive, from a proxy or a pooler, so it carries its deadline,
    by the server's clock. Raises Unavailable and psycopg2.Error, Overdue included.
    """
    whole = _CHANGE.format(change=statement, late=_LATE)
    with autocommit(engine) as asked:
        used = cast(Connection, asked.connection)
        until = (used.until or time.monotonic() + connection.ANSWER_TIMEOUT) + used.clock
        try:
            asked.execute(whole, (*parameters, until - connection.LOCK_TIMEOUT))
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
    if isinstance(failed, psycopg2.errors.LockNotAvailable) and not connection.is_for_table(failed):
        return Locked("another session has locked the row")
    failure = Unavailable(str(failed) if isinstance(failed, Overdue) else "a statement failed")
    failure.__cause__ = failed
    return failure
