import os
import socket
import subprocess
import sys
import time

import flask_migrate
import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url, text

from tests.support.proxy import Proxy
from tools.postgres import ensure_database
from web import create_app
from web.storage import db

# All that the catalogue knows of the schema's tables: columns with their types, and constraints
CATALOGUE = """
    SELECT 'column', attname, format_type(atttypid, atttypmod), attnotnull, collname
    FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation
    WHERE attrelid = 'person'::regclass AND attnum > 0
    UNION ALL
    SELECT 'constraint', conname, pg_get_constraintdef(oid), convalidated, NULL
    FROM pg_constraint WHERE conrelid = 'person'::regclass
    ORDER BY 1, 2
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


def flask(env, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "web", *arguments],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(env, *arguments):
    process = flask(env, *arguments)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_four_concurrent_runs_on_an_empty_database_succeed(empty, engine):
    runs = [flask(empty, "db", "upgrade") for _ in range(4)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, outputs
    assert sum("Running upgrade" in output for output in outputs) == 1
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM person")).scalar() == 0


def test_four_concurrent_runs_without_a_database_succeed(missing, engine):
    """As on the first instances of an environment: RDS has no database yet."""
    runs = [flask(missing, "db", "upgrade") for _ in range(4)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, outputs
    assert sum("Running upgrade" in output for output in outputs) == 1
    assert "was missing, and was created" in "".join(outputs)
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
        process = flask({"DATABASE_URL": behind(proxy, url)}, "db", "upgrade")
        deadline = time.monotonic() + 60
        while not proxy.frozen:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        maintenance = create_engine(
            engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT"
        )
        with maintenance.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{url.database}"'))
        maintenance.dispose()
        proxy.thaw()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
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
    assert "permission denied to create database" in output


def test_the_error_names_a_wrong_password(empty, engine):
    url = make_url(empty["DATABASE_URL"]).set(username="migrations_nobody", password="x")
    status, output = run(
        {"DATABASE_URL": url.render_as_string(hide_password=False)}, "db", "upgrade"
    )
    assert status == 1
    assert "migrations_nobody" in output
    assert "CREATE DATABASE" not in output


def test_a_database_ahead_of_an_older_image_is_not_an_error(empty, engine):
    assert run(empty, "db", "upgrade")[0] == 0
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    status, output = run(empty, "db", "upgrade")
    assert (status, "ahead of this version" in output) == (0, True), output
    assert run(empty, "db", "downgrade")[0] != 0  # but that one it cannot do


def test_a_run_waits_for_the_one_before_it(empty, engine):
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x6269727468})
        waiting = flask(empty, "db", "upgrade")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(3)
    output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, output


def test_models_and_migrations_do_not_drift(empty, engine):
    app = create_app(empty)
    with app.app_context():
        flask_migrate.upgrade()
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), db.metadata) == []
            migrated = connection.execute(text(CATALOGUE)).all()
        flask_migrate.downgrade(revision="base")
        db.create_all()
        with engine.connect() as connection:
            assert connection.execute(text(CATALOGUE)).all() == migrated
        db.engine.dispose()
    assert len(migrated) >= 7


def test_downgrade_and_upgrade_again(empty, engine):
    for arguments in (("upgrade",), ("downgrade", "base"), ("upgrade",)):
        status, output = run(empty, "db", *arguments)
        assert status == 0, output
    with engine.connect() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0001"
        )


def test_a_database_that_accepts_but_never_responds_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        status, output = run(
            {"DATABASE_URL": f"postgresql://me@127.0.0.1:{port}/x"}, "db", "upgrade"
        )
    assert status == 1
    assert "timeout expired" in output


def test_an_invalid_variable_is_reported_in_one_line():
    status, output = run({"DATABASE_URL": "nonsense"}, "db", "upgrade")
    assert status == 1
    assert output.startswith("Error: Invalid DATABASE_URL: expected postgresql://")
    assert output.count("\n") == 1
