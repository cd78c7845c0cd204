"""Reports to Sentry: which, what is in them, and what they cost, with a collector on loopback."""

import json
import os
import subprocess
import sys

import pytest
import sentry_sdk
from sqlalchemy.exc import IntegrityError

from tests.support.sentry import Collector
from tests.support.server import serving
from web import config, create_app, sentry, storage
from web.outage import Unavailable

NAME = "Rumpelstiltskin"
BORN = "1812-12-20"
UUID = "0190d5b2-7c1e-7b3a-9f00-0123456789ab"
HEADERS = {
    "X-Request-ID": UUID,
    "X-Forwarded-For": "203.0.113.77",
    "Authorization": "Bearer a-secret-key",
    "Cookie": f"name={NAME}",
    "User-Agent": f"{NAME}'s",
    "Referer": f"https://x/{NAME}",
}
PERSONAL = (NAME, BORN, "1812", "203.0.113.77", "a-secret-key", "Rumpel")


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def reporting(collector, env, app):
    """A client of an application that reports to the collector."""
    application = create_app(env | {"SENTRY_DSN": collector.dsn, "SENTRY_ENVIRONMENT": "somewhere"})
    yield application.test_client()
    end(application)


def end(application):
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)
    with application.app_context():
        storage.db.engine.dispose()


@pytest.fixture
def fail(monkeypatch):
    """Lets every look-up fail with an exception; one with all that is personal, if none is given.

    ``error`` makes a new one each time: the same one would collect the frames of all requests.
    """

    def fail(error=None):
        def find(name):
            born = BORN  # a local variable
            try:
                raise KeyError(f"{name} {born}")
            except KeyError as cause:
                raise (
                    error()
                    if error
                    else IntegrityError(
                        f"INSERT INTO person VALUES ('{name}', '{born}')",
                        {"name": name, "born": born},
                        ValueError(f"DETAIL: Failing row contains ({name}, {born})."),
                    )
                ) from cause

        monkeypatch.setattr(storage, "find", find)

    return fail


def test_an_unhandled_exception_is_an_event(reporting, collector, fail):
    fail()
    answer = reporting.get(f"/hello/{NAME}", headers=HEADERS)
    assert answer.status_code == 500
    [event] = collector.events()
    assert event["release"] == "dev"
    assert event["environment"] == "somewhere"
    assert event["transaction"] == "/hello/<username>"
    assert event["level"] == "error"
    assert event["tags"] == {"request_id": UUID, "method": "GET", "status": "500"}
    cause, error = event["exception"]["values"]  # the oldest first, as Sentry wants it
    assert (cause["module"], cause["type"]) == (None, "KeyError")
    assert (error["module"], error["type"]) == ("sqlalchemy.exc", "IntegrityError")
    frames = error["stacktrace"]["frames"]
    assert frames[-1]["function"] == "find"
    assert isinstance(frames[-1]["lineno"], int)
    ours = [frame["module"] for frame in frames if frame["in_app"]]
    assert "web.hello" in ours


def test_an_event_has_only_the_allowed_keys(reporting, collector, fail):
    fail()
    reporting.put(f"/hello/{NAME}?dateOfBirth={BORN}", json={"dateOfBirth": BORN}, headers=HEADERS)
    reporting.get(f"/hello/{NAME}?dateOfBirth={BORN}", headers=HEADERS)
    [event] = collector.events()
    assert set(event) == {*sentry.KEPT, "exception"}
    for value in event["exception"]["values"]:
        assert set(value) == {"type", "module", "stacktrace"}
        for frame in value["stacktrace"]["frames"]:
            assert set(frame) == {"filename", "function", "module", "lineno", "in_app"}


@pytest.mark.parametrize(
    "request_",
    [
        {"path": f"/hello/{NAME}"},
        {"path": f"/hello/{NAME}", "query_string": {"dateOfBirth": BORN, "name": NAME}},
        {"path": f"/hello/{NAME}", "method": "PUT", "json": {"dateOfBirth": BORN}},
        {"path": f"/hello/{NAME}", "method": "PUT", "data": f"{NAME} {BORN}"},
        {"path": f"/hello/{NAME}", "method": "DELETE"},
        {"path": f"/hello/{NAME}", "headers": {"X-Request-ID": f"{NAME}-{BORN}"}},
    ],
)
def test_no_personal_data_is_sent(reporting, collector, fail, monkeypatch, request_):
    """Neither in events nor in whatever else the SDK sends, its headers included."""
    fail()
    monkeypatch.setattr(storage, "save", lambda *given: storage.find(given[0]))
    monkeypatch.setattr(storage, "delete", lambda *given: storage.find(given[0]), raising=False)
    monkeypatch.setattr(storage, "forget", lambda *given: storage.find(given[0]), raising=False)
    headers = HEADERS | request_.pop("headers", {})
    answer = reporting.open(**request_, headers=headers)
    if "data" in request_:
        assert answer.status_code == 400
        reporting.get(f"/hello/{NAME}", headers=headers)
    collector.events()
    sentry_sdk.flush(2)
    for sent in collector.raw:
        for text in PERSONAL:
            assert text not in sent


