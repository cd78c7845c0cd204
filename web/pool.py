"""The connections of one process: kept open, checked before use, and never waited for in vain."""

import threading
from typing import Any, cast

from psycopg2.extensions import connection
from sqlalchemy import URL, QueuePool, event
from sqlalchemy.exc import DisconnectionError

from web.connection import (
    ERRORS,
    LoginFailed,
    ask,
    deadline,
    describe,
    is_outage,
    is_stale,
    open_connection,
)
from web.outage import Outage, Unavailable


class Pool:
    """At most ``size`` connections to the database of ``url``, shared by the threads of a process.

    SQLAlchemy's QueuePool keeps them, without an engine: an engine asks the server questions of
    its own on its first connection, and their time is not limited.

    ``next_password`` is tried where the password of ``url`` is refused. While the database's
    password is changed, every process knows both, so that they need not change at one moment.
    """

    def __init__(self, url: URL, size: int, next_password: str = "") -> None:
        _, arguments = url.get_dialect()().create_connect_args(url)
        self._arguments = dict(arguments)
        self._passwords = [self._arguments.pop("password", None)]
        if next_password:
            self._passwords.append(next_password)
        self._outage = Outage()
        # QueuePool could wait by itself, but always equally long, and by a clock that may be set
        self._slots = threading.BoundedSemaphore(size)
        connect: Any = self._connect  # SQLAlchemy's type for a connection is not psycopg2's
        self._connections = QueuePool(connect, size, max_overflow=0, reset_on_return=None)
        event.listen(self._connections, "checkout", _refuse_stale)

    def fetch(self, statement: str, *parameters: object) -> tuple[Any, ...] | None:
        """The first row that ``statement`` returns, or None. The statement commits by itself.

        Raises Unavailable when the database cannot be reached, is overloaded or does not answer
        within ANSWER_TIMEOUT; whether the statement was executed is then unknown. Raises
        psycopg2.Error when the database rejects the statement.
        """
        with self._outage.attempt() as patience:
            if not self._slots.acquire(timeout=patience):
                raise Unavailable(f"all connections were in use for {patience} s")
            try:
                return self._fetch(statement, parameters)
            except ERRORS as error:
                if is_outage(error):
                    raise Unavailable(describe(error)) from error
                raise
            finally:
                self._slots.release()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._connections.dispose()

    def _fetch(self, statement: str, parameters: tuple[object, ...]) -> tuple[Any, ...] | None:
        until = deadline()
        slot = self._connections.connect()
        checked_out = cast(connection, slot.dbapi_connection)
        try:
            return ask(checked_out, until, statement, parameters)
        except ERRORS as error:
            if is_outage(error):
                checked_out.close()  # it may lead to a primary that was demoted
            raise
        finally:
            if checked_out.closed:
                slot.invalidate()
            else:
                slot.close()

    def _connect(self) -> connection:
        """A new connection; the password that is accepted comes first from then on."""
        until = deadline()
        first, *others = self._passwords
        try:
            return open_connection(self._arguments | {"password": first}, until)
        except LoginFailed as error:
            if not others or not error.is_refused_password:
                raise
        opened = open_connection(self._arguments | {"password": others[0]}, until)
        self._passwords = [*others, first]
        return opened


def _refuse_stale(kept: connection, *_: object) -> None:
    """Let QueuePool replace a connection that the server has closed since it was last used."""
    if is_stale(kept):
        raise DisconnectionError("the server has hung up")
