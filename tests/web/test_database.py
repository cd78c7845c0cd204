"""The database's limits on a real PostgreSQL: freezes, late and locked writes, passwords, settings."""

import os
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date

import psycopg2
import pytest
from sqlalchemy import make_url, text

from tests.support.certificates import Authority
from tests.support.proxy import Proxy
from tests.support.server import free_port, wait_until
from web import connection as connections
from web import create_app, database, outage, storage
from web.storage import db

NEVER_HANGS = 30  # seconds; an answer that is not limited would take longer
BORN = {"dateOfBirth": "1990-05-17"}
# werkzeug parses each route as Python, which two threads cannot do at the same time in Python 3.11
MAKING = threading.Lock()


@pytest.fixture
def quick(monkeypatch):
    """A shorter time limit, for tests that wait for it."""
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT", 0.3)


@pytest.fixture
def patient(monkeypatch):
    """Longer time limits, for tests in which nothing may be ended by them on a busy machine."""
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT", NEVER_HANGS)
    monkeypatch.setattr(connections, "STATEMENT_TIMEOUT", NEVER_HANGS)
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", NEVER_HANGS / 2)


@pytest.fixture
def url(database_url, app):
    return make_url(database_url)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return Authority().serving("localhost", tmp_path_factory.mktemp("tls"))


def cursor(statement):
    with database.autocommit(db.engine) as asked:
        asked.execute(statement)
        return asked.fetchone()


def connection(statement):
    with db.engine.begin() as asked:
        return asked.execute(text(statement)).first()


def session(statement):
    return db.session.execute(text(statement)).first()


KINDS = (cursor, connection, session)  # ways to use the database, all with the same limits


@contextmanager
def serving(url, threads="2"):
    """A client whose application has one connection to the database of ``url`` in all.

    It also serves a path for each of KINDS, which executes the statement in its body.
    """
    with MAKING:
        app = create_app({"DATABASE_URL": text_of(url), "THREADS": threads})
        for kind in KINDS:
            view = lambda kind=kind: str(kind(app.config["STATEMENT"]))  # noqa: E731
            app.add_url_rule(f"/{kind.__name__}", kind.__name__, view)
    try:
        yield app.test_client()
    finally:
        with app.app_context():
            db.engine.dispose()


def get(client, kind, statement):
    """The status of a request that executes ``statement``."""
    client.application.config["STATEMENT"] = statement
    return client.get(f"/{kind.__name__}").status_code


def text_of(url):
    return url.render_as_string(hide_password=False)


def behind(proxy, url, mode="disable"):
    """``url`` by way of ``proxy``."""
    return url.set(host="127.0.0.1", port=proxy.port, query={"sslmode": mode})


def server_of(url):
    return url.host, url.port or 5432


@contextmanager
def other(url):
    """A database session of another program, in which everything is committed at once."""
    opened = psycopg2.connect(text_of(url))
    opened.autocommit = True
    with opened.cursor() as asked:
        yield asked
    opened.close()


@pytest.fixture(params=["disable", "require"])
def make_proxy(request, url, tls):
    mode = request.param
    return mode, lambda freeze_at=None: Proxy(
        server_of(url), tls if mode == "require" else None, freeze_at
    )


def answers(client):
    """Whether the database answers a request in time."""
    return client.get("/readyz").status_code == 200


def messages_of(url, mode, make, requests):
    """How many messages PostgreSQL answers to so many requests on one new connection."""
    while True:  # once, but where this machine is busy
        with make() as proxy, serving(behind(proxy, url, mode)) as client:
            in_time = [answers(client) for _ in range(requests)]
            if all(in_time):
                return proxy.messages


def freeze(url, mode, make, message, kept):
    """Freeze the server before one message: the request fails in time, and later ones do not.

    Messages are counted from the login, or from the first one on a ``kept`` connection.
    """
    with make(None if kept else message) as proxy, serving(behind(proxy, url, mode)) as client:
        if kept:
            wait_until(lambda: answers(client), f"message {message}")
            proxy.freeze_at = proxy.messages + message
        assert not answers(client), message
        proxy.thaw()
        wait_until(lambda: answers(client), f"message {message}, kept: {kept}")


