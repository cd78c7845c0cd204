"""Migrations: one run at a time, and databases that are missing, silent, newer or not ours."""

import os
import socket
import threading

import flask_migrate
import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from flask.cli import cli
from sqlalchemy import create_engine, make_url, text

from tests.support.proxy import Proxy
from tests.support.server import TIMEOUT, start_flask, wait_until
from tools.postgres import ensure_database
from web import create_app
from web.storage import db, migrate

# All that the catalogue knows of the models' tables: columns, constraints and indexes
CATALOGUE = """
    SELECT attrelid::regclass::text, 'column', attname,
        concat_ws(' ', format_type(atttypid, atttypmod), collname, pg_get_expr(adbin, adrelid),
                  CASE WHEN attnotnull THEN 'not null' END)
    FROM pg_attribute JOIN pg_class t ON t.oid = attrelid
    LEFT JOIN pg_collation c ON c.oid = attcollation
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
    UNION ALL
    SELECT conrelid::regclass::text, 'constraint', conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT indrelid::regclass::text, 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
    FROM pg_index JOIN pg_class t ON t.oid = indrelid WHERE relnamespace = 'public'::regnamespace
"""

# How many others wait for a turn in this database
WAITS = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


@pytest.fixture
def empty(database_url):
    """The environment of an application on an empty database of its own."""
    name = f"migrations_{os.getpid()}_test"
    url = make_url(database_url)
    maintenance = url.set(database="postgres").render_as_string(hide_password=False)
    ensure_database(maintenance, name)
    yield {"DATABASE_URL": url.set(database=name).render_as_string(hide_password=False)}
    connection = psycopg2.connect(maintenance)
    connection.autocommit = True
    connection.cursor().execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    connection.close()


@pytest.fixture
def missing(empty, engine):
    """The same, but the server does not have the database."""
    maintenance = make_url(empty["DATABASE_URL"]).set(database="postgres")
    connection = psycopg2.connect(maintenance.render_as_string(hide_password=False))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{engine.url.database}"')
        yield empty
        cursor.execute("DROP ROLE IF EXISTS migrations_stranger")
    connection.close()


@pytest.fixture
def engine(empty):
    engine = create_engine(make_url(empty["DATABASE_URL"]).set(drivername="postgresql+psycopg2"))
    yield engine
    engine.dispose()


def run(env, *arguments):
    """The exit code and the output of ``flask``, here in this process."""
    ended = CliRunner().invoke(cli, ["--app", "web", *arguments], env=env)
    return ended.exit_code, ended.output


@pytest.mark.process
def test_four_concurrent_runs_without_a_database_succeed(missing, engine, tmp_path):
    """As on the first instances of an environment: RDS has no database yet."""
    outputs = [tmp_path / str(number) for number in range(4)]
    runs = [start_flask(missing, output, "db", "upgrade") for output in outputs]
    for process in runs:
        process.join(TIMEOUT)
    texts = [output.read_text() for output in outputs]
    assert [process.exitcode for process in runs] == [0] * 4, texts
    assert sum("Running upgrade" in text for text in texts) == 1
    assert "was missing, and was created" in "".join(texts)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM person")).scalar() == 0


def behind(proxy, url):
    """``url`` by way of ``proxy``, which reads what passes."""
    there = url.set(host="127.0.0.1", port=proxy.port).update_query_dict({"sslmode": "disable"})
    return there.render_as_string(hide_password=False)


def test_a_database_that_another_run_creates_meanwhile_is_used(missing, engine):
    """The proxy stops between the refused login and the question whether the database is missing."""
    url = make_url(missing["DATABASE_URL"])
    server = (url.host or "127.0.0.1", url.port or 5432)
    with (
        Proxy(server) as counting,
        pytest.raises(psycopg2.OperationalError, match="does not exist"),
    ):
        psycopg2.connect(behind(counting, url))
    with Proxy(server, freeze_at=counting.messages) as proxy:
        ended = []
        env = {"DATABASE_URL": behind(proxy, url)}
        arguments = ("db", "upgrade", "-x", f"login_timeout={TIMEOUT}")
        running = threading.Thread(target=lambda: ended.extend(run(env, *arguments)))
        running.start()
        wait_until(lambda: proxy.frozen, "the refused login")
        maintenance = create_engine(
            engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT"
        )
        with maintenance.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{url.database}"'))
        maintenance.dispose()
        proxy.thaw()
        running.join()
    status, output = ended
    assert status == 0, output
    assert "was created" not in output


def test_a_user_without_the_right_to_create_the_database_gets_an_error(missing, engine):
    maintenance = create_engine(engine.url.set(database="postgres"))
    with maintenance.begin() as connection:
        connection.execute(text("CREATE ROLE migrations_stranger LOGIN PASSWORD 'x'"))
    maintenance.dispose()
    url = make_url(missing["DATABASE_URL"]).set(username="migrations_stranger", password="x")
    status, output = run(
        {"DATABASE_URL": url.render_as_string(hide_password=False)}, "db", "upgrade"
    )
    assert status == 1
    assert output.startswith(
        f"Error: cannot open the database {url.database}: permission denied to"
    )
    assert output.count("\n") == 1


