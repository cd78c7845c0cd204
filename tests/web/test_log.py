import json
import logging
import re
import sys

import pytest

from web import log, storage

NAME = "Rumpelstiltskin"
BORN = "1812-12-20"


def test_each_request_is_one_line(client, lines):
    client.get(f"/hello/{NAME}")
    (line,) = lines()
    assert line["message"] == "request"
    assert line["level"] == "info"
    assert line["version"] == "dev"
    assert line["method"] == "GET"
    assert line["route"] == "/hello/<username>"
    assert line["status"] == 404
    assert 0 < line["duration_ms"] < 60_000
    assert re.fullmatch(r"[0-9a-f]{32}", line["request_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_the_log_contains_no_names(client, lines):
    client.put(f"/hello/{NAME}", json={"dateOfBirth": BORN})
    client.get(f"/hello/{NAME}")
    client.get(f"/hello/{NAME}/{BORN}")
    client.delete(f"/hello/{NAME}?dateOfBirth={BORN}")
    client.put(f"/hello/{NAME}1", data=BORN)
    written = lines()
    assert len(written) == 5
    assert NAME not in str(written)
    assert BORN not in str(written)


def test_a_failure_is_logged_with_its_location_and_without_names(client, lines, monkeypatch):
    def fail(name):
        raise ValueError(f"row of {name}") from KeyError(name)

    monkeypatch.setattr(storage, "find", fail)
    response = client.get(f"/hello/{NAME}", headers={"X-Request-ID": UUID})
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert NAME not in response.text
    assert "ValueError" not in response.text
    failure, request = written = lines()
    assert failure["level"] == "error"
    assert failure["exception"] == ["builtins.ValueError", "builtins.KeyError"]
    assert failure["stack"][-1].endswith(" fail")
    assert failure["request_id"] == request["request_id"] == UUID
    assert NAME not in str(written)


UUID = "0190d5b2-7c1e-7b3a-9f00-0123456789ab"
TRACE = "1-67891233-abcdef012345678912345678"
NEW = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize(
    "given",
    [
        UUID,
        UUID.upper(),
        "0123456789abcdef",
        "ABCDEF" * 10,
        "a" * 64,
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        TRACE,
    ],
)
def test_an_id_that_cannot_be_a_name_is_kept(client, lines, given):
    for path in ("/livez", "/nowhere", "/hello/j0hn"):
        answer = client.get(path, headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == given
    assert {line["request_id"] for line in lines()} == {given}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Jo_1990-05-17",
        "abc-123",
        "two words",
        "é",
        "19900517",
        "a" * 65,
        "Rumpelstiltskin",
        "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "81ARZ3NDEKTSV4RRFFQ69G5FAV",
        f"{UUID}x",
        f"{UUID} ",
        "{" + UUID + "}",
        TRACE + "0",
        f"Root={TRACE}",
        "x" * 5000,
    ],
    ids=lambda given: ascii(given[:30]),
)
def test_any_other_id_is_replaced(client, lines, given):
    answer = client.get("/livez", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert NEW.fullmatch(answer)
    assert {line["request_id"] for line in lines()} == {answer}


def test_the_load_balancers_trace_id_is_used_if_the_caller_sends_none(client):
    header = {"X-Amzn-Trace-Id": f"Self=1-1-1;Root={TRACE};Sampled=1"}
    assert client.get("/livez", headers=header).headers["X-Request-ID"] == TRACE
    both = header | {"X-Request-ID": UUID}
    assert client.get("/livez", headers=both).headers["X-Request-ID"] == UUID
    wrong = {"X-Amzn-Trace-Id": "Root=nonsense"}
    assert NEW.fullmatch(client.get("/livez", headers=wrong).headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("method", "logged"),
    [("GET", "GET"), ("PROPFIND", "OTHER"), ("JOHN19900517", "OTHER"), ("get", "OTHER")],
)
def test_only_known_methods_are_logged(client, lines, method, logged):
    client.open("/livez", method=method)
    assert [line["method"] for line in lines()] == [logged]


def test_both_ways_to_write_a_line_have_the_same_keys(client, lines):
    client.get("/livez")
    record = logging.LogRecord("web", logging.INFO, "", 0, "hello", (), None)
    (line,) = lines()
    assert [*line][:4] == [*json.loads(log.Formatter().format(record))]


def own_cause(_):
    error = LookupError()
    raise error from error


def two_in_a_circle(_):
    first, second = LookupError(), KeyError()
    first.__context__, second.__context__ = second, first
    raise first


@pytest.mark.parametrize(
    ("fail", "kinds"),
    [
        (own_cause, ["builtins.LookupError"]),
        (two_in_a_circle, ["builtins.LookupError", "builtins.KeyError"]),
    ],
)
def test_a_chain_of_causes_may_be_a_circle(client, lines, monkeypatch, fail, kinds):
    monkeypatch.setattr("web.storage.find", fail)
    assert client.get(f"/hello/{NAME}").status_code == 500
    (line,) = (line for line in lines() if "exception" in line)
    assert line["exception"] == kinds


class Broken:
    """A standard output that fails for a while."""

    def __init__(self, error):
        self.error, self.text = error, ""

    def write(self, text):
        if self.error:
            raise self.error
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize(
    "error", [OSError(28, "no space left"), BrokenPipeError(), ValueError("closed"), None], ids=repr
)
def test_a_failing_log_does_not_fail_requests(client, person, monkeypatch, error):
    output = Broken(error) if error else None
    monkeypatch.setattr(sys, "stdout", output)
    saved = client.put(f"/hello/{NAME}", json={"dateOfBirth": BORN})
    failed = client.get("/nowhere")
    assert (saved.status_code, failed.status_code) == (204, 404)
    output = output or Broken(None)
    output.error = None
    monkeypatch.setattr(sys, "stdout", output)
    client.get("/livez")
    assert [json.loads(line)["route"] for line in output.text.splitlines()] == ["/livez"]


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/docs", "/openapi.json", "/nowhere", "/hello/j0hn"]
)
def test_every_response_says_nosniff(client, path):
    assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"
