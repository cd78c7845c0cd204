"""The smoke test must fail where the service does not do what it should."""

import functools
import hashlib
import json
import re
import socket
import ssl
import threading
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from werkzeug.serving import make_server

from deploy.base.changes import Changes
from deploy.base.errors import Unhealthy
from deploy.config import environments
from deploy.delivery import client, smoke
from tests.support.aws import APPLICATION
from tests.support.certificates import Authority
from web import create_app
from web.birthday import days_until_birthday
from web.storage import Person, db

POLL = 0.01  # seconds between a server's checks for a request to shut down


@pytest.fixture
def serve():
    """Serves a WSGI application, behind a proxy stub that blocks the operators' paths."""
    servers = []

    def run(app, tls=None, blocks=True):
        def front(environ, start_response):
            if blocks and environ["PATH_INFO"] == "/readyz":
                start_response("404 Not Found", [])
                return [b""]
            return app(environ, start_response)

        server = make_server("127.0.0.1", 0, front, threaded=True, ssl_context=tls)
        thread = threading.Thread(target=server.serve_forever, args=[POLL])
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield run
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def check(run):
    """Runs the smoke test, with one attempt per check."""
    impatient = replace(run, settings=replace(run.settings, smoke_timeout=0))
    return functools.partial(smoke.check_url, impatient)


@pytest.fixture
def saved(app, context):
    """The names of all saved people; none at first."""

    def names():
        with app.app_context():
            return set(db.session.scalars(select(Person.username)))

    return names


def test_it_passes_on_the_real_application(saved, env, serve, check, capsys):
    check(serve(create_app(env | {"APP_VERSION": "v1"})), label="v1")
    assert capsys.readouterr().err.count(": ok\n") == 5
    assert saved() == set()


def recorded(application):
    """The application, and the paths of the requests to save somebody."""
    paths = []

    def app(environ, start_response):
        if environ["REQUEST_METHOD"] == "PUT":
            paths.append(environ["PATH_INFO"])
        return application(environ, start_response)

    return app, paths


def test_two_concurrent_smoke_tests_use_different_users(app, env, serve, check):
    recorder, paths = recorded(create_app(env))
    url = serve(recorder)
    check(url)
    check(url)
    assert len(paths) == 4  # each run saves a valid date, and tries an invalid one that is refused
    assert len(set(paths)) == 2
    assert all(re.fullmatch(r"/hello/SmokeTest[A-Za-z]{16}", path) for path in paths)


def instead(application, status, when):
    """The application, but it answers ``status`` to whatever ``when(method)`` says."""

    def app(environ, start_response):
        if when(environ["REQUEST_METHOD"]):
            start_response(status, [])
            return [b""]
        return application(environ, start_response)

    return app


def test_the_user_of_a_failed_smoke_test_is_deleted(saved, env, serve, check, capsys):
    app = instead(create_app(env), "204 No Content", lambda method: method == "PUT" and saved())
    with pytest.raises(Unhealthy, match=r"29 February 2001: PUT .* answered 204"):
        check(serve(app))
    assert saved() == set()
    assert "remains" not in capsys.readouterr().err


@pytest.mark.parametrize("status", ["405 Method Not Allowed", "500 Internal Server Error"])
def test_a_user_that_cannot_be_deleted_is_named(saved, env, serve, check, capsys, status):
    app = instead(create_app(env), status, lambda method: method == "DELETE" or saved())
    with pytest.raises(Unhealthy, match="a birthday is saved and greeted: FAILED"):
        check(serve(app))
    [name] = saved()
    assert f"{name} remains" in capsys.readouterr().err


def test_a_version_that_cannot_delete_yet_passes(saved, env, serve, check, capsys):
    """For example after a rollback."""
    check(serve(instead(create_app(env), "405 Not Allowed", lambda method: method == "DELETE")))
    [name] = saved()
    assert f"{name} remains: this version does not support DELETE" in capsys.readouterr().err


def test_it_passes_where_writing_needs_a_key(app, env, serve, check):
    digest = hashlib.sha256(b"K3y").hexdigest()
    url = serve(create_app(env | {"API_KEYS": digest}))
    with pytest.raises(Unhealthy, match="the key of the smoke test is not among API_KEYS"):
        check(url)
    check(url, "K3y")


def test_another_version_is_a_failure(app, env, serve, check):
    url = serve(create_app(env | {"APP_VERSION": "v1"}))
    with pytest.raises(Unhealthy, match=r"version v2: FAILED.*says version 'v1'"):
        check(url, label="v2")


def test_a_check_that_passes_late_passes(app, env, serve, run, clock):
    """A load balancer needs some time; the clock advances only while the test sleeps."""
    app = create_app(env | {"APP_VERSION": "v1"})
    late = instead(app, "503 Service Unavailable", lambda _: clock.at < 50)
    smoke.check_url(run, serve(late), label="v1")
    assert 50 <= clock.at < run.settings.smoke_timeout


