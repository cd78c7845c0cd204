import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import flask_migrate
import psycopg2
import pytest
from flask import current_app
from sqlalchemy import exc, make_url, text

from scripts.postgres import Server, ensure_database
from web import create_app, storage
from web.storage import Person, db

BORN = {"dateOfBirth": "1990-05-17"}


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
    [("", "length"), ("x" * 65, "length"), ("e\u0301", "normalised"), ("a b", "letters"),
     ("a\n", "letters"), ("a1", "letters"), ("a\x7f", "letters"), ("[", "letters")],
)  # fmt: skip
def test_the_database_keeps_the_rules_too(context, name, constraint):
    with pytest.raises(psycopg2.errors.CheckViolation, match=f"person_username_{constraint}"):
        storage.save(name, date(1990, 5, 17))


@pytest.mark.parametrize("born", ["infinity", "10000-01-01", "0001-01-01 BC"])
def test_the_database_keeps_only_dates_that_python_knows(context, born):
    statement = text("INSERT INTO person VALUES ('John', CAST(:born AS date))")
    with pytest.raises(exc.IntegrityError, match="person_date_of_birth_range"):
        db.session.execute(statement, {"born": born})
    db.session.rollback()


def test_all_of_ascii_but_letters_is_refused_by_both(context):
    for code in range(1, 128):
        if not chr(code).isalpha():
            with pytest.raises(psycopg2.errors.CheckViolation):
                storage.save(f"a{chr(code)}", date(1990, 5, 17))


def test_a_statement_that_takes_too_long_is_given_up(context):
    with pytest.raises(storage.Unavailable) as error:
        storage._execute("SELECT pg_sleep(60)")
    assert isinstance(error.value.__cause__, psycopg2.errors.QueryCanceled)
    storage.ping()


def test_a_demoted_primary_is_unavailable(context):
    with pytest.raises(storage.Unavailable):
        storage._execute("BEGIN READ ONLY; DELETE FROM person")
    storage.ping()


def test_a_mistake_is_no_outage(context):
    with pytest.raises(psycopg2.errors.UndefinedTable):
        storage._execute("SELECT * FROM nothing")
    storage.ping()


def test_waiting_for_a_free_connection_ends(env, monkeypatch):
    monkeypatch.setattr(storage, "CONNECT_TIMEOUT", 0.2)
    app = create_app(env | {"DATABASE_POOL_SIZE": "1"})
    assert app.test_client().get("/readyz").status_code == 200
    with app.app_context():
        taken = app.extensions[storage.PLACES].get()
        assert app.test_client().get("/readyz").status_code == 503
        app.extensions[storage.PLACES].put(taken)
        assert app.test_client().get("/readyz").status_code == 200


def test_no_more_connections_are_opened_than_configured(env):
    app = create_app(env | {"DATABASE_POOL_SIZE": "3"})

    def ask(_):
        with app.app_context():
            return storage._execute("SELECT pg_backend_pid(), pg_sleep(0.02)")[0]

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(ask, range(48)))) == 3


def test_a_server_that_accepts_and_says_nothing_costs_three_seconds():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        client = create_app({"DATABASE_URL": f"postgresql://me@127.0.0.1:{port}/x"}).test_client()
        began = time.monotonic()
        assert client.get("/readyz").status_code == 503
        assert 2 < time.monotonic() - began < 15


@pytest.fixture
def server(home):
    server = Server(home / "outage", durable=False)
    server.start()
    yield server
    server.destroy()


def test_outages(server):
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
    assert time.monotonic() - began < 15
    for process in processes:
        os.kill(process, signal.SIGCONT)
    assert client.get("/hello/John").status_code == 200
    with app.app_context():
        db.engine.dispose()


class Passwords:
    """A database of which only the password counts; what was tried, in order."""

    def __init__(self, url):
        self.accepted, self.tried = "old", []
        self._url, self._connect = url, psycopg2.connect

    def connect(self, *_, password, **__):
        self.tried.append(password)
        if password != self.accepted:
            raise psycopg2.OperationalError('FATAL:  password authentication failed for user "x"')
        return self._connect(self._url)


@pytest.fixture
def rotated(database_url, monkeypatch):
    """An application that knows two passwords, and a database that takes one of them."""
    url = make_url(database_url)
    application = create_app(
        {
            "RDS_HOSTNAME": url.query.get("host") or url.host,
            "RDS_PORT": str(url.query.get("port") or url.port or 5432),
            "RDS_DB_NAME": url.database,
            "RDS_USERNAME": url.username,
            "RDS_PASSWORD": "old",
            "RDS_NEXT_PASSWORD": "new",
        }
    )
    passwords = Passwords(database_url)
    monkeypatch.setattr(psycopg2, "connect", passwords.connect)
    with application.app_context():
        yield passwords


def renew():
    """The next request opens a connection of its own."""
    places = current_app.extensions[storage.PLACES]
    for _ in range(places.qsize()):
        kept = places.get()
        if kept:
            kept.close()
        places.put(None)


def test_the_password_may_change_at_any_moment(rotated):
    storage.ping()
    assert rotated.tried == ["old"]
    rotated.accepted = "new"
    renew()
    storage.ping()
    assert rotated.tried == ["old", "old", "new"]
    renew()
    storage.ping()
    assert rotated.tried[3:] == ["new"]  # the one that was accepted comes first
    rotated.accepted = "old"
    renew()
    storage.ping()
    assert rotated.tried[4:] == ["new", "old"]


def test_a_database_that_takes_neither_password_is_unavailable(rotated):
    rotated.accepted = "another"
    with pytest.raises(storage.Unavailable):
        storage.ping()
    assert rotated.tried == ["old", "new"]


def test_another_failure_is_no_reason_to_try_the_other_password(rotated, monkeypatch):
    def connect(*_, **parameters):
        rotated.tried.append(parameters["password"])
        raise psycopg2.OperationalError("could not connect to server")

    monkeypatch.setattr(psycopg2, "connect", connect)
    with pytest.raises(storage.Unavailable):
        storage.ping()
    assert rotated.tried == ["old"]