def test_the_error_names_a_wrong_password(empty, engine):
    url = make_url(empty["DATABASE_URL"]).set(username="migrations_nobody", password="x")
    status, output = run(
        {"DATABASE_URL": url.render_as_string(hide_password=False)}, "db", "upgrade"
    )
    assert status == 1
    assert "migrations_nobody" in output
    assert output.count("\n") == 1


def test_a_database_ahead_of_an_older_image_is_not_an_error(empty, engine):
    assert run(empty, "db", "upgrade")[0] == 0
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    status, output = run(empty, "db", "upgrade")
    assert (status, "ahead of this version" in output) == (0, True), output
    assert run(empty, "db", "downgrade")[0] != 0  # but that one it cannot do


def test_a_run_waits_for_the_one_before_it(empty, engine):
    waits = text(WAITS)
    ended = []
    waiting = threading.Thread(target=lambda: ended.extend(run(empty, "db", "upgrade")))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x6269727468})
        waiting.start()
        wait_until(lambda: connection.execute(waits).scalar() == 1, "the second run")
        assert not ended
    waiting.join()
    assert ended[0] == 0, ended


def test_a_table_in_use_is_tried_again_without_blocking_requests(empty, engine, monkeypatch):
    """A run that waited for the table would have all requests wait behind it."""
    assert run(empty, "db", "upgrade")[0] == 0
    ended = []
    dropping = threading.Thread(target=lambda: ended.extend(run(empty, "db", "downgrade", "base")))
    with engine.connect() as reader:
        reader.execute(text("SELECT FROM person"))  # its lock lasts as long as its transaction
        dropping.start()
        with engine.connect() as asked:
            blocked = text(
                "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'person'::regclass"
            )
            attempt = lambda: bool(asked.execute(blocked).scalar())  # noqa: E731
            wait_until(attempt, "an attempt")
            wait_until(lambda: not attempt(), "a pause")
            wait_until(attempt, "the next attempt")
        assert not ended
    dropping.join()
    assert ended[0] == 0, ended
    assert "a table is in use: trying again" in ended[1]


def test_a_database_with_another_encoding_is_refused_in_one_line(missing, engine):
    name = engine.url.database
    maintenance = create_engine(engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        wrong = f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        connection.execute(text(wrong))
    maintenance.dispose()
    assert run(missing, "db", "upgrade") == (
        1,
        f"Error: cannot open the database {name}: its encoding is SQL_ASCII: "
        "create it with ENCODING 'UTF8' TEMPLATE template0\n",
    )


def test_a_database_is_not_created_like_template1(missing, engine):
    """template1 may have any encoding, and tables of somebody else."""
    template = create_engine(engine.url.set(database="template1"), isolation_level="AUTOCOMMIT")
    with template.connect() as connection:
        connection.execute(text("CREATE TABLE person (id int)"))
    try:
        status, output = run(missing, "db", "upgrade")
    finally:
        with template.connect() as connection:
            connection.execute(text("DROP TABLE person"))
        template.dispose()
    assert status == 0, output


def read_catalogue(engine):
    with engine.connect() as connection:
        rows = {tuple(row) for row in connection.execute(text(CATALOGUE))}
    return {row for row in rows if row[0] != "alembic_version"}


def test_models_and_migrations_do_not_drift(empty, engine):
    app = create_app(empty)
    with app.app_context():
        flask_migrate.upgrade()
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []
        migrated = read_catalogue(engine)
        flask_migrate.downgrade(revision="base")
        db.create_all()
        made = read_catalogue(engine)
        db.engine.dispose()
    assert {table for table, *_ in made} == set(db.metadata.tables)
    for lacking, whose in ((made - migrated, "migrations"), (migrated - made, "models")):
        names = ", ".join(sorted(f"{table}: {name}" for table, _, name, *_ in lacking))
        assert not lacking, f"the {whose} lack {names}; Alembic generates no CHECK constraints"


def test_downgrade_and_upgrade_again(empty, engine):
    for arguments in (("upgrade",), ("downgrade", "base"), ("upgrade",)):
        status, output = run(empty, "db", *arguments)
        assert status == 0, output
    newest = ScriptDirectory(migrate.directory).get_current_head()
    with engine.connect() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == newest
        )


def test_a_database_that_accepts_but_never_responds_is_asked_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"DATABASE_URL": f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/x"}
        status, output = run(env, "db", "upgrade", "-x", "login_timeout=1")
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert status == 1
    assert output == "Error: cannot open the database x: the login took longer than 1 s\n"


def test_an_invalid_variable_is_reported_in_one_line():
    status, output = run({"DATABASE_URL": "nonsense"}, "db", "upgrade")
    assert status == 1
    assert output.startswith("Error: Invalid DATABASE_URL: expected postgresql://")
    assert output.count("\n") == 1
