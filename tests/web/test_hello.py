import gzip
import json
from datetime import UTC, date, datetime
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from web import clock, create_app

BORN = {"dateOfBirth": "1990-05-17"}
METHODS = {"delete", "get", "head", "options", "put"}
WRONG_DATES = [
    "1990-1-5",
    "20200101",
    "1990-W03-1",
    "１９９０-０１-０１",
    " 1990-01-01",
    "1990-01-01T00:00:00",
    "2023-02-29",
    0,
    None,
    [],
    {},
    True,
]
WRONG_BODIES = [
    b"{",
    b"[]",
    b"null",
    b"0",
    b"{}",
    b'{"dateOfBirth": NaN}',
    b'{"dateOfBirth": "\\ud800"}',
    b"[" * 4096,
    b'{"dateOfBirth": "\xff"}',
]


def assert_problem(response, status, name=None):
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert response.json["status"] == status
    assert response.json["type"] == (f"/docs/problems#{name}" if name else "about:blank")
    assert response.json["title"]
    assert response.json["detail"]
    assert "Traceback" not in response.text
    assert "SELECT" not in response.text


def test_a_new_user_is_saved_and_greeted(client, on):
    on(date(2026, 5, 12))
    saved = client.put("/hello/John", json=BORN)
    assert (saved.status_code, saved.data) == (204, b"")
    assert "Content-Type" not in saved.headers
    greeted = client.get("/hello/John")
    assert greeted.status_code == 200
    assert greeted.text == '{"message": "Hello, John! Your birthday is in 5 day(s)"}\n'


def test_the_date_of_a_known_user_is_replaced(client, person, on):
    on(date(2026, 5, 17))
    person(username="John", date_of_birth=date(1980, 1, 1))
    assert client.put("/hello/John", json=BORN).status_code == 204
    assert client.get("/hello/John").json == {"message": "Hello, John! Happy birthday!"}


def test_an_unknown_user_is_not_found(client, person):
    person(username="John")
    assert_problem(client.get("/hello/john"), 404, "user-not-found")  # case counts
    assert "PUT" in client.get("/hello/john").json["detail"]


@pytest.mark.parametrize(
    ("today", "days"),
    [
        ((2023, 2, 28), "in 1 day(s)"),
        ((2023, 3, 1), "Happy birthday!"),
        ((2024, 2, 29), "Happy birthday!"),
        ((2024, 3, 1), "in 365 day(s)"),
    ],
)
def test_people_born_on_29_february_celebrate_on_1_march(client, person, on, today, days):
    person(username="Leap", date_of_birth=date(2000, 2, 29))
    on(date(*today))
    assert client.get("/hello/Leap").json["message"].endswith(days)


@pytest.mark.parametrize("born", ["2026-05-17", "2026-05-18", "9999-12-31"])
def test_today_and_the_future_are_invalid_dates_of_birth(client, on, born):
    on(date(2026, 5, 17))
    response = client.put("/hello/John", json={"dateOfBirth": born})
    assert_problem(response, 400, "invalid-request")
    assert response.json["errors"] == {"dateOfBirth": ["Use a date before today, 2026-05-17."]}
    assert client.get("/hello/John").status_code == 404


def test_yesterday_is_a_valid_date_of_birth(client, on):
    on(date(2026, 5, 18))
    assert client.put("/hello/John", json={"dateOfBirth": "2026-05-17"}).status_code == 204


@pytest.mark.parametrize("value", WRONG_DATES, ids=ascii)
def test_an_invalid_date_is_refused(client, value):
    response = client.put("/hello/John", json={"dateOfBirth": value})
    assert_problem(response, 400, "invalid-request")
    assert response.json["errors"] == {"dateOfBirth": ["Use a real date, written YYYY-MM-DD."]}
    assert client.get("/hello/John").status_code == 404


@pytest.mark.parametrize("body", WRONG_BODIES, ids=lambda body: ascii(body[:20]))
def test_an_invalid_body_is_refused(client, body):
    assert_problem(client.put("/hello/John", data=body), 400, "invalid-request")
    assert client.get("/hello/John").status_code == 404


def test_a_body_over_4_kib_is_refused(client):
    fits = b'{"dateOfBirth": "1990-05-17"' + b" " * (4096 - 29) + b"}"
    assert client.put("/hello/John", data=fits).status_code == 204
    assert_problem(client.put("/hello/John", data=fits + b" "), 413)
    assert_problem(client.put("/hello/John", data=b"[" * 100_000), 413)


@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "text/plain", "nonsense"]
)
def test_the_body_is_json_whatever_its_content_type(client, content_type):
    body = b'{"dateOfBirth": "1990-05-17", "unknown": [1, {"keys": "are ignored"}]}'
    assert client.put("/hello/John", data=body, content_type=content_type).status_code == 204


