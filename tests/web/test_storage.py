import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import flask_migrate
import psycopg2
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import exc, text

from tools.postgres import Server, ensure_database
from web import create_app, database, storage
from web.storage import Person, db

BORN = {"dateOfBirth": "1990-05-17"}


def execute(statement):
    """Execute a statement that the application does not have, as it executes its own."""
    with database.autocommit(db.engine) as cursor:
        cursor.execute(statement)


def test_what_is_saved_is_found(context):
    assert storage.find("John") is None
    storage.save("John", date(1990, 5, 17))
    assert storage.find("John") == date(1990, 5, 17)
    storage.save("John", date(1, 1, 1))
    assert storage.find("John") == date(1, 1, 1)
    assert storage.find("john") is None


def test_twenty_first_puts_at_once_make_one_row(app, context):
    start = threading.Barrier(20)

    def put(day):
        start.wait()
        with app.app_context():
            return app.test_client().put("/hello/John", json={"dateOfBirth": f"1990-01-{day:02}"})

    with ThreadPoolExecutor(20) as pool:
        statuses = {response.status_code for response in pool.map(put, range(1, 21))}
    assert statuses == {204}
    assert db.session.query(Person).count() == 1


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("", "length"),
        ("x" * 65, "length"),
        ("e\u0301", "normalised"),
        ("a b", "letters"),
        ("a\n", "letters"),
        ("a1", "letters"),
        ("a\x7f", "letters"),
        ("[", "letters"),
    ],
)
def test_the_database_enforces_the_rules_as_well(context, name, constraint):
    with pytest.raises(psycopg2.errors.CheckViolation, match=f"person_username_{constraint}"):
        storage.save(name, date(1990, 5, 17))


@pytest.mark.parametrize("born", ["infinity", "10000-01-01", "0001-01-01 BC"])
def test_the_database_accepts_only_dates_that_python_can_represent(context, born):
    statement = text("INSERT INTO person VALUES ('John', CAST(:born AS date))")
    with pytest.raises(exc.IntegrityError, match="person_date_of_birth_range"):
        db.session.execute(statement, {"born": born})
    db.session.rollback()


def test_ascii_other_than_letters_is_refused_by_both(context):
    for code in range(1, 128):
        if not chr(code).isalpha():
            with pytest.raises(psycopg2.errors.CheckViolation):
                storage.save(f"a{chr(code)}", date(1990, 5, 17))


def test_a_demoted_primary_is_unavailable(context):
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction) as failure:
        execute("BEGIN READ ONLY; DELETE FROM person")
    assert storage.find_outage(failure.value)
    storage.ping()


@pytest.mark.parametrize("wrong", ["nothing FROM person", "1 FROM nobody", "nothing(1)", "SELECT"])
def test_a_wrong_statement_is_not_an_outage(context, wrong):
    with pytest.raises(psycopg2.ProgrammingError) as failure:
        execute(f"SELECT {wrong}")
    assert storage.find_outage(failure.value) is None
    storage.ping()


OLDER = [
    ("ALTER TABLE person RENAME TO moved", "ALTER TABLE moved RENAME TO person"),
    (
        "ALTER TABLE person RENAME date_of_birth TO moved",
        "ALTER TABLE person RENAME moved TO date_of_birth",
    ),
    ("ALTER TABLE alembic_version RENAME TO moved", "ALTER TABLE moved RENAME TO alembic_version"),
]


@pytest.mark.parametrize(("change", "undo"), OLDER)
def test_without_a_table_or_column_the_service_is_not_ready_and_says_why(
    app, context, lines, change, undo
):
    client = app.test_client()
    try:
        execute(change)
        answer = client.get("/readyz")
        used = client.get("/hello/John")
    finally:
        execute(undo)
    assert answer.status_code == 503
    assert "older than this version: run 'flask db upgrade'" in answer.json["detail"]
    assert used.status_code == (404 if "alembic" in change else 503)
    assert "schema" not in used.json["detail"]
    assert client.get("/readyz").status_code == 200
    line = next(line for line in lines() if line["logger"] == "web.database")
    assert line["reason"] == storage.OUTDATED


def test_a_revision_before_the_newest_is_not_ready_and_one_after_it_is(app, context, monkeypatch):
    client = app.test_client()
    now = ScriptDirectory(storage.migrate.directory).get_current_head()
    for known, newest, status in (({now, "next"}, "next", 503), ({"0000"}, "0000", 200)):
        monkeypatch.setattr(storage, "_revisions", lambda _, given=(known, newest): given)
        assert client.get("/readyz").status_code == status


@pytest.fixture
def server(home):
    server = Server(home / "outage", durable=False)
    server.start()
    yield server
    server.destroy()


@pytest.mark.process
def test_each_kind_of_outage_is_unavailable(server):
    """Stop, start and freeze a real server below an application that is in use."""
    ensure_database(server.url("postgres"), "outage_test")
    app = create_app({"DATABASE_URL": server.url("outage_test")})
    client = app.test_client()
    with app.app_context():
        flask_migrate.upgrade()
    with ThreadPoolExecutor(4) as pool:  # fill the pool
        list(pool.map(lambda _: app.test_client().put("/hello/John", json=BORN), range(40)))
    server.stop()
    for response in (
        client.get("/hello/John"),
        client.put("/hello/John", json=BORN),
        client.get("/readyz"),
    ):
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert response.content_type == "application/problem+json"
    assert client.get("/livez").status_code == 200
    server.start()
    assert client.get("/hello/John").status_code == 200  # the very first one
    server.stop()
    server.start()
    assert client.get("/hello/John").status_code == 200  # nor did anybody notice this time

    processes = server.process_ids()
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    began = time.monotonic()
    assert client.get("/hello/John").status_code == 503
    assert time.monotonic() - began < 60  # without a limit, it would wait for the server
    for process in processes:
        os.kill(process, signal.SIGCONT)
    assert client.get("/hello/John").status_code == 200
    with app.app_context():
        db.engine.dispose()