def broken(answers):
    """An application with fixed responses by method and path."""

    def app(environ, start_response):
        key = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        status, kind, body = next(
            (answer for start, answer in answers.items() if key.startswith(start)),
            ("404 Not Found", "text/html", ""),
        )
        start_response(status, [("Content-Type", kind)])
        return [body.encode()]

    return app


ALIVE = {"GET /livez": ("200 OK", "application/json", json.dumps({"version": "v1"}))}


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        ({}, "GET /livez answered 404"),
        (ALIVE, "PUT /hello/.* answered 404"),
        (
            ALIVE
            | {
                "PUT /hello": ("204 No Content", "text/plain", ""),
                "GET /hello": ("200 OK", "application/json", '{"message": "Hallo"}'),
            },
            "GET /hello/.* answered 200",
        ),
    ],
)
def test_a_wrong_response_is_a_failure(serve, check, answers, what):
    with pytest.raises(Unhealthy, match=what):
        check(serve(broken(answers)), label="v1")


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "308 Permanent Redirect"])
def test_the_key_does_not_follow_a_redirect(serve, check, status):
    """To another host, which somebody else may own."""
    asked = []

    def elsewhere(environ, start_response):
        asked.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"version": "v1"}']

    location = serve(elsewhere)

    def moved(environ, start_response):
        start_response(status, [("Location", f"{location}{environ['PATH_INFO']}")])
        return [b""]

    with pytest.raises(Unhealthy, match=f"GET /livez answered {status[:3]}"):
        check(serve(moved), "a-key", "v1")
    assert not asked


def test_every_day_has_a_date_of_birth_to_test():
    """Of a leap year, whatever number of days is drawn."""
    for day in range(366):
        today = date(2028, 1, 1) + timedelta(days=day)
        for drawn in range(2, 300):
            assert days_until_birthday(smoke._choose(today, drawn), today) == drawn


def test_accessible_operators_paths_are_a_failure(app, env, serve, check):
    """This is the case without nginx."""
    with pytest.raises(Unhealthy, match="/readyz answered 200"):
        check(serve(create_app(env), blocks=False))


def test_an_unreachable_service_is_a_failure(check):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as unused:
        port = unused.server_port
    with pytest.raises(Unhealthy, match=r"GET /livez answered 0 .*refused"):
        check(f"http://127.0.0.1:{port}")


def test_a_dry_run_only_says_what_it_would_test(run, capsys):
    dry = replace(run, changes=Changes(run.console, dry_run=True))
    assert smoke.check_url(dry, "https://hello.example.com", host="127.0.0.1") == ""
    assert "would smoke test https://hello.example.com at 127.0.0.1" in capsys.readouterr().err


# --- The command --------------------------------------------------------------------------------


def test_an_environment_is_tested_at_its_public_name(staging, command, tested):
    assert command("smoke", "staging")[0] == 0
    assert tested.calls == [("http://staging.elasticbeanstalk.test", "K3y", None)]


def test_a_url_is_tested_with_the_key_that_is_given(command, tested, monkeypatch):
    command("smoke", "http://127.0.0.1:8000/", "--version", "v1")
    monkeypatch.setenv("SMOKE_KEY", "K3y")
    command("smoke", "https://hello.example.com")
    assert tested.calls == [
        ("http://127.0.0.1:8000/", "", "v1"),
        ("https://hello.example.com", "K3y", None),
    ]


def test_a_failure_exits_with_1(staging, fails, tested):
    tested.broken = {None}
    output = fails("smoke", "staging")
    assert "a birthday is saved and greeted: FAILED" in output
    assert "now: nothing was changed" in output


def lost_key(aws):
    del aws.secrets[f"{APPLICATION}-staging/smoke-test"]


def no_key(aws):
    aws.secrets[f"{APPLICATION}-staging/smoke-test"] = {"user": "x"}


@pytest.mark.parametrize(
    "arguments", [("deploy", "staging", "--version", "new"), ("smoke", "staging")]
)
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lost_key, "create staging, which creates the key"),
        (no_key, "create staging, which creates the key"),
        (
            lambda aws: aws.fail("secretsmanager:GetSecretValue"),
            "the permission secretsmanager:GetSecretValue is missing",
        ),
    ],
)
def test_a_missing_key_is_reported_before_any_change(
    aws, staging, programs, fails, tested, arguments, change, what
):
    change(aws)
    output = fails(*arguments)
    assert f"the key of the smoke test of {APPLICATION}-staging cannot be read" in output
    assert what in output
    assert not programs.calls()
    assert not tested.calls


def test_an_environment_without_an_address_is_a_failure(aws, staging, fails, tested):
    aws.environments.clear()
    assert "has no address" in fails("smoke", "staging")
    aws.fail("elasticbeanstalk:DescribeEnvironments")
    assert "DescribeEnvironments is missing" in fails("smoke", "staging")
    assert not tested.calls


