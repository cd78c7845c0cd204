"""The table of people, and all SQL statements that requests execute."""

from datetime import date
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CheckConstraint, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from web.pool import Pool

POOL = "web.pool"  # the pool's key in the application's extensions

_FIND = "SELECT date_of_birth FROM person WHERE username = %s"
_SAVE = """
    INSERT INTO person (username, date_of_birth) VALUES (%s, %s)
    ON CONFLICT (username) DO UPDATE SET date_of_birth = EXCLUDED.date_of_birth
"""
_DELETE = "DELETE FROM person WHERE username = %s"
_PING = "SELECT FROM person LIMIT 1"


class Base(DeclarativeBase):
    """The base of all models; it holds their metadata."""


# For migrations and tests. Requests execute their statements through the pool, without an engine
db = SQLAlchemy(model_class=Base)
migrate = Migrate(directory=str(Path(__file__).parent / "migrations"))


class Person(db.Model):  # type: ignore[name-defined,misc]  # a class made at run time
    """A user to greet. The constraints repeat those rules of ``schema`` that SQL can express."""

    __table_args__ = (
        CheckConstraint("char_length(username) BETWEEN 1 AND 64", "person_username_length"),
        CheckConstraint("username IS NFC NORMALIZED", "person_username_normalised"),
        # ASCII except its letters; the rest of Unicode is left to the application, whose
        # Unicode version may be newer or older than the database's
        CheckConstraint(r"username !~ '[\x01-@\[-`{-\x7f]'", "person_username_letters"),
        CheckConstraint(
            "date_of_birth BETWEEN '0001-01-01' AND '9999-12-31'", "person_date_of_birth_range"
        ),
    )

    # "C": names are equal when their bytes are, whatever the server's locale
    username: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    date_of_birth: Mapped[date]


def init_app(app: Flask) -> None:
    """Give ``app`` its connection pool and the ``flask db`` commands."""
    db.init_app(app)
    migrate.init_app(app, db)
    app.extensions[POOL] = Pool(
        app.config["SQLALCHEMY_DATABASE_URI"],
        app.config["DATABASE_POOL_SIZE"],
        app.config["DATABASE_NEXT_PASSWORD"],
    )


def find(name: str) -> date | None:
    """The date of birth saved for ``name``, or None. Raises Unavailable."""
    row = _fetch(_FIND, name)
    return row[0] if row else None


def save(name: str, born: date) -> None:
    """Save ``born`` as the date of birth of ``name``, whether new or already known.

    Raises Unavailable. If it returns, the change is on disk. If it raises, the change may or may
    not have been made; saving again is always safe.
    """
    _fetch(_SAVE, name, born)


def delete(name: str) -> None:
    """Delete ``name`` and its date of birth, if saved. Raises Unavailable, like save."""
    _fetch(_DELETE, name)


def ping() -> None:
    """Return when the database can serve requests; raises Unavailable."""
    _fetch(_PING)


def _fetch(statement: str, *parameters: object) -> tuple[Any, ...] | None:
    pool: Pool = current_app.extensions[POOL]
    return pool.fetch(statement, *parameters)
