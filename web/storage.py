"""The table of people, and all SQL statements that requests execute.

Stop reading here, unless you change how the database is reached: a function below returns, or
raises one of database.ERRORS, which views leave to ``errors``. The modules that it stands on know
no table: ``database`` has the pool, ``connection`` opens sessions and limits every wait, and
``outage`` lets one request at a time try a slow database.

The functions here are for one row and one statement each. What returns a list, or writes twice or
not at all, uses ``db.session``, as in docs/second-resource.patch.
"""

import functools
from datetime import date
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CheckConstraint, FromClause, Text, column, false, select, table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from web import database
from web.outage import Unavailable

_FIND = "SELECT date_of_birth FROM person WHERE username = %s"
_SAVE = """
    INSERT INTO person (username, date_of_birth) VALUES (%s, %s)
    ON CONFLICT (username) DO UPDATE SET date_of_birth = EXCLUDED.date_of_birth
"""
_DELETE = "DELETE FROM person WHERE username = %s"

OUTDATED = "The schema is older than this version: run 'flask db upgrade'"


class Outdated(Unavailable):
    """/readyz has found that the schema is older than this version of the application."""


class Base(DeclarativeBase):
    """The base of all models; it holds their metadata."""


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
    """Give ``app`` its database and the ``flask db`` commands."""
    database.init_app(app)
    db.init_app(app)
    migrate.init_app(app, db)


def find(name: str) -> date | None:
    """The date of birth saved for ``name``, or None. Raises database.ERRORS."""
    row = _fetch(_FIND, name)
    return row[0] if row else None


def save(name: str, born: date) -> None:
    """Save ``born`` as the date of birth of ``name``, whether new or already known.

    If it returns, the change is on disk. Raises database.ERRORS; the change has then been made, is
    made within the time limit of the request, or is never made. Saving again is always safe.
    """
    database.change(db.engine, _SAVE, name, born)


def delete(name: str) -> None:
    """Delete ``name`` and its date of birth, if saved. Raises database.ERRORS, like save."""
    database.change(db.engine, _DELETE, name)


def ping() -> None:
    """Return when the database can serve requests.

    Raises Outdated when its schema is older than the models, and database.ERRORS.
    """
    known, newest = _revisions(migrate.directory)
    try:
        row = _fetch(_schema_query())
    except database.UNDEFINED as error:
        raise Outdated(OUTDATED) from error
    if row is None or (row[0] in known and row[0] != newest):  # one that is unknown is newer
        raise Outdated(OUTDATED)


def find_outage(error: Exception) -> Unavailable | None:
    """The outage that ``error``, one of database.ERRORS, is a sign of; None if a bug is.

    A statement may name a table, a column or a function that a migration has yet to create.
    """
    if isinstance(database.cause(error), database.UNDEFINED):
        try:
            ping()
        except Outdated:
            return Unavailable(OUTDATED)
        except database.ERRORS as failure:
            return database.find_outage(failure)
    return database.find_outage(error)


def _fetch(statement: str, *parameters: object) -> tuple[Any, ...] | None:
    with database.autocommit(db.engine) as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone()


def _schema_query() -> str:
    """A statement that fails unless the database has each column of each model; one row at most.

    Its row is the revision of the schema. No row of a model's table is read.
    """
    joined: FromClause = table("alembic_version")
    for model in db.metadata.tables.values():
        joined = joined.outerjoin(select(*model.columns).subquery(), false())
    return str(select(column("version_num", Text)).select_from(joined))


@functools.cache
def _revisions(folder: str) -> tuple[frozenset[str], str | None]:
    """The revisions that this version knows, and the newest of them."""
    scripts = ScriptDirectory(folder)
    known = frozenset(script.revision for script in scripts.walk_revisions())
    return known, scripts.get_current_head()