def test_an_unknown_method_is_not_sent(reporting, collector, fail, monkeypatch):
    monkeypatch.setattr("web.hello.Hello.get", lambda *_: 1 / 0)
    fail()
    environ = {"REQUEST_METHOD": "GET"}
    reporting.get(f"/hello/{NAME}", environ_overrides=environ)
    [event] = collector.events()
    assert event["tags"]["method"] == "GET"
    assert sentry.log.method({"REQUEST_METHOD": NAME}) == "OTHER"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/readyz", 200), (f"/hello/{NAME}", 404), ("/hello/j0hn", 400), ("/x", 404)],
)
def test_expected_errors_are_not_events(reporting, collector, context, path, status):
    assert reporting.get(path).status_code == status
    sentry_sdk.flush(2)
    assert not collector.received


def test_a_lost_database_is_not_an_event(reporting, collector, fail):
    fail(lambda: Unavailable("it is away"))
    assert reporting.get(f"/hello/{NAME}").status_code == 503
    sentry_sdk.flush(2)
    assert not collector.received


def test_no_sdk_code_runs_in_a_successful_request(reporting, context):
    ran = set()

    def note(frame, event, _):
        if "sentry_sdk" in frame.f_code.co_filename:
            ran.add(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")

    reporting.put(f"/hello/{NAME}", json={"dateOfBirth": BORN})  # first, for what is done once
    sys.setprofile(note)
    try:
        saved = reporting.put(f"/hello/{NAME}", json={"dateOfBirth": BORN})
        greeted = reporting.get(f"/hello/{NAME}")
    finally:
        sys.setprofile(None)
    assert (saved.status_code, greeted.status_code) == (204, 200)
    assert not ran


@pytest.mark.process
def test_without_a_dsn_the_sdk_is_not_even_imported(env):
    code = "import sys, web; web.create_app(); print('sentry_sdk' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | env,
    )
    assert ended.stdout == "False\n"


def test_an_exception_that_is_its_own_cause_is_sent_once(reporting, collector, monkeypatch):
    def find(_):
        error = LookupError()
        raise error from error

    monkeypatch.setattr(storage, "find", find)
    assert reporting.get(f"/hello/{NAME}").status_code == 500
    [event] = collector.events()
    assert [value["type"] for value in event["exception"]["values"]] == ["LookupError"]


@pytest.mark.parametrize("mode", ["full", "silent"])
def test_requests_succeed_while_sentry_refuses_or_is_silent(reporting, collector, fail, mode):
    """More failures than the queue holds, all answered before the first report is."""
    collector.mode = mode
    fail(RuntimeError)
    for _ in range(150):
        assert reporting.get(f"/hello/{NAME}").status_code == 500
    collector.wait_until_asked()
    if mode == "silent":
        assert collector.asked == 1


def test_requests_succeed_while_sentry_is_unreachable(env, app, fail):
    application = create_app(env | {"SENTRY_DSN": "http://key@127.0.0.1:9/1"})
    fail(RuntimeError)
    for _ in range(150):
        assert application.test_client().get(f"/hello/{NAME}").status_code == 500
    end(application)


@pytest.mark.parametrize(
    "text",
    [
        "nowhere",
        "https://sentry.example.com/1",
        "ftp://key@host/1",
        "https://key@host/name",
        "https://key@/1",
    ],
)
def test_an_invalid_dsn_is_refused_and_not_shown(env, text):
    with pytest.raises(config.ConfigError) as refused:
        create_app(env | {"SENTRY_DSN": text})
    assert refused.value.message.startswith("Invalid SENTRY_DSN: expected a DSN of Sentry")
    assert text not in refused.value.message


# --- In the server, whose workers are forked ------------------------------------------------------


@pytest.mark.process
def test_workers_report_also_right_before_their_end_and_after_one_that_died(
    collector, env, tmp_path
):
    more = {"SENTRY_DSN": collector.dsn, "WORKERS": "1", "THREADS": "2"}
    with serving(env | more, tmp_path, target="tests.support.server:load_failing") as server:
        assert server.request("GET", f"/fail/{NAME}")[0] == 500
        collector.events(1)
        server.replace(*server.workers())
        server.request("GET", f"/fail/{NAME}")
        collector.events(2)
        server.request("GET", f"/fail/{NAME}")
        assert server.stop() == 0
    events = collector.events(3)
    assert len(events) == 3
    assert {event["exception"]["values"][-1]["type"] for event in events} == {"RuntimeError"}
    assert NAME not in json.dumps(events)
