import re
from datetime import date

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from web import create_app


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
        case.call_and_validate()

    call()


def test_the_version_is_in_the_document(env):
    client = create_app(env | {"APP_VERSION": "1.2.3"}).test_client()
    assert client.get("/openapi.json").json["info"]["version"] == "1.2.3"
    assert client.get("/livez").json == {"status": "ok", "version": "1.2.3"}
