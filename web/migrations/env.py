"""How ``flask db`` runs migrations: one run at a time, and each in one transaction.

Several instances may be told to migrate at the same moment, and an image may meet a database
that a newer one has already migrated. Both cases are handled. Statements may take as long as they
need; the caller limits the whole run, as .platform/hooks does. A server that cannot be reached is
reported in one line, after LOGIN_TIMEOUT or the seconds of ``-x login_timeout=...``.
"""

import logging
import math
import time

import click
import psycopg2
from alembic import context
from flask import current_app
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from web import connection as connections
from web import database

LOGIN_TIMEOUT = 5  # seconds for all attempts to log in
MAINTENANCE = "postgres"  # a database that exists on every server
LOCK = 0x6269727468  # any number that nothing else locks: "birth" in ASCII
TURN_TIMEOUT = 120  # seconds to wait for another run to end, and for a table in use
TABLE_TIMEOUT = 0.2  # seconds of one attempt to lock a table; requests queue behind it
TABLE_PAUSE = 1  # seconds between two attempts, in which requests are served

logger = logging.getLogger("web.migrations")


def run() -> None:
    """Migrate the database of the current application."""
    metadata = current_app.extensions["migrate"].db.metadata
    given = context.get_x_argument(as_dictionary=True)
    timeout = float(given.get("login_timeout", LOGIN_TIMEOUT))
    with connect(current_app.config["SQLALCHEMY_DATABASE_URI"], timeout) as connection:
        until = time.monotonic() + TURN_TIMEOUT
        while True:
            context.configure(connection, target_metadata=metadata)
            try:
                migrate(connection)
                return
            except OperationalError as error:
                locked = isinstance(error.orig, psycopg2.errors.LockNotAvailable)
                if not locked or time.monotonic() > until:
                    raise
            logger.warning("a table is in use: trying again")
            time.sleep(TABLE_PAUSE)


def migrate(connection: Connection) -> None:
    """Migrate in one transaction. Raises DBAPIError, after which nothing has changed."""
    with context.begin_transaction():
        wait_for_turn(connection)
        if is_upgrade() and (unknown := unknown_revisions()):
            logger.warning("the database is ahead of this version (at %s): nothing to do", unknown)
            return
        context.run_migrations()


def connect(url: URL, timeout: float) -> Connection:
    """A connection to the database ``url``, which is created if its server does not have it.

    RDS creates none: a template that names one could not restore a snapshot. Raises ClickException,
    with the reason, when nobody can log in within ``timeout`` seconds, or create the database, or
    when its encoding is not UTF-8.
    """
    try:
        return find_or_create(url, timeout)
    except (DBAPIError, psycopg2.Error) as error:
        reason = " ".join(str(database.cause(error)).split())
        raise click.ClickException(f"cannot open the database {url.database}: {reason}") from error


def find_or_create(url: URL, timeout: float) -> Connection:
    """The same, but raises the errors of the database."""
    until = time.monotonic() + timeout
    try:
        return engine_of(url, until).connect()
    except OperationalError:  # only its message says why, in the server's language
        if until - time.monotonic() < 1:  # the server is silent
            raise
        if is_missing(url, until):
            create(url, timeout)
            until = time.monotonic() + timeout
    return engine_of(url, until).connect()  # another run may have created it just now


def is_missing(url: URL, until: float) -> bool:
    """Whether the server answers but does not have the database of ``url``."""
    try:
        with engine_of(url.set(database=MAINTENANCE), until).connect() as connection:
            known = text("SELECT 1 FROM pg_database WHERE datname = :name")
            return connection.execute(known, {"name": url.database}).scalar() is None
    except OperationalError:
        return False


def create(url: URL, timeout: float) -> None:
    """Create the database ``url``. Raises ProgrammingError when the user may not."""
    engine = engine_of(url.set(database=MAINTENANCE), time.monotonic() + timeout)
    engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    name = engine.dialect.identifier_preparer.quote(str(url.database))
    try:
        with engine.connect() as connection:
            # A server's template1 may have any encoding
            connection.execute(text(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"))
    except DBAPIError:
        if is_missing(url, time.monotonic() + timeout):  # otherwise another run was faster
            raise
    logger.warning("the database %s was missing, and was created", url.database)


def engine_of(url: URL, until: float) -> Engine:
    """Connect with a time limit for the login: ``until``, a time.monotonic() value."""
    left = max(1, math.ceil(until - time.monotonic()))  # libpq takes whole seconds; 0 is no limit
    second = current_app.config["DATABASE_NEXT_PASSWORD"]
    login = connections.Login(url, second, connect_timeout=left)

    def connect() -> psycopg2.extensions.connection:
        opened = login()
        connections.set_up(opened, 0, 0, any_encoding=url.database == MAINTENANCE)
        return opened

    return create_engine(url, poolclass=NullPool, creator=connect)


def wait_for_turn(connection: Connection) -> None:
    """Take the lock that is released when this transaction ends.

    Raises OperationalError when another run holds it for longer than TURN_TIMEOUT.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{TURN_TIMEOUT}s'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_TIMEOUT}s'"))


def is_upgrade() -> bool:
    """Whether the current command is ``flask db upgrade``."""
    return context.get_context().opts["fn"].__name__ == "upgrade"


def unknown_revisions() -> str:
    """The database's revisions for which this version has no migration, often none."""
    known = {script.revision for script in context.script.walk_revisions()}
    return ", ".join(set(context.get_context().get_current_heads()) - known)


if context.is_offline_mode():
    raise SystemExit("--sql is not supported: a script cannot hold the lock that a run takes")
run()