# --- By the name in a certificate, at a host to which that name does not resolve yet


@pytest.fixture
def https(tmp_path, monkeypatch, app, env, serve):
    """Serves the application over TLS as hello.example.com, with a certificate that the client trusts; its URL."""
    authority = Authority()
    authority.issue("hello.example.com", tmp_path)
    (tmp_path / "authority.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    port = serve(create_app(env), context).rpartition(":")[2]
    return f"https://hello.example.com:{port}"


@pytest.fixture
def dns(monkeypatch):
    """The addresses of names; no other name exists, and nobody else is asked."""
    known = {"127.0.0.1": "127.0.0.1"}
    ask = socket.getaddrinfo

    def getaddrinfo(host, *more, **options):
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask(known[host], *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(smoke, "PAUSE", 0)
    return known


def test_without_a_dns_record_the_host_is_tested(https, dns, check, saved):
    assert check(https, host="127.0.0.1") == (
        "it is not reachable yet: <urlopen error [Errno -2] Name or service not known>"
    )
    assert saved() == set()
    with pytest.raises(Unhealthy, match="Name or service not known"):
        check(https)


def test_with_a_dns_record_nothing_is_reported_as_missing(https, dns, check):
    dns["hello.example.com"] = "127.0.0.1"
    assert check(https, host="127.0.0.1") == ""


@pytest.fixture
def other():
    """What another service answers."""
    return SimpleNamespace(answer=client.Answer(404, "application/problem+json", ""))


@pytest.fixture
def keys(dns, other, monkeypatch):
    """The headers of requests to another service, to which the public name leads."""
    dns["hello.example.com"] = "127.0.0.2"
    keys, ask = [], client.Client.ask

    def answer(client, method, path, body=None):
        if client._at != client.url:  # at the host
            return ask(client, method, path, body)
        keys.append(client._headers)
        return other.answer

    monkeypatch.setattr(client.Client, "ask", answer)
    return keys


@pytest.mark.parametrize(
    ("status", "body"), [(404, "{}"), (200, "<html>This domain is for sale</html>")]
)
def test_a_dns_record_of_another_service_is_reported_and_gets_no_key(
    https, keys, other, check, status, body
):
    """As after a recovery, after somebody swapped two names, or at a provider's page."""
    other.answer = client.Answer(status, "", body)
    fault = check(https, "K3y", host="127.0.0.1")
    assert fault == f"another service answers there, with {status}"
    assert keys == [{}] * smoke.ATTEMPTS


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("proof", ""),
        ("", "400 .* not 401"),  # it needs none
        ("older", "401 .* not 400"),
    ],
)
def test_every_instance_must_have_the_new_keys(run, saved, env, serve, monkeypatch, keys, fault):
    digest = hashlib.sha256(keys.encode()).hexdigest() if keys else ""
    place = client.Place(serve(create_app(env | {"API_KEYS": digest})), "")
    monkeypatch.setattr(smoke, "locate", lambda *_: place)
    what = f"has the new keys.*FAILED: PUT .* answered {fault}"
    with pytest.raises(Unhealthy, match=what) if fault else nullcontext():
        smoke.refuse_writes(run, None, "proof")
    assert saved() == set()


def test_a_public_name_that_leads_to_another_service_fails_and_gets_no_key(
    https, keys, run, monkeypatch
):
    prod = environments.find(run.settings, "prod")
    monkeypatch.setattr(smoke, "locate", lambda *_: client.Place(https, "127.0.0.1"))
    with pytest.raises(
        Unhealthy, match=f"does not point to {prod.name}: another service answers there, with 404"
    ):
        smoke.check_publicly(run, prod, "K3y")
    assert keys == [{}] * smoke.ATTEMPTS


@pytest.fixture
def ada(client):
    """Somebody who was saved before."""
    assert client.put("/hello/Ada", json={"dateOfBirth": "2000-01-01"}).status_code == 204


def test_a_person_is_greeted_at_a_host_by_the_name_of_its_certificate(run, https, ada, capsys):
    smoke.refuse_unknown(run, client.Place(https, "127.0.0.1"), "Ada")
    printed = capsys.readouterr().err
    assert "--greet: the user was greeted: ok" in printed
    assert "Ada" not in printed


@pytest.mark.parametrize(
    ("name", "user", "status"),
    [
        ("hello", "Grace", 404),  # nobody saved her
        ("other", "Ada", 0),  # the certificate is for another name
    ],
)
def test_a_person_who_is_not_greeted_is_a_failure(run, https, ada, name, user, status):
    place = client.Place(https.replace("hello", name), "127.0.0.1")
    with pytest.raises(Unhealthy, match=f"status {status}"):
        smoke.refuse_unknown(run, place, user)
