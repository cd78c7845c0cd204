import json
import re

import pytest

from web import log, storage

NAME = "Rumpelstiltskin"
BORN = "1812-12-20"


@pytest.fixture
def lines(capsys, caplog):
    """The lines that were written, those of requests last."""
    formatter = log.Formatter()

    def read():
        records = [formatter.format(record) for record in caplog.records if record.name == "web"]
        return [json.loads(line) for line in (*records, *capsys.readouterr().out.splitlines())]

    return read


def test_each_request_is_one_line(client, lines):
    client.get(f"/hello/{NAME}")
    (line,) = lines()
    assert line["message"] == "request"
    assert line["level"] == "info"
    assert line["method"] == "GET"
    assert line["route"] == "/hello/<username>"
    assert line["status"] == 404
    assert 0 < line["duration_ms"] < 60_000
    assert re.fullmatch(r"[0-9a-f]{32}", line["request_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_nobody_is_named_in_the_log(client, lines):
    client.put(f"/hello/{NAME}", json={"dateOfBirth": BORN})
    client.get(f"/hello/{NAME}")
    client.get(f"/hello/{NAME}/{BORN}")
    client.delete(f"/hello/{NAME}?dateOfBirth={BORN}")
    client.put(f"/hello/{NAME}1", data=BORN)
    written = lines()
    assert len(written) == 5
    assert NAME not in str(written)
    assert BORN not in str(written)


def test_a_failure_shows_its_place_and_nobody_s_name(client, lines, monkeypatch):
    def fail(name):
        raise ValueError(f"row of {name}") from KeyError(name)

    monkeypatch.setattr(storage, "find", fail)
    response = client.get(f"/hello/{NAME}", headers={"X-Request-ID": "a1"})
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert NAME not in response.text
    assert "ValueError" not in response.text
    failure, request = written = lines()
    assert failure["level"] == "error"
    assert failure["exception"] == ["builtins.ValueError", "builtins.KeyError"]
    assert failure["stack"][-1].endswith(" fail")
    assert failure["request_id"] == request["request_id"] == "a1"
    assert NAME not in str(written)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-ID": "abc-123"}, "abc-123"),
        ({"X-Request-ID": "x" * 129}, None),
        ({"X-Request-ID": "two words"}, None),
        ({"X-Request-ID": "é"}, None),
        ({"X-Request-ID": ""}, None),
        (
            {"X-Amzn-Trace-Id": "Self=1-1-1;Root=1-67891233-abcdef012345678912345678;Sampled=1"},
            "1-67891233-abcdef012345678912345678",
        ),
        ({"X-Amzn-Trace-Id": "Root=nonsense"}, None),
        ({"X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678", "X-Request-ID": "a"}, "a"),
    ],
)
def test_the_request_id(client, headers, expected):
    for path in ("/livez", "/nowhere", "/hello/j0hn"):
        given = client.get(path, headers=headers).headers["X-Request-ID"]
        assert given == expected or (expected is None and re.fullmatch(r"[0-9a-f]{32}", given))


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/docs", "/openapi.json", "/nowhere", "/hello/j0hn"]
)
def test_every_response_says_nosniff(client, path):
    assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"
