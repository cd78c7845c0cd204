"""How ``flask db`` runs migrations: one run at a time, and each in one transaction.

Several instances may be told to migrate at the same moment, and an image may meet a database
that a newer one has migrated already. Both end well here. Statements may take as long as they
need; who calls this sets a limit for the whole, as .platform/hooks does.
"""

import logging

from alembic import context
from flask import current_app
from sqlalchemy import Connection, NullPool, create_engine, text

LOGIN_TIMEOUT = 5  # seconds
LOCK = 0x6269727468  # any number will do, as long as nothing else locks it: "birth" in ASCII
TURN_TIMEOUT = "120s"  # for another run to end
TABLE_TIMEOUT = "5s"  # for statements that use the table; the requests behind us must wait as long

logger = logging.getLogger("web.migrations")


def run() -> None:
    """Migrate the database of the current application."""
    config = current_app.config
    engine = create_engine(
        config["SQLALCHEMY_DATABASE_URI"],
        poolclass=NullPool,
        connect_args={"connect_timeout": LOGIN_TIMEOUT},
    )
    metadata = current_app.extensions["migrate"].db.metadata
    with engine.connect() as connection:
        context.configure(connection, target_metadata=metadata)
        with context.begin_transaction():
            wait_for_turn(connection)
            if is_upgrade() and (unknown := unknown_revisions()):
                logger.warning(
                    "the database is ahead of this version (at %s): nothing to do", unknown
                )
                return
            context.run_migrations()


def wait_for_turn(connection: Connection) -> None:
    """Take the lock that the end of this transaction gives back.

    Raises OperationalError when another run holds it for longer than TURN_TIMEOUT.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{TURN_TIMEOUT}'"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_TIMEOUT}'"))


def is_upgrade() -> bool:
    """Whether this is ``flask db upgrade``, and no other command."""
    return context.get_context().opts["fn"].__name__ == "upgrade"


def unknown_revisions() -> str:
    """The revisions of the database that this version has no migration for, or nothing."""
    known = {script.revision for script in context.script.walk_revisions()}
    return ", ".join(set(context.get_context().get_current_heads()) - known)


if context.is_offline_mode():
    raise SystemExit("--sql is not supported: a script cannot hold the lock that a run takes")
run()
