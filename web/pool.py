"""The connection pool of one process: kept open, checked before use, with short waits."""

from queue import Empty, SimpleQueue
from typing import Any

from psycopg2.extensions import connection
from sqlalchemy import URL

from web.connection import (
    LoginFailed,
    ask,
    deadline,
    describe,
    is_outage,
    is_stale,
    open_connection,
)
from web.outage import Outage, Unavailable


class Slot:
    """A slot for one connection, which is opened when it is needed, and kept."""

    def __init__(self) -> None:
        self.kept: connection | None = None

    def empty(self) -> None:
        """Close the connection, if there is one."""
        if self.kept is not None:
            self.kept.close()
            self.kept = None


class Pool:
    """At most ``size`` connections to the database of ``url``, shared by the threads of a process.

    The slots are in a queue of the standard library. SQLAlchemy's QueuePool would do, but its
    engine queries the server without a time limit, and without an engine it is also just a
    queue, with locks in Python: a GET costs 14 % more CPU (301 us instead of 263, in one run).

    ``next_password`` is tried if the password of ``url`` is refused. While the database's
    password is changed, every process knows both, so they need not switch at the same moment.
    """

    def __init__(self, url: URL, size: int, next_password: str = "") -> None:
        _, arguments = url.get_dialect()().create_connect_args(url)
        self._arguments = dict(arguments)
        self._passwords = [self._arguments.pop("password", None)]
        if next_password:
            self._passwords.append(next_password)
        self._outage = Outage()
        self._slots: SimpleQueue[Slot] = SimpleQueue()
        for _ in range(size):
            self._slots.put(Slot())

    def fetch(self, statement: str, *parameters: object) -> tuple[Any, ...] | None:
        """The first row that ``statement`` returns, or None.

        The statement is committed automatically. Raises Unavailable when the database cannot be
        reached, is overloaded or does not answer within ANSWER_TIMEOUT; whether the statement was
        executed is then unknown. Raises psycopg2.Error when the database rejects the statement.
        """
        with self._outage.attempt() as patience:
            try:
                slot = self._slots.get(timeout=patience)
            except Empty:
                raise Unavailable(f"all connections were in use for {patience} s") from None
            try:
                until = deadline()
                return ask(self._connection(slot, until), until, statement, parameters)
            except BaseException as error:
                slot.empty()  # the connection may be broken, busy, or to a primary that was demoted
                if is_outage(error):
                    raise Unavailable(describe(error)) from error
                raise
            finally:
                self._slots.put(slot)

    def close(self) -> None:
        """Close the connections that are not in use."""
        for _ in range(self._slots.qsize()):
            slot = self._slots.get()
            slot.empty()
            self._slots.put(slot)

    def _connection(self, slot: Slot, until: float) -> connection:
        """The connection of ``slot``; a new one if the kept one has been closed."""
        if slot.kept is None or is_stale(slot.kept):
            slot.empty()
            slot.kept = self._connect(until)
        return slot.kept

    def _connect(self, until: float) -> connection:
        """A new connection; the password that was accepted is tried first from then on."""
        first, *others = self._passwords
        try:
            return open_connection(self._arguments | {"password": first}, until)
        except LoginFailed as error:
            if not others or not error.is_refused_password:
                raise
        opened = open_connection(self._arguments | {"password": others[0]}, until)
        self._passwords = [*others, first]
        return opened
