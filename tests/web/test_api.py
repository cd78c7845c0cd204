"""The OpenAPI document: valid, complete, and true."""

import json
import re
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.openapi import find_reader, operations, parameters, read
from web import create_app, openapi
from web.birthday import greeting
from web.inputs import Body, Inputs

DOCUMENT = read()
RULES = Path("docs/api.md").read_text()
README = Path("README.md").read_text()


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def resolve(document, answer):
    """A response of an operation, whether it is described there or shared."""
    name = answer.get("$ref", "").rpartition("/")[2]
    return document["components"]["responses"][name] if name else answer


def test_the_document_is_valid(document, env):
    validate(document)
    validate(create_app(env | {"API_KEYS": "0" * 64}).test_client().get("/openapi.json").json)


def test_the_operations_have_names_that_do_not_change(document):
    assert {
        (method, path): operation["operationId"] for path, method, operation in operations(document)
    } == {
        ("get", "/hello/{username}"): "getGreeting",
        ("put", "/hello/{username}"): "saveDateOfBirth",
        ("delete", "/hello/{username}"): "deleteUser",
        ("get", "/livez"): "getLiveness",
        ("get", "/readyz"): "getReadiness",
    }


def test_nothing_in_the_document_is_unused(document):
    text = str(document["paths"]) + str(document["components"]["responses"])
    for kind in ("schemas", "responses"):
        for name in document["components"][kind]:
            if name != "Unauthorized":  # where keys are set
                assert f"#/components/{kind}/{name}'" in text, name
    assert set(document["components"]) == {"schemas", "responses"}


def test_responses_may_gain_keys_and_constants_have_types(document):
    for name, described in document["components"]["schemas"].items():
        assert described.get("additionalProperties", True) is True, name
        for part, value in described["properties"].items():
            assert value["type"], f"{name}.{part}"


def test_no_pattern_has_another_meaning_in_javascript(document):
    """Without its flag u, a property of Unicode such as the one of letters means other letters."""
    assert "pattern" not in str(document)


def test_every_response_is_described_with_its_headers_and_an_example(document):
    for path, method, operation in operations(document):
        answers = operation["responses"]
        assert {"429", "500", "504", "default"} <= set(answers), (path, method)
        for answer in (resolve(document, answer) for answer in answers.values()):
            assert answer["description"]
            assert "X-Request-ID" in answer["headers"]
            for content in answer.get("content", {}).values():
                assert content["example"]
    user = document["paths"]["/hello/{username}"]
    assert {"200", "400", "404", "503"} <= set(user["get"]["responses"])
    assert {"204", "400", "413", "415", "503"} <= set(user["put"]["responses"])
    assert {"204", "400", "503"} <= set(user["delete"]["responses"])


def test_the_examples_of_problems_agree_with_their_status(document):
    for _, _, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status not in ("200", "204", "default"):
                (content,) = resolve(document, answer)["content"].values()
                assert content["example"]["status"] == int(status)
                assert content["example"]["title"] not in ("", "OK")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/hello/Nobody", 404), ("PUT", "/hello/John", 413), ("GET", "/hello/j0hn", 400)],
)
def test_the_examples_of_problems_are_real_responses(client, document, method, path, status):
    body = b"[" * 5000 if status == 413 else None
    operation = document["paths"]["/hello/{username}"][method.lower()]
    (content,) = resolve(document, operation["responses"][str(status)])["content"].values()
    answer = client.open(path, method=method, data=body)
    assert (answer.status_code, answer.json) == (status, content["example"])


def test_every_example_of_a_greeting_is_a_real_greeting(document):
    examples = re.findall(r"Hello, John![^\"]*", json.dumps(document))
    assert len(examples) == 2
    born = date(1990, 5, 17)
    real = {greeting("John", born, born + timedelta(days=day)) for day in range(365)}
    assert set(examples) <= real


@pytest.mark.parametrize(("path", "method"), [one[:2] for one in operations(DOCUMENT)])
def test_every_key_of_a_request_is_in_the_documents(app, path, method):
    """And nothing else is: a key that the document lacks is read from nowhere."""
    reader = find_reader(app, path, method) or Inputs()
    body = reader.body or Body()
    variables = set(re.findall(r"{(\w+)}", path))
    described = {"path": set(), "query": set()}
    for one in parameters(DOCUMENT, path, method):
        described[one["in"]].add(one["name"])
    assert described["path"] == variables == variables & set(reader.keys)
    assert described["query"] == set(reader.keys) - variables - set(body.keys) | body.or_query
    content = DOCUMENT["paths"][path][method].get("requestBody", {}).get("content", {})
    names = {one["schema"]["$ref"].rpartition("/")[2] for one in content.values()}
    keys = [set(DOCUMENT["components"]["schemas"][name]["properties"]) for name in names]
    assert keys == ([set(body.keys)] if reader.body else [])
    for key in reader.keys:
        assert f"`{key}`" in RULES, f"docs/api.md has no rule for {key}"
    for key in body.example:
        assert f'"{key}":' in README, f"README.md shows no call with {key}"


def test_the_document_names_the_owner(document):
    information = document["info"]
    assert information["version"] == openapi.VERSION
    assert information["license"]["identifier"] == "MIT"
    assert information["contact"]["email"]
    assert "29 February" in information["description"]


def test_the_deployed_version_is_at_livez(env):
    client = create_app(env | {"APP_VERSION": "1.2.3"}).test_client()
    assert client.get("/openapi.json").json["info"]["version"] == openapi.VERSION
    assert client.get("/livez").json == {"status": "ok", "version": "1.2.3"}


CASES = [
    (path, method, mode)
    for path, method, operation in operations(DOCUMENT)
    for mode in GenerationMode
    # Where nothing is sent, nothing can be wrong
    if mode is GenerationMode.POSITIVE
    or parameters(DOCUMENT, path, method)
    or "requestBody" in operation
]


@pytest.mark.parametrize(("path", "method", "mode"), CASES, ids=str)
def test_schemathesis_finds_nothing(app, context, on, path, method, mode):
    on(date.max)  # that a date of birth is in the past is more than a schema can say
    operation = schemathesis.openapi.from_wsgi("/openapi.json", app)[path][method]
    reader = find_reader(app, path, method)

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    def call(case):
        response = case.call_and_validate(excluded_checks=JUDGEMENTS)
        if reader and response.status_code in (200, 201, 204, 400):
            assert (response.status_code != 400) == is_right(case, reader)

    call()


# Its own verdict on what is valid cannot know what a name is, which no schema says
JUDGEMENTS = [negative_data_rejection, positive_data_acceptance]


def is_right(case, reader):
    """Whether a request is valid by the rules that test_schema.py tests."""
    query = {"timeZone": "UTC"} | (case.query or {})
    path = {name: unquote(value) for name, value in case.path_parameters.items()}
    if reader.body is None:
        return not reader.validate(query | path)
    # A body that is sent counts, also one that is no object
    is_sent = case.body not in (NOT_SET, b"")
    given, keys = (case.body, reader.body.keys) if is_sent else (query, reader.body.or_query)
    if not isinstance(given, dict) or (
        is_sent and reader.body.or_query & given.keys() & query.keys()
    ):
        return False
    outside = {key: value for key, value in query.items() if key not in reader.body.keys}
    return not reader.validate({key: given[key] for key in keys if key in given} | outside | path)
