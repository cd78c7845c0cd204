"""The table of people, and all the SQL that requests run."""

import select
from collections.abc import Callable
from datetime import date
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

import psycopg2
from flask import Flask, current_app
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from psycopg2.extensions import connection
from sqlalchemy import CheckConstraint, Dialect, Text, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from web.watchdog import Watchdog

CONNECT_TIMEOUT = 3  # seconds
STATEMENT_TIMEOUT = 2  # seconds, after which PostgreSQL itself gives a statement up
ANSWER_TIMEOUT = 3  # seconds, after which we give up on a PostgreSQL that did not

_OUTAGES = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    psycopg2.errors.ReadOnlySqlTransaction,  # of a primary that was demoted
)
_REFUSED = "password authentication failed"  # there is no code for it before one is connected
_FIND = "SELECT date_of_birth FROM person WHERE username = %s"
_SAVE = """
    INSERT INTO person (username, date_of_birth) VALUES (%s, %s)
    ON CONFLICT (username) DO UPDATE SET date_of_birth = EXCLUDED.date_of_birth
"""


class Base(DeclarativeBase):
    """What the models of this application have in common: nothing yet but their metadata."""


db = SQLAlchemy(model_class=Base)
_watchdog = Watchdog(ANSWER_TIMEOUT)
migrate = Migrate(directory=str(Path(__file__).parent / "migrations"))


class Person(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
    """Somebody to greet. The constraints repeat those rules of ``schema`` that SQL can state."""

    __table_args__ = (
        CheckConstraint("char_length(username) BETWEEN 1 AND 64", "person_username_length"),
        CheckConstraint("username IS NFC NORMALIZED", "person_username_normalised"),
        # ASCII, but for its letters; the rest of Unicode is left to the application, whose
        # idea of a letter may be newer or older than the database's
        CheckConstraint(r"username !~ '[\x01-@\[-`{-\x7f]'", "person_username_letters"),
        CheckConstraint(
            "date_of_birth BETWEEN '0001-01-01' AND '9999-12-31'", "person_date_of_birth_range"
        ),
    )

    # "C": names are equal when their bytes are, whatever the server's locale
    username: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    date_of_birth: Mapped[date]


# A place for a connection: the one that is kept there, or None where it is still to be opened
Places = SimpleQueue[connection | None]
PLACES = "storage.places"  # their name among the application's extensions


class Unavailable(Exception):
    """The database refused, failed or did not answer in time; trying again later may help."""


def init_app(app: Flask) -> None:
    """Give ``app`` its connection pool and the ``flask db`` commands."""
    db.init_app(app)
    migrate.init_app(app, db)
    if other := app.config["DATABASE_NEXT_PASSWORD"]:
        with app.app_context():
            event.listen(db.engine, "do_connect", _with_either_password(other))
    places: Places = SimpleQueue()
    for _ in range(app.config["DATABASE_POOL_SIZE"]):
        places.put(None)
    app.extensions[PLACES] = places


def find(name: str) -> date | None:
    """The date of birth saved for ``name``, or None. Raises Unavailable."""
    row = _execute(_FIND, name)
    return row[0] if row else None


def save(name: str, born: date) -> None:
    """Keep ``born`` as the date of birth of ``name``, new or known. Raises Unavailable.

    When it returns, the change is on disk. When it raises, the change may have been made or
    not; saving again is always safe.
    """
    _execute(_SAVE, name, born)


def ping() -> None:
    """Return when the database answers; raises Unavailable."""
    _execute("SELECT 1")


def _with_either_password(other: str) -> Callable[..., connection]:
    """Connects with the password that is configured or, where it is refused, with ``other``.

    The one that was accepted comes first from then on. While the database's password is changed,
    every process knows both, so that nobody has to change at the same moment.
    """
    accepted: list[str] = []

    def connect(
        dialect: Dialect, _record: object, arguments: list[Any], parameters: dict[str, Any]
    ) -> connection:
        first, second = parameters["password"], other
        if accepted == [other]:
            first, second = second, first
        try:
            made = dialect.connect(*arguments, **parameters | {"password": first})
        except psycopg2.OperationalError as error:
            if _REFUSED not in str(error):
                raise
            made = dialect.connect(*arguments, **parameters | {"password": second})
            accepted[:] = [second]
        return cast(connection, made)

    return connect


def _execute(statement: str, *parameters: object) -> tuple[Any, ...] | None:
    places: Places = current_app.extensions[PLACES]
    taken = _take(places)
    try:
        return _ask(taken, statement, parameters)
    except _OUTAGES as error:
        taken.close()
        raise Unavailable from error
    finally:
        places.put(None if taken.closed else taken)


def _ask(
    taken: connection, statement: str, parameters: tuple[object, ...]
) -> tuple[Any, ...] | None:
    descriptor = taken.fileno()
    _watchdog.begin(descriptor)
    try:
        cursor = taken.cursor()
        cursor.execute(statement, parameters)
        return cursor.fetchone() if cursor.description else None
    finally:  # before the connection is closed, and its descriptor another one's
        _watchdog.end(descriptor)


def _take(places: Places) -> connection:
    """A connection that works as far as one can know, once there is a place for it."""
    try:
        kept = places.get(timeout=CONNECT_TIMEOUT)
    except Empty as error:
        raise Unavailable from error
    if kept is not None and not _is_stale(kept):
        return kept
    try:
        new = db.engine.raw_connection()
        new.detach()
    except BaseException as error:
        places.put(None)
        if isinstance(error, _OUTAGES):
            raise Unavailable from error
        raise
    return cast(connection, new.dbapi_connection)


def _is_stale(kept: connection) -> bool:
    """Whether the server has hung up since the connection was last used.

    Nothing is to be read from an idle connection until then, so that one system call tells,
    where the usual ping would cost every request a round trip.
    """
    poll = select.poll()
    poll.register(kept.fileno(), select.POLLIN)
    return bool(poll.poll(0))
