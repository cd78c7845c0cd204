"""The smoke test must fail where the service does not do what it should."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from werkzeug.serving import make_server

from scripts import smoke
from web import create_app, storage


@pytest.fixture
def serve():
    """Serves a WSGI application behind something that closes operators' paths."""
    servers = []

    def run(app):
        def front(environ, start_response):
            if environ["PATH_INFO"] == "/readyz":
                start_response("404 Not Found", [])
                return [b""]
            return app(environ, start_response)

        server = make_server("127.0.0.1", 0, front, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield run
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_passes_on_the_real_application(app, env, serve, capsys):
    smoke.check(serve(create_app(env | {"APP_VERSION": "v1"})), "v1", patience=0)
    assert (
        len([line for line in capsys.readouterr().out.splitlines() if line.endswith(": ok")]) == 5
    )
    with app.app_context():
        assert storage.find(smoke.USER) is None


def test_it_passes_where_writing_needs_a_key(app, env, serve, monkeypatch):
    digest = hashlib.sha256(b"K3y").hexdigest()
    url = serve(create_app(env | {"API_KEYS": digest}))
    with pytest.raises(SystemExit, match="the key of the smoke test is not among API_KEYS"):
        smoke.check(url, None, patience=0)
    monkeypatch.setenv("SMOKE_KEY", "K3y")
    smoke.check(url, None, patience=0)


def test_another_version_answers(app, env, serve):
    url = serve(create_app(env | {"APP_VERSION": "v1"}))
    with pytest.raises(SystemExit, match=r"version v2: FAILED.*says version 'v1'"):
        smoke.check(url, "v2", patience=0)


def broken(answers):
    """An application that gives fixed answers by method and path."""

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
def test_a_service_that_is_wrong(serve, answers, what):
    with pytest.raises(SystemExit, match=what):
        smoke.check(serve(broken(answers)), "v1", patience=0)


def test_operators_paths_that_are_open(app, env):
    """As without nginx."""
    server = make_server("127.0.0.1", 0, create_app(env), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(SystemExit, match="/readyz answered 200"):
            smoke.check(f"http://127.0.0.1:{server.server_port}", None, patience=0)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_nobody_answers():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as unused:
        port = unused.server_port
    answer = smoke.ask("GET", f"http://127.0.0.1:{port}/livez")
    assert answer.status == 0
    assert answer.body
