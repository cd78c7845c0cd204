"""The pool on a real PostgreSQL: freezes, broken answers, passwords."""

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.support.proxy import Proxy, tls_context
from tests.support.server import free_port, wait_until
from web import connection, create_app, outage, pool
from web.outage import Unavailable
from web.storage import POOL

# How many others wait for an advisory lock in this database
WAITS = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""
NEVER_HANGS = 30  # seconds; an answer that is not limited would take longer


@pytest.fixture
def quick(monkeypatch):
    """A shorter time limit, for tests that wait for it."""
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT", 0.3)


@pytest.fixture
def url(database_url, app):
    return make_url(database_url)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return tls_context(tmp_path_factory.mktemp("tls"))


def pool_through(proxy, url, mode):
    """A pool whose database is behind ``proxy``."""
    through = url.set(host="127.0.0.1", port=proxy.port, query={"sslmode": mode})
    return pool.Pool(through.set(drivername="postgresql+psycopg2"), 1)


def server_of(url):
    return url.host, url.port or 5432


@pytest.fixture(params=["disable", "require"])
def make_proxy(request, url, tls):
    mode = request.param
    return mode, lambda freeze_at=None: Proxy(server_of(url), tls if mode == "require" else None, freeze_at)  # fmt: skip


def answers(asked):
    """Whether the database answers a statement in time."""
    try:
        return asked.fetch("SELECT 1") == (1,)
    except Unavailable:
        return False


def messages_of(url, mode, make, requests):
    """How many messages PostgreSQL answers to so many statements on one new connection."""
    while True:  # once, but where this machine is busy
        with make() as proxy:
            asked = pool_through(proxy, url, mode)
            in_time = [answers(asked) for _ in range(requests)]
            asked.close()
            if all(in_time):
                return proxy.messages


def freeze(url, mode, make, message, kept):
    """Freeze the server before one message: the statement fails in time, and later ones do not.

    Messages are counted from the login, or from the first one on a ``kept`` connection.
    """
    with make(None if kept else message) as proxy:
        asked = pool_through(proxy, url, mode)
        if kept:
            wait_until(lambda: answers(asked), f"message {message}")
            proxy.freeze_at = proxy.messages + message
        assert not answers(asked), message
        proxy.thaw()
        wait_until(lambda: answers(asked), f"message {message}, kept: {kept}")
        asked.close()


def test_a_freeze_at_any_message_ends_in_time(url, make_proxy, quick):
    """Or it would never end, because the server goes on only afterwards."""
    mode, make = make_proxy
    new = messages_of(url, mode, make, 1)
    both = messages_of(url, mode, make, 2)
    assert new > 20
    assert both > new
    points = [(message, False) for message in range(new)]
    points += [(message, True) for message in range(both - new)]
    with ThreadPoolExecutor(8) as threads:  # more would need all the time limit for their logins
        list(threads.map(lambda point: freeze(url, mode, make, *point), points))


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