def test_without_a_body_the_query_string_is_read(client):
    assert client.put("/hello/John?dateOfBirth=1990-05-17").status_code == 204
    for url, body in (
        ("/hello/John?dateOfBirth=1990-5-17", None),
        ("/hello/John", None),
        ("/hello/John?dateOfBirth=1990-05-17", b"{}"),
    ):
        assert_problem(client.put(url, data=body), 400, "invalid-request")


def test_unknown_parameters_are_ignored(client, person, on):
    on(date(2026, 5, 17))
    person(username="John", date_of_birth=date(1990, 5, 17))
    for query in ("utm_source=x", "time=x", "dateOfBirth=x&dateOfBirth=y", "date_of_birth=x"):
        assert client.get(f"/hello/John?{query}").json == client.get("/hello/John").json
    assert client.delete("/hello/John?timezone=x").status_code == 204


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("timezone", "timeZone"),
        ("time_zone", "timeZone"),
        ("TIME-ZONE", "timeZone"),
        ("timeZome", "timeZone"),
        ("tz", "timeZone"),
        ("date_of_birth", "dateOfBirth"),
        ("dateOfBrith", "dateOfBirth"),
        ("dob", "dateOfBirth"),
    ],
)
def test_a_misspelt_parameter_is_refused_with_the_right_name(client, name, meant):
    for query in (f"{name}=x", f"timeZone=UTC&{name}=x"):
        response = client.put(f"/hello/John?{query}", json=BORN)
        assert_problem(response, 400, "invalid-request")
        assert response.json["errors"] == {name: [f"Did you mean {meant}?"]}
        if meant == "timeZone":
            assert client.get(f"/hello/John?{query}").json == response.json
    assert client.get("/hello/John").status_code == 404


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("?dateOfBirth=1990-05-17&dateOfBirth=1990-05-18", None),
        ("?dateOfBirth=1990-05-17", BORN),
        ("", '{"dateOfBirth": "1990-05-17", "dateOfBirth": "1990-05-18"}'),
    ],
)
def test_a_date_given_twice_is_refused(client, query, body):
    body = json.dumps(body) if isinstance(body, dict) else body
    response = client.put(f"/hello/John{query}", data=body)
    assert_problem(response, 400, "invalid-request")
    assert response.json["errors"] == {"dateOfBirth": ["Send it once."]}
    assert client.get("/hello/John").status_code == 404


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "x"])
def test_a_compressed_body_is_refused(client, coding):
    for body in (gzip.compress(json.dumps(BORN).encode()), json.dumps(BORN)):
        response = client.put("/hello/John", data=body, headers={"Content-Encoding": coding})
        assert_problem(response, 415)
        assert response.headers["Accept-Encoding"] == "identity"
        assert response.json["detail"] == "Send the body uncompressed, as UTF-8."


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_an_uncompressed_body_may_say_so(client, coding):
    headers = {"Content-Encoding": coding}
    assert client.put("/hello/John", json=BORN, headers=headers).status_code == 204


@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize(
    "path",
    [
        "john%0A",
        "%0Ajohn",
        "john%00",
        "john%20",
        "%FF",
        "%ED%A0%80",
        "john%C3",
        "a" * 65,
        "a" * 5000,
        "j0hn",
        "%F0%9F%98%80",
        "%CC%81a",
        "..",
        "-",
        "a%E2%80%8C",
        "%E2%80%8Ca",
        "a%E2%80%8C%E2%80%8Db",
        "%E2%80%8D",
        "a%E2%80%8E",
        "Jean-Luc",
        "O'Brien",
        "Mary%20Ann",
    ],
)
def test_an_invalid_name_is_refused(client, method, path):
    response = getattr(client, method)(f"/hello/{path}", json=BORN)
    assert_problem(response, 400, "invalid-request")
    assert response.json["errors"] == {"username": ["Use 1 to 64 letters and nothing else."]}