def test_a_freeze_at_any_message_ends_in_time(url, make_proxy, quick):
    """Or it would never end, because the server goes on only afterwards.

    The first messages answer the login and the engine's own questions.
    """
    mode, make = make_proxy
    new = messages_of(url, mode, make, 1)
    both = messages_of(url, mode, make, 2)
    assert new > 20
    assert both > new
    points = [(message, False) for message in range(new)]
    points += [(message, True) for message in range(both - new)]
    with ThreadPoolExecutor(8) as threads:  # more would need all the time limit for their logins
        list(threads.map(lambda point: freeze(url, mode, make, *point), points))


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_to_use_the_database_has_the_limits(url, kind, quick):
    """A silent server, also at the first connection, and one that stops at a kept connection."""
    with Proxy(server_of(url), None, 0) as proxy, serving(behind(proxy, url)) as client:
        assert get(client, kind, "SELECT 1") == 503
        proxy.thaw()
        wait_until(lambda: get(client, kind, "SELECT 1") == 200, "a connection")
        proxy.freeze_at = proxy.messages
        assert get(client, kind, "SELECT 1") == 503
        proxy.thaw()
        wait_until(lambda: get(client, kind, "SELECT 1") == 200, "another connection")


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_ends_a_statement_that_never_ends(url, kind, patient, monkeypatch):
    monkeypatch.setattr(connections, "STATEMENT_TIMEOUT", 0.2)
    with serving(url) as client:
        assert get(client, kind, "SELECT pg_sleep(60)") == 503
        assert get(client, kind, "SELECT 1") == 200


