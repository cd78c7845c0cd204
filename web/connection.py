"""One connection to PostgreSQL, on which every wait has a time limit."""

import os
import select
import socket
import struct
import time
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, connection

ANSWER_TIMEOUT = 3  # seconds for all that a request does with the database, login included
STATEMENT_TIMEOUT = 2  # seconds until PostgreSQL cancels a statement whose client may have left

_OUTAGES = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    psycopg2.errors.ReadOnlySqlTransaction,  # from a primary that was demoted
    psycopg2.errors.UndefinedTable,  # the migrations have not run yet
    UnicodeDecodeError,  # not PostgreSQL, or a refused login reported in another encoding
)

# A refused login has no SQLSTATE, only libpq's message
_REFUSED = "password authentication failed"


class LoginFailed(psycopg2.OperationalError):
    """A connection could not be opened. The message is libpq's, with host and user."""

    @property
    def is_refused_password(self) -> bool:
        """Whether another password might be accepted."""
        return _REFUSED in str(self)


class Overdue(psycopg2.OperationalError):
    """The database did not answer in time. The message names the step that took too long."""


def deadline() -> float:
    """The deadline, by time.monotonic(), of a request that uses the database now."""
    return time.monotonic() + ANSWER_TIMEOUT


def open_connection(arguments: dict[str, Any], until: float) -> connection:
    """A new connection, with ``arguments`` for psycopg2. Raises LoginFailed and Overdue."""
    try:
        opened: connection = psycopg2.connect(**arguments, async_=True)
        _wait(opened, until, "the login")
        # Not as a connection option, because poolers such as PgBouncer refuse those
        ask(opened, until, f"SET statement_timeout = '{STATEMENT_TIMEOUT}s'", ())
    except Overdue:
        raise
    except (psycopg2.Error, UnicodeDecodeError) as error:
        raise LoginFailed(" ".join(str(error).split())) from error
    return opened


def ask(
    asked: connection, until: float, statement: str, parameters: tuple[object, ...]
) -> tuple[Any, ...] | None:
    """The first row that ``statement`` returns, or None. Raises psycopg2.Error and Overdue."""
    cursor = asked.cursor()
    cursor.execute(statement, parameters)
    _wait(asked, until, "the answer")
    return cursor.fetchone() if cursor.description else None


def is_stale(kept: connection) -> bool:
    """Whether the server has closed an idle connection.

    A server sends nothing on an idle connection until it closes it, so one system call can tell. A
    ping would add a round trip to every request.
    """
    socket = select.poll()
    socket.register(kept.fileno(), select.POLLIN)
    return bool(socket.poll(0))


def is_outage(error: BaseException) -> bool:
    """Whether ``error`` means that the database is unavailable, not that a statement is wrong."""
    # A broken protocol has no SQLSTATE, and neither has a statement that libpq cannot send
    unreadable = isinstance(error, psycopg2.DatabaseError) and error.pgcode is None
    return isinstance(error, _OUTAGES) or (
        unreadable and not isinstance(error, psycopg2.ProgrammingError)
    )


def describe(error: BaseException) -> str:
    """The part of ``error`` that may be logged: messages about statements may quote a row."""
    match error:
        case LoginFailed() | Overdue():
            return str(error)
        case psycopg2.errors.UndefinedTable():
            return "the table is missing: run 'flask db upgrade'"
        case _:
            return "a statement failed"


def _wait(asked: connection, until: float, awaited: str) -> None:
    """Return when the operation pending on ``asked`` is complete.

    Raises Overdue, and closes ``asked``. The connections are asynchronous, because libpq's blocking
    calls wait without a limit. The alternatives do not cover a server that is frozen but whose
    kernel acknowledges what it receives: tcp_user_timeout and keepalives only detect a host that is
    gone, and statement_timeout needs a server that runs. A second thread that shuts overdue sockets
    down would cover it at the same cost (33 us of CPU for a SELECT; 30 without any limit), but
    would know them by file descriptors, which may belong to another connection by then. Neither
    limits the time to look up the host's name.
    """
    while (state := asked.poll()) != POLL_OK:
        poll = select.poll()
        poll.register(asked.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            _abort(asked)
            raise Overdue(f"{awaited} took longer than {ANSWER_TIMEOUT} s")


def _abort(asked: connection) -> None:
    """Close ``asked``, and let the kernel forget what it has not delivered yet.

    It would deliver a statement even after a partition of minutes, and an old date of birth would
    replace the one that was saved meanwhile.
    """
    with socket.socket(fileno=os.dup(asked.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    asked.close()
