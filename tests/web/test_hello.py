from datetime import UTC, date, datetime
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from web import create_app, hello, storage

BORN = {"dateOfBirth": "1990-05-17"}
WRONG_DATES = ["1990-1-5", "20200101", "1990-W03-1", "１９９０-０１-０１", " 1990-01-01", "1990-01-01T00:00:00",
               "2023-02-29", 0, None, [], {}, True]  # fmt: skip
WRONG_BODIES = [b"{", b"[]", b"null", b"0", b"{}", b'{"dateOfBirth": NaN}', b'{"dateOfBirth": "\\ud800"}',
                b"[" * 4096, b'{"dateOfBirth": "\xff"}']  # fmt: skip


def assert_problem(response, status):
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert response.json["status"] == status
    assert response.json["type"] == "about:blank"
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
    assert greeted.json == {"message": "Hello, John! Your birthday is in 5 day(s)"}


def test_a_known_user_is_changed(client, person, on):
    on(date(2026, 5, 17))
    person(username="John", date_of_birth=date(1980, 1, 1))
    assert client.put("/hello/John", json=BORN).status_code == 204
    assert client.get("/hello/John").json == {"message": "Hello, John! Happy birthday!"}


def test_an_unknown_user_is_not_found(client, person):
    person(username="John")
    assert_problem(client.get("/hello/john"), 404)  # case counts
    assert "PUT" in client.get("/hello/john").json["detail"]


@pytest.mark.parametrize(
    ("today", "days"),
    [((2023, 2, 28), "in 1 day(s)"), ((2023, 3, 1), "Happy birthday!"), ((2024, 2, 29), "Happy birthday!"),
     ((2024, 3, 1), "in 365 day(s)")],
)  # fmt: skip
def test_born_on_29_february(client, person, on, today, days):
    person(username="Leap", date_of_birth=date(2000, 2, 29))
    on(date(*today))
    assert client.get("/hello/Leap").json["message"].endswith(days)


@pytest.mark.parametrize("born", ["2026-05-17", "2026-05-18", "9999-12-31"])
def test_today_and_the_future_are_no_dates_of_birth(client, on, born):
    on(date(2026, 5, 17))
    response = client.put("/hello/John", json={"dateOfBirth": born})
    assert_problem(response, 400)
    assert response.json["errors"] == {"dateOfBirth": ["Use a date before today, 2026-05-17."]}
    assert client.get("/hello/John").status_code == 404


def test_yesterday_is_a_date_of_birth(client, on):
    on(date(2026, 5, 18))
    assert client.put("/hello/John", json={"dateOfBirth": "2026-05-17"}).status_code == 204


@pytest.mark.parametrize("value", WRONG_DATES, ids=ascii)
def test_a_wrong_date_is_refused(client, value):
    response = client.put("/hello/John", json={"dateOfBirth": value})
    assert_problem(response, 400)
    assert response.json["errors"] == {"dateOfBirth": ["Use a real date, written YYYY-MM-DD."]}
    assert client.get("/hello/John").status_code == 404


@pytest.mark.parametrize("body", WRONG_BODIES, ids=lambda body: ascii(body[:20]))
def test_a_wrong_body_is_refused(client, body):
    assert_problem(client.put("/hello/John", data=body), 400)
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
    assert_problem(client.put("/hello/John?dateOfBirth=1990-5-17"), 400)
    assert_problem(client.put("/hello/John"), 400)
    assert_problem(client.put("/hello/John?dateOfBirth=1990-05-17", data=b"{}"), 400)


@pytest.mark.parametrize("method", ["get", "put"])
@pytest.mark.parametrize(
    "path",
    ["john%0A", "%0Ajohn", "john%00", "john%20", "%FF", "%ED%A0%80", "john%C3", "a" * 65, "a" * 5000,
     "j0hn", "%F0%9F%98%80", "%CC%81a", "..", "-"],
)  # fmt: skip
def test_a_wrong_name_is_refused(client, method, path):
    response = getattr(client, method)(f"/hello/{path}", json=BORN)
    assert_problem(response, 400)
    assert response.json["errors"] == {"username": ["Use 1 to 64 letters and nothing else."]}


@pytest.mark.parametrize(
    "path", ["/hello", "/hello/", "/hello/a/b", "/hello/a%2Fb", "/", "/nowhere", "//hello//a"]
)
def test_what_is_not_there_is_not_found(client, path):
    assert_problem(client.get(path), 404)


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


@pytest.mark.parametrize("name", ["देव", "Владимир", "李", "محمد", "John" * 16])
def test_names_of_all_scripts(client, name):
    assert client.put("/hello/" + quote(name), json=BORN).status_code == 204
    assert client.get("/hello/" + quote(name)).json["message"].startswith(f"Hello, {name}!")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(name=st.text(min_size=1) | st.binary(min_size=1), born=st.text() | st.dates().map(str))
def test_no_input_is_a_server_error(client, name, born):
    raw = name if isinstance(name, bytes) else name.encode(errors="surrogatepass")
    path = "/hello/" + quote(raw, safe="")
    assert client.put(path, json={"dateOfBirth": born}).status_code in {204, 400, 404}
    assert client.get(path).status_code in {200, 400, 404}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(body=st.binary(max_size=5000))
def test_no_body_is_a_server_error(client, body):
    assert client.put("/hello/John", data=body).status_code in {204, 400, 413}


def test_head_and_options(client, person):
    person(username="John")
    head = client.head("/hello/John")
    assert (head.status_code, head.data) == (200, b"")
    assert client.options("/hello/John").status_code == 200
    assert client.options("/hello/John").allow.as_set() == {"get", "head", "options", "put"}


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(client, method):
    response = client.open("/hello/John", method=method)
    assert_problem(response, 405)
    assert response.allow.as_set() == {"get", "head", "options", "put"}


def test_greetings_are_not_stored_by_caches(client, person):
    person(username="John")
    assert client.get("/hello/John").headers["Cache-Control"] == "no-store"


def test_today_is_the_day_in_the_time_zone(env, app):
    east = create_app(env | {"TIME_ZONE": "Pacific/Kiritimati"})  # UTC+14
    west = create_app(env | {"TIME_ZONE": "Etc/GMT+12"})  # UTC-12
    days = []
    for application in (east, app, west):
        with application.app_context():
            days.append(hello.today())
            storage.db.engine.dispose()
    assert days[0] > days[2]
    assert days[0] >= days[1] >= days[2]
    assert abs((days[1] - datetime.now(UTC).date()).days) <= 1  # midnight may have passed