def test_what_a_given_up_connection_has_not_delivered_is_forgotten(quick):
    """It is reset: closed gently, the kernel would deliver a statement long after its caller got 503."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"postgresql+psycopg2://me@127.0.0.1:{listener.getsockname()[1]}/x?sslmode=disable"
        silent = pool.Pool(make_url(url), 1)
        with pytest.raises(Unavailable):
            silent.fetch("SELECT 1")
        server, _ = listener.accept()
        with server, pytest.raises(ConnectionResetError):
            list(iter(lambda: server.recv(1000), b""))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I" + b"\xff" * 64])  # fmt: skip
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
def test_outages_are_told_from_wrong_statements(error, outage):
    assert connection.is_outage(error) is outage


def test_no_more_connections_are_opened_than_configured(env, context, monkeypatch):
    monkeypatch.setattr(outage, "PATIENCE", 60)  # a busy machine must not end a wait
    app = create_app(env | {"DATABASE_POOL_SIZE": "3"})
    fetch = app.extensions[POOL].fetch
    with ThreadPoolExecutor(12) as threads:
        rows = threads.map(lambda _: fetch("SELECT pg_backend_pid(), pg_sleep(0.02)"), range(48))
    assert len({process for process, _ in rows}) == 3
    app.extensions[POOL].close()


@pytest.fixture
def patient(monkeypatch):
    """Longer time limits, for tests in which nothing may be ended by them on a busy machine."""
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT", NEVER_HANGS)
    monkeypatch.setattr(connection, "STATEMENT_TIMEOUT", NEVER_HANGS)


def test_waiting_for_a_free_connection_ends_and_is_logged(env, context, lines, patient):
    app = create_app(env | {"DATABASE_POOL_SIZE": "1"})
    client = app.test_client()
    other = create_app(env | {"DATABASE_POOL_SIZE": "1"}).extensions[POOL]
    other.fetch("SELECT pg_advisory_lock(1)")
    occupy = "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)"
    occupying = threading.Thread(target=app.extensions[POOL].fetch, args=(occupy,))
    occupying.start()
    wait_until(lambda: other.fetch(WAITS) == (1,), "the other thread")
    assert client.get("/readyz").status_code == 503
    other.fetch("SELECT pg_advisory_unlock(1)")
    occupying.join()
    assert client.get("/readyz").status_code == 200
    reasons = [line["reason"] for line in lines() if line["level"] == "error"]
    assert reasons == ["all connections were in use for 0.5 s"]
    for each in (app.extensions[POOL], other):
        each.close()


def test_a_connection_that_the_server_closed_is_replaced(env, context, person):
    app = create_app(env | {"DATABASE_POOL_SIZE": "1"})
    fetch = app.extensions[POOL].fetch
    (first,) = fetch("SELECT pg_backend_pid()")
    other = create_app(env).extensions[POOL]
    other.fetch("SELECT pg_terminate_backend(%s, 5000)", first)
    (second,) = fetch("SELECT pg_backend_pid()")
    assert second != first
    for each in (app.extensions[POOL], other):
        each.close()


def test_a_statement_is_cancelled_by_the_server_too(env, context, patient, monkeypatch):
    """Or it would be executed, perhaps much later, for a caller who was told that it was not."""
    monkeypatch.setattr(connection, "STATEMENT_TIMEOUT", 0.2)
    app = create_app(env)
    assert app.extensions[POOL].fetch("SHOW statement_timeout") == ("200ms",)
    with pytest.raises(Unavailable) as failure:
        app.extensions[POOL].fetch("SELECT pg_sleep(60)")
    assert isinstance(failure.value.__cause__, psycopg2.errors.QueryCanceled)
    assert app.extensions[POOL].fetch("SELECT 1") == (1,)
    app.extensions[POOL].close()


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
    tls_context(tmp_path)  # another authority than the one of the server
    with Proxy(server_of(url), tls) as proxy:
        query = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "server.pem")}
        through = wrong(url, host="127.0.0.1", port=proxy.port, query=query)
        refuses(create_app({"DATABASE_URL": through}), "certificate verify failed", lines)


def refuses(app, reason, lines):
    """The application answers 503 three times, and says once why."""
    for _ in range(3):
        assert app.test_client().get("/readyz").status_code == 503
    (line,) = (line for line in lines() if line["logger"] == "web.database")
    assert line["message"] == "the database is unavailable"
    assert reason in line["reason"]
    assert line["exception"] == "web.connection.LoginFailed"


class Passwords:
    """A database of which only the password counts; what was tried, in order."""

    def __init__(self, url):
        self.accepted, self.tried = "old", []
        self._url, self._connect = url, psycopg2.connect

    def connect(self, *, password, **parameters):
        self.tried.append(password)
        if password != self.accepted:
            raise psycopg2.OperationalError('FATAL:  password authentication failed for user "x"')
        return self._connect(self._url, async_=True)


@pytest.fixture
def rotated(url, monkeypatch):
    """A pool that knows two passwords, and a database that takes one of them."""
    passwords = Passwords(url.render_as_string(hide_password=False))
    passwords.pool = pool.Pool(url.set(drivername="postgresql+psycopg2", password="old"), 2, "new")
    monkeypatch.setattr(psycopg2, "connect", passwords.connect)
    yield passwords
    passwords.pool.close()


def ping(rotated):
    rotated.pool.close()  # the next request opens a connection of its own
    rotated.pool.fetch("SELECT 1")


def test_the_password_may_change_at_any_moment(rotated):
    ping(rotated)
    assert rotated.tried == ["old"]
    rotated.accepted = "new"
    ping(rotated)
    assert rotated.tried == ["old", "old", "new"]
    ping(rotated)
    assert rotated.tried[3:] == ["new"]  # the one that was accepted comes first
    rotated.accepted = "old"
    ping(rotated)
    assert rotated.tried[4:] == ["new", "old"]


def test_a_database_that_refuses_both_passwords_is_unavailable(rotated):
    rotated.accepted = "another"
    with pytest.raises(Unavailable):
        ping(rotated)
    assert rotated.tried == ["old", "new"]


def test_after_other_failures_the_second_password_is_not_tried(rotated, monkeypatch):
    def connect(**parameters):
        rotated.tried.append(parameters["password"])
        raise psycopg2.OperationalError("could not connect to server")

    monkeypatch.setattr(psycopg2, "connect", connect)
    with pytest.raises(Unavailable):
        ping(rotated)
    assert rotated.tried == ["old"]