def test_the_limit_is_that_of_a_request_and_not_of_a_statement(url, monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT", 1)
    with serving(url) as client:

        def view():
            for _ in range(10):
                cursor("SELECT pg_sleep(0.3)")

        client.application.add_url_rule("/many", "many", view)
        assert client.get("/many").status_code == 503
        wait_until(lambda: get(client, cursor, "SELECT 1") == 200, "the next request")


def test_a_session_that_fails_between_two_writes_has_written_nothing(url, context, patient):
    with serving(url) as client:

        def view():
            for name in ("Ann", "Bob"):
                db.session.add(storage.Person(username=name, date_of_birth=date(1990, 5, 17)))
                db.session.flush()
            raise LookupError

        client.application.add_url_rule("/fails", "fails", view)
        assert client.get("/fails").status_code == 500
        assert client.get("/hello/Ann").status_code == 404
        assert client.get("/hello/Bob").status_code == 404


def test_a_transaction_that_was_left_open_is_undone(url, context, patient):
    with serving(url) as client:

        def view():
            pooled = db.engine.raw_connection()
            pooled.cursor().execute("INSERT INTO person VALUES ('Ann', '1990-05-17')")
            pooled.close()
            return "left"

        client.application.add_url_rule("/left", "left", view)
        assert client.get("/left").status_code == 200
        assert client.put("/hello/Bob", json=BORN).status_code == 204
        assert client.get("/hello/Ann").status_code == 404


def test_a_response_that_arrives_byte_by_byte_is_not_waited_for(quick):
    """Each byte comes in time, but not the whole."""

    def drip():
        client, _ = listener.accept()
        with client:
            client.recv(1024)
            for byte in b"R" + struct.pack("!ii", 1000, 10) + b"SCRAM-SHA-256\0" * 60:
                try:
                    client.sendall(bytes([byte]))
                except OSError:
                    return
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, daemon=True).start()
        port = listener.getsockname()[1]
        app = create_app({"DATABASE_URL": f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable"})
        began = time.monotonic()
        assert app.test_client().get("/readyz").status_code == 503
        assert time.monotonic() - began < NEVER_HANGS


@pytest.mark.parametrize("kind", KINDS)
def test_undelivered_data_of_an_abandoned_connection_is_discarded(quick, kind):
    """It is reset: closed gently, the kernel would deliver a statement long after its caller got 503."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"postgresql://me@127.0.0.1:{listener.getsockname()[1]}/x?sslmode=disable"
        with serving(make_url(url)) as client:
            assert get(client, kind, "SELECT 1") == 503
        server, _ = listener.accept()
        with server, pytest.raises(ConnectionResetError):
            list(iter(lambda: server.recv(1000), b""))


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_write_that_arrives_late_changes_nothing(url, context, monkeypatch, method):
    """Something between us and PostgreSQL still delivers it, after its caller has got 503."""
    with Proxy(server_of(url)) as proxy, serving(behind(proxy, url)) as slow, serving(url) as fast:
        wait_until(lambda: slow.get("/readyz").status_code == 200, "a connection")
        answered = proxy.messages
        proxy.delivering.clear()
        with monkeypatch.context() as limits:
            limits.setattr(connections, "ANSWER_TIMEOUT", 0.5)
            first = getattr(slow, method)("/hello/Ann", json={"dateOfBirth": "1990-01-01"})
        assert first.status_code == 503
        second = {"dateOfBirth": "2000-02-02"}
        wait_until(lambda: fast.put("/hello/Ann", json=second).status_code == 204, "the second")
        proxy.delivering.set()
        wait_until(lambda: proxy.messages > answered, "the first one's answer")
        with slow.application.app_context():
            assert find_date("Ann") == date(2000, 2, 2)


def find_date(name):
    """The date that is saved, whatever else is."""
    query = text("SELECT date_of_birth FROM person WHERE username = :name")
    return db.session.scalar(query, {"name": name})


@pytest.mark.parametrize("step", [3600, -3600])
def test_a_step_of_the_servers_clock_costs_one_write_per_connection(url, context, patient, step):
    """The deadline of a write is by the server's clock, which is read at each login."""
    with serving(url) as client:
        assert client.put("/hello/Ann", json=BORN).status_code == 204
        with client.application.app_context():
            pooled = db.engine.raw_connection()
            pooled.driver_connection.clock -= step
            pooled.close()
        later = {"dateOfBirth": "2000-02-02"}
        assert client.put("/hello/Ann", json=later).status_code == (503 if step > 0 else 204)
        assert client.put("/hello/Bob", json=BORN).status_code == 204
        with client.application.app_context():
            assert find_date("Ann") == (date(1990, 5, 17) if step > 0 else date(2000, 2, 2))


def test_a_locked_row_is_unavailable_and_the_database_is_not(url, context, person, lines):
    """The one who writes it gets 503 soon, and the others do not notice."""
    person(username="Ann")
    with serving(url) as client, other(url) as holder:
        holder.execute("BEGIN; SELECT FROM person WHERE username = 'Ann' FOR UPDATE")
        for _ in range(3):
            assert client.put("/hello/Ann", json=BORN).status_code == 503
            assert client.delete("/hello/Ann").status_code == 503
            assert client.get("/hello/Ann").status_code == 200
            assert client.put("/hello/Bob", json=BORN).status_code == 204
        holder.execute("ROLLBACK")
        assert client.put("/hello/Ann", json=BORN).status_code == 204
    assert {line["message"] for line in lines() if line["logger"] == "web.database"} == {
        "another session has locked the row"
    }


def wait_until_one_waits(url, lock):
    """Wait until a statement waits for a ``lock``, by a condition on pg_locks."""
    with other(url) as asked:

        def is_waiting():
            asked.execute(f"SELECT 1 FROM pg_locks WHERE NOT granted AND {lock}")
            return asked.fetchone()

        wait_until(is_waiting, "the write")


def test_a_row_still_locked_after_its_table_is_not_waited_for(
    url, context, person, patient, monkeypatch, lines
):
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", 0.05)
    person(username="Ann")
    with serving(url) as client, other(url) as holder, ThreadPoolExecutor(1) as thread:
        holder.execute("BEGIN; SELECT FROM person FOR UPDATE; SAVEPOINT row_only")
        holder.execute("LOCK TABLE person IN ACCESS EXCLUSIVE MODE")
        answer = thread.submit(client.put, "/hello/Ann", json=BORN)
        wait_until_one_waits(url, "relation IS NOT NULL")
        holder.execute("SELECT pg_sleep(0.2); ROLLBACK TO row_only")
        assert answer.result().status_code == 503
    (line,) = (line for line in lines() if line["logger"] == "web.database")
    assert line["message"] == "another session has locked the row"


def test_a_locked_table_is_waited_for(url, context, patient, monkeypatch):
    """As while a migration changes it: longer than for a row."""
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", 0.01)
    with serving(url) as client, other(url) as holder, ThreadPoolExecutor(1) as thread:
        holder.execute("BEGIN; LOCK TABLE person IN ACCESS EXCLUSIVE MODE")
        answer = thread.submit(client.put, "/hello/Ann", json=BORN)
        wait_until_one_waits(url, "mode = 'RowExclusiveLock'")
        holder.execute("SELECT pg_sleep(0.1); ROLLBACK")
        assert answer.result().status_code == 204


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I" + b"\xff" * 64,
    ],
)
def test_a_server_other_than_postgresql_is_unavailable(answer, quick):
    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(1024)
                client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        app = create_app({"DATABASE_URL": f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable"})
        assert app.test_client().get("/readyz").status_code == 503
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (psycopg2.DatabaseError("lost synchronization with server"), True),
        (psycopg2.DataError("unable to parse date"), True),
        (psycopg2.OperationalError(), True),
        (psycopg2.InterfaceError(), True),
        (psycopg2.errors.QueryCanceled(), True),
        (psycopg2.errors.AdminShutdown(), True),
        (psycopg2.errors.TooManyConnections(), True),
        (psycopg2.errors.DiskFull(), True),
        (psycopg2.ProgrammingError("can't adapt type"), False),
        (psycopg2.errors.SyntaxError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_statement_is_not_taken_for_an_outage(error, outage):
    assert (database.find_outage(error) is not None) is outage


@pytest.mark.parametrize("threads", ["2", "4"])
def test_no_more_connections_are_opened_than_threads_less_one(url, patient, monkeypatch, threads):
    monkeypatch.setattr(outage, "PATIENCE", 60)  # a busy machine must not end a wait
    with serving(url, threads) as client, client.application.app_context():

        def ask(_):
            with client.application.app_context():
                return cursor("SELECT pg_backend_pid(), pg_sleep(0.02)")

        with ThreadPoolExecutor(12) as asking:
            processes = {process for process, _ in asking.map(ask, range(48))}
        assert len(processes) == int(threads) - 1


def test_waiting_for_a_free_connection_ends_and_is_logged(url, lines, patient):
    with serving(url) as client, other(url) as holder, ThreadPoolExecutor(1) as thread:
        holder.execute("SELECT pg_advisory_lock(1)")
        occupy = "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)"
        occupying = thread.submit(get, client, cursor, occupy)

        def is_waiting():
            holder.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return holder.fetchone()

        wait_until(is_waiting, "the other request")
        assert client.get("/readyz").status_code == 503
        holder.execute("SELECT pg_advisory_unlock(1)")
        assert occupying.result() == 200
        assert client.get("/readyz").status_code == 200
    reasons = [line["reason"] for line in lines() if line["level"] == "error"]
    assert reasons == ["all connections were in use for 0.5 s"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_the_server_closed_is_replaced(url, patient, kind):
    with serving(url) as client, other(url) as asked:
        assert get(client, kind, "SELECT 1") == 200
        asked.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert get(client, kind, "SELECT 1") == 200


AMBIENT = {
    "PGCLIENTENCODING": "LATIN1",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGSERVICE": "nowhere",
    "PGHOSTADDR": "192.0.2.1",
    "PGDATESTYLE": "German",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSSLMODE": "verify-full",
}
OF_A_DATABASE = {
    "client_encoding": "LATIN1",
    "DateStyle": "German, DMY",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "lock_timeout": "1",
    "role": "pg_monitor",
    "search_path": "elsewhere",
    "standard_conforming_strings": "off",
    "statement_timeout": "1",
    "TimeZone": "Pacific/Kiritimati",
}


def works(client):
    """Save, greet and delete somebody."""
    assert client.get("/readyz").status_code == 200
    assert client.put("/hello/\u674e", json=BORN).status_code == 204
    assert client.get("/hello/\u674e").status_code == 200
    assert client.delete("/hello/\u674e").status_code == 204
    assert client.get("/hello/\u674e").status_code == 404


@pytest.mark.parametrize("name", AMBIENT)
def test_no_variable_of_libpq_changes_an_answer(url, context, patient, monkeypatch, name):
    monkeypatch.setenv(name, AMBIENT[name])
    with serving(url) as client:
        works(client)
    monkeypatch.setenv(name, "")  # to be deleted again


@pytest.mark.parametrize("name", OF_A_DATABASE)
def test_no_setting_of_the_database_changes_an_answer(url, context, patient, name):
    alter = f'ALTER DATABASE "{url.database}" {{}} {name}'
    with other(url) as asked:
        asked.execute(f"{alter.format('SET')} TO '{OF_A_DATABASE[name]}'")
        try:
            with serving(url) as client:
                works(client)
        finally:
            asked.execute(alter.format("RESET"))


def test_a_database_with_another_encoding_is_unavailable(url, lines):
    name = f"latin_{os.getpid()}_test"
    with other(url) as asked:
        asked.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")
        with serving(url.set(database=name)) as client:
            assert client.get("/readyz").status_code == 503
        asked.execute(f"DROP DATABASE {name}")
    (line,) = (line for line in lines() if line["logger"] == "web.database")
    assert line["reason"].startswith("its encoding is SQL_ASCII: create it with ENCODING 'UTF8'")


def wrong(url, **changes):
    return url.set(**changes).render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda url: {"password": f"not {url.password}"},
            "password authentication failed for user",
        ),
        (lambda url: {"database": "nowhere"}, 'database "nowhere" does not exist'),
        (lambda url: {"port": free_port(), "query": {}}, "Connection refused"),
        (lambda url: {"host": "nowhere.invalid", "query": {}}, "nowhere.invalid"),
    ],
    ids=["password", "database", "port", "host"],
)
def test_the_log_says_why_the_database_cannot_be_reached(url, change, reason, lines):
    refuses(create_app({"DATABASE_URL": wrong(url, **change(url))}), reason, lines)


def test_the_log_says_that_the_certificate_is_not_trusted(url, tls, lines, tmp_path):
    another = tmp_path / "authority.pem"
    another.write_bytes(Authority("another").pem)
    with Proxy(server_of(url), tls) as proxy:
        query = {"sslmode": "verify-full", "sslrootcert": str(another)}
        through = wrong(url, host="127.0.0.1", port=proxy.port, query=query)
        refuses(create_app({"DATABASE_URL": through}), "certificate verify failed", lines)


def refuses(app, reason, lines):
    """The application answers 503 three times, and says once why."""
    for _ in range(3):
        assert app.test_client().get("/readyz").status_code == 503
    (line,) = (line for line in lines() if line["logger"] == "web.database")
    assert line["message"] == "the database is unavailable"
    assert reason in line["reason"]
    assert line["exception"] == "psycopg2.OperationalError"


class Passwords:
    """A database of which only the password counts; what was tried, in order."""

    def __init__(self, url):
        self.accepted, self.tried = "old", []
        self._url, self._connect = url, psycopg2.connect

    def connect(self, *, password, **parameters):
        self.tried.append(password)
        if password != self.accepted:
            raise psycopg2.OperationalError('FATAL:  password authentication failed for user "x"')
        return self._connect(self._url)


@pytest.fixture
def rotated(url, monkeypatch):
    """A login that knows two passwords, and a database that takes one of them."""
    passwords = Passwords(text_of(url))
    passwords.login = connections.Login(url.set(password="old"), "new")
    monkeypatch.setattr(psycopg2, "connect", passwords.connect)
    return passwords


def test_the_password_may_change_at_any_moment(rotated):
    rotated.login().close()
    assert rotated.tried == ["old"]
    rotated.accepted = "new"
    rotated.login().close()
    assert rotated.tried == ["old", "old", "new"]
    rotated.login().close()
    assert rotated.tried[3:] == ["new"]  # the one that was accepted comes first
    rotated.accepted = "old"
    rotated.login().close()
    assert rotated.tried[4:] == ["new", "old"]


def test_a_database_that_refuses_both_passwords_is_unavailable(rotated):
    rotated.accepted = "another"
    with pytest.raises(psycopg2.OperationalError):
        rotated.login()
    assert rotated.tried == ["old", "new"]


def test_after_other_failures_the_second_password_is_not_tried(rotated, monkeypatch):
    def connect(**parameters):
        rotated.tried.append(parameters["password"])
        raise psycopg2.OperationalError("could not connect to server")

    monkeypatch.setattr(psycopg2, "connect", connect)
    with pytest.raises(psycopg2.OperationalError):
        rotated.login()
    assert rotated.tried == ["old"]
