import re
from datetime import date
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from marshmallow import ValidationError
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from web import create_app, schema


def test_the_document_describes_the_api(client):
    response = client.get("/openapi.json")
    document = response.json
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/hello/{username}", "/livez", "/readyz"}
    operations = document["paths"]["/hello/{username}"]
    assert {"200", "404", "default"} <= set(operations["get"]["responses"])
    assert {"204", "400", "default"} <= set(operations["put"]["responses"])
    problem = document["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert list(problem) == ["application/problem+json"]
    assert "29 February" in document["info"]["description"]


def test_the_documentation_page_needs_no_other_host(client):
    page = client.get("/docs")
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in page.text
    references = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(references) == 5
    for reference in references:
        response = client.get(f"/{reference}")
        assert response.status_code == 200, reference
        response.close()


def test_only_the_parts_that_the_page_needs_are_served(client):
    assert client.get("/docs/oauth2-redirect.html").status_code == 404
    assert client.get("/docs/..%2F__init__.py").status_code == 404


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/hello/{username}", "GET"),
        ("/hello/{username}", "PUT"),
        ("/livez", "GET"),
        ("/readyz", "GET"),
    ],
)
def test_schemathesis_finds_nothing(app, context, on, path, method, mode):
    if method == "PUT":
        on(date.max)  # that a date of birth is in the past is more than a schema can say
    operation = schemathesis.openapi.from_wsgi("/openapi.json", app)[path][method]
    if mode.is_negative and not (operation.path_parameters or operation.body):
        return  # nothing that could be sent wrongly

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    def call(case):
        response = case.call_and_validate(excluded_checks=JUDGEMENTS)
        if path.startswith("/hello/") and response.status_code in (200, 204, 400):
            assert (response.status_code != 400) == is_right(case)

    call()


# Its own verdict on what is valid rests on another edition of Unicode: letters that Python does not
# know yet are valid to it, and the name ªµÜÑ is not
JUDGEMENTS = [negative_data_rejection, positive_data_acceptance]


def is_right(case):
    """Whether a request is valid by the rules that test_schema.py tests."""
    try:
        schema.parse_name(unquote(case.path_parameters["username"]))
        if case.method == "PUT":
            schema.parse_date(case.body["dateOfBirth"])
    except (ValidationError, KeyError, TypeError):
        return False
    return True


def test_the_version_is_in_the_document(env):
    client = create_app(env | {"APP_VERSION": "1.2.3"}).test_client()
    assert client.get("/openapi.json").json["info"]["version"] == "1.2.3"
    assert client.get("/livez").json == {"status": "ok", "version": "1.2.3"}