@pytest.mark.parametrize(
    "path",
    [
        "/hello",
        "/hello/",
        "/hello/a/",
        "/hello/a/b",
        "/hello/a%2Fb",
        "/nowhere",
        "/hello//a",
        "/hello//a//",
        "/docs/",
        "/docs//problems",
        "/livez/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_unknown_paths_are_not_found_and_not_redirected(client, path, method):
    response = client.open(path, method=method, json=BORN, base_url="https://host:8443")
    assert_problem(response, 404)
    assert "/docs" in response.json["detail"]
    assert "Location" not in response.headers


def test_no_route_can_redirect(app):
    """werkzeug adds a missing slash at the end, and takes away what is twice."""
    for rule in app.url_map.iter_rules():
        assert not rule.merge_slashes, rule
        assert rule.is_leaf or not rule.strict_slashes, rule
        assert not rule.redirect_to, rule


@pytest.mark.parametrize(
    "name", ["docs", "livez", "readyz", "healthz", "openapi", "static", "hello"]
)
def test_no_name_collides_with_another_route(client, name):
    assert client.put(f"/hello/{name}", json=BORN).status_code == 204
    assert client.get(f"/hello/{name}").json["message"].startswith(f"Hello, {name}!")


def test_names_are_normalised(client):
    assert client.put("/hello/" + quote("Zoe\u0308"), json=BORN).status_code == 204
    response = client.get("/hello/" + quote("Zoë"))
    assert response.json["message"].startswith("Hello, Zoë!")
    assert "Zoë" in response.text  # not escaped


@pytest.mark.parametrize(
    "name",
    ["देव", "Владимир", "李", "محمد", "John" * 16, "علی\u200cرضا", "ශ්\u200dරී", "র\u200d্যাব"],
    ids=ascii,
)
def test_names_in_all_scripts_are_valid(client, name):
    assert client.put("/hello/" + quote(name), json=BORN).status_code == 204
    assert client.get("/hello/" + quote(name)).json["message"].startswith(f"Hello, {name}!")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(name=st.text(min_size=1) | st.binary(min_size=1), born=st.text() | st.dates().map(str))
def test_no_input_causes_a_server_error(client, name, born):
    raw = name if isinstance(name, bytes) else name.encode(errors="surrogatepass")
    path = "/hello/" + quote(raw, safe="")
    assert client.put(path, json={"dateOfBirth": born}).status_code in {204, 400, 404}
    assert client.get(path).status_code in {200, 400, 404}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(body=st.binary(max_size=5000))
def test_no_body_causes_a_server_error(client, body):
    assert client.put("/hello/John", data=body).status_code in {204, 400, 413}


def test_head_and_options_are_supported(client, person):
    person(username="John")
    head = client.head("/hello/John")
    assert (head.status_code, head.data) == (200, b"")
    options = client.options("/hello/John")
    assert (options.status_code, options.data) == (200, b"")
    assert options.allow.as_set() == METHODS
    assert "Content-Type" not in options.headers


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(client, method):
    response = client.open("/hello/John", method=method)
    assert_problem(response, 405)
    assert response.allow.as_set() == METHODS
    assert response.json["detail"] == "This path supports DELETE, GET, HEAD, OPTIONS, PUT."


def test_greetings_are_not_stored_by_caches(client, person):
    person(username="John")
    assert client.get("/hello/John").headers["Cache-Control"] == "no-store"


MISSING = "The key is missing. Use a real date, written YYYY-MM-DD."
NAME = "Use 1 to 64 letters and nothing else."


@pytest.mark.parametrize(
    ("query", "body", "errors"),
    [
        (
            "",
            {"dateOfBirth": "1990"},
            {"username": [NAME], "dateOfBirth": ["Use a real date, written YYYY-MM-DD."]},
        ),
        ("", {"dateofbirth": "1990-05-17"}, {"username": [NAME], "dateOfBirth": [MISSING]}),
        ("", {}, {"username": [NAME], "dateOfBirth": [MISSING]}),
        (
            "",
            {"dateOfBirth": "2999-01-01"},
            {"username": [NAME], "dateOfBirth": ["Use a date before today, 2026-05-17."]},
        ),
        (
            "?timeZone=x",
            {"dateOfBirth": "2999-01-01"},
            {
                "username": [NAME],
                "timeZone": ["Use an IANA time zone such as Europe/Berlin."],
                "dateOfBirth": ["Use a date before today, 2026-05-17."],
            },
        ),
        (
            "?timeZone=x",
            [],
            {
                "username": [NAME],
                "timeZone": ["Use an IANA time zone such as Europe/Berlin."],
                "body": ['Send a JSON object such as {"dateOfBirth": "1990-05-17"}.'],
            },
        ),
    ],
)
def test_all_invalid_parts_are_listed(client, on, query, body, errors):
    on(date(2026, 5, 17))
    response = client.put(f"/hello/j0hn{query}", json=body)
    assert_problem(response, 400, "invalid-request")
    assert response.json["errors"] == errors
    for name, (message,) in errors.items():
        assert f"{name}: {message}" in response.json["detail"]


def test_a_byte_order_mark_before_json_is_ignored(client):
    body = '\ufeff{"dateOfBirth": "1990-05-17"}'.encode()
    assert client.put("/hello/John", data=body).status_code == 204


def test_a_user_is_deleted(client, person):
    person(username="John")
    person(username="Ann")
    for _ in range(2):  # known or not
        deleted = client.delete("/hello/John")
        assert (deleted.status_code, deleted.data) == (204, b"")
    assert client.get("/hello/John").status_code == 404
    assert client.get("/hello/Ann").status_code == 200
    assert_problem(client.delete("/hello/j0hn"), 400, "invalid-request")


@pytest.fixture
def at(monkeypatch):
    """Sets the moment that the application takes for now."""
    return lambda *moment: monkeypatch.setattr(
        "web.clock.now", lambda: datetime(*moment, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("moment", "zone", "today"),
    [
        ((2026, 5, 16, 21, 59), "Europe/Berlin", "2026-05-16"),
        ((2026, 5, 16, 22, 0), "Europe/Berlin", "2026-05-17"),  # summer, two hours ahead
        ((2026, 1, 16, 22, 59), "Europe/Berlin", "2026-01-16"),
        ((2026, 1, 16, 23, 0), "Europe/Berlin", "2026-01-17"),  # winter, one hour
        ((2026, 3, 28, 23, 0), "Europe/Berlin", "2026-03-29"),  # the night of the change
        ((2026, 3, 29, 22, 0), "Europe/Berlin", "2026-03-30"),
        ((2026, 5, 17, 9, 59), "Pacific/Kiritimati", "2026-05-17"),  # both sides of the date line
        ((2026, 5, 17, 10, 0), "Pacific/Kiritimati", "2026-05-18"),
        ((2026, 5, 17, 11, 59), "Etc/GMT+12", "2026-05-16"),
        ((2026, 5, 17, 3, 59), "America/New_York", "2026-05-16"),
        ((2026, 5, 17, 18, 30), "Asia/Kolkata", "2026-05-18"),
        ((2026, 5, 17, 18, 30), "Asia/Calcutta", "2026-05-18"),  # the old name
    ],
)
def test_the_callers_time_zone_determines_the_current_date(client, at, moment, zone, today):
    at(*moment)
    url = f"/hello/John?timeZone={quote(zone, safe='')}"
    refused = client.put(url, json={"dateOfBirth": today})
    assert refused.json["errors"] == {"dateOfBirth": [f"Use a date before today, {today}."]}
    assert client.put(url, json={"dateOfBirth": f"1999{today[4:]}"}).status_code == 204
    assert client.get(url).json["message"] == "Hello, John! Happy birthday!"


def test_the_configured_time_zone_determines_it_otherwise(env, client, at):
    at(2026, 5, 16, 22, 0)
    client.put("/hello/John", json=BORN)
    assert client.get("/hello/John").json["message"].endswith("in 1 day(s)")
    berlin = create_app(env | {"TIME_ZONE": "Europe/Berlin"}).test_client()
    assert berlin.get("/hello/John").json["message"].endswith("Happy birthday!")
    assert berlin.get("/hello/John?timeZone=UTC").json["message"].endswith("in 1 day(s)")


@pytest.mark.parametrize(
    ("zone", "hint"),
    [
        ("Europe/Berln", ""),
        ("europe/berlin", " Did you mean Europe/Berlin?"),
        ("Berlin", " Did you mean Europe/Berlin?"),
        ("New York", " Did you mean America/New_York?"),
        ("istanbul", " Did you mean Asia/Istanbul or Europe/Istanbul?"),
        ("Etc/GMT 5", " Did you mean Etc/GMT+5? In a URL, write + as %2B."),
        ("gmt 5", " Did you mean Etc/GMT+5? In a URL, write + as %2B."),
        ("Etc/GMT-15", ""),
        ("Factory", ""),
        ("", ""),
        ("Europe", ""),
        ("../../etc/passwd", ""),
        ("/etc/localtime", ""),
        ("x" * 4000, ""),
        ("Europe/Berlin\n", " Did you mean Europe/Berlin?"),
        ("\u0000", ""),
    ],
)
def test_an_unknown_time_zone_is_refused_with_those_that_may_be_meant(client, zone, hint):
    response = client.get("/hello/John", query_string={"timeZone": zone})
    assert_problem(response, 400, "invalid-request")
    (message,) = response.json["errors"]["timeZone"]
    assert message == "Use an IANA time zone such as Europe/Berlin." + hint


def test_every_time_zone_of_iana_is_known(client):
    assert len(clock.ZONES) > 590
    for zone in clock.ZONES:
        assert clock.parse_zone(zone)
    for old in ("US/Pacific", "Asia/Calcutta", "Europe/Kiev", "GB", "EST5EDT"):
        assert old in clock.ZONES
