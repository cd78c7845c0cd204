"""A client generated from the OpenAPI document by a public generator, tried with each method and error."""

import datetime
import hashlib
import importlib
import json
import re
import sys
from types import SimpleNamespace

import httpx
import openapi_python_client.cli
import pytest
from typer.testing import CliRunner

from tests.support.openapi import operations, parameters, read
from web import create_app

KEY = "an-open-secret"
PACKAGE = "generated_client"


DOCUMENT = read()


def function(operation):
    """The name of a function of the client: getGreeting is get_greeting."""
    return re.sub("(?=[A-Z])", "_", operation["operationId"]).lower()


@pytest.fixture(scope="module")
def guarded(app, env):
    """The application, where writing needs KEY, so that the client has all there is."""
    return create_app(env | {"API_KEYS": hashlib.sha256(KEY.encode()).hexdigest()})


@pytest.fixture(scope="module")
def generated(guarded, tmp_path_factory):
    """The functions and models of the client, as a program would import them."""
    folder = tmp_path_factory.mktemp("client")
    document = folder / "openapi.json"
    document.write_text(json.dumps(guarded.test_client().get("/openapi.json").json))
    (folder / "config.yml").write_text("post_hooks: []\n")  # its formatting is of no interest
    options = {
        "--meta": "none",
        "--path": document,
        "--output-path": folder / PACKAGE,
        "--config": folder / "config.yml",
    }
    arguments = ["generate", *(str(part) for option in options.items() for part in option)]
    made = CliRunner().invoke(openapi_python_client.cli.app, [*arguments, "--fail-on-warning"])
    assert made.exit_code == 0, made.output
    sys.path.insert(0, str(folder))
    names = {"models": "models", "client": "client"} | {
        function(operation): f"api.{operation['tags'][0]}.{function(operation)}"
        for _, _, operation in operations(DOCUMENT)
    }
    modules = {name: importlib.import_module(f"{PACKAGE}.{path}") for name, path in names.items()}
    yield SimpleNamespace(**modules)
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def caller(generated, guarded, context):
    """The client with its key, connected to the application."""
    return generated.client.AuthenticatedClient(
        base_url="http://service",
        token=KEY,
        httpx_args={"transport": httpx.WSGITransport(app=guarded)},
    )


def birth(generated, born):
    return generated.models.Birth(date_of_birth=datetime.date.fromisoformat(born))


def test_every_operation_succeeds_with_the_examples_of_the_document(generated, caller):
    for path, method, operation in operations(DOCUMENT):
        given = parameters(DOCUMENT, path, method)
        inputs = [one["schema"]["example"] for one in given if one["in"] == "path"]
        named = {}
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            model = getattr(generated.models, content["schema"]["$ref"].rpartition("/")[2])
            named["body"] = model.from_dict(content["example"])
        called = getattr(generated, function(operation)).sync_detailed
        answer = called(*inputs, client=caller, **named)
        assert answer.status_code < 300, (method, path, answer.content)
        assert str(int(answer.status_code)) in operation["responses"]


def test_it_saves_greets_and_deletes(generated, caller, on):
    on(datetime.date(2026, 5, 12))
    body = birth(generated, "1990-05-17")
    assert (
        generated.save_date_of_birth.sync_detailed("Ann", client=caller, body=body).status_code
        == 204
    )
    greeting = generated.get_greeting.sync("Ann", client=caller, time_zone="Europe/Berlin")
    assert greeting.message == "Hello, Ann! Your birthday is in 5 day(s)"
    assert generated.delete_user.sync_detailed("Ann", client=caller).status_code == 204
    assert generated.get_greeting.sync("Ann", client=caller).status == 404


def test_it_reads_problems(generated, caller, on):
    on(datetime.date(2026, 5, 12))
    unknown = generated.get_greeting.sync("Nobody", client=caller)
    assert unknown.type_ == "/docs/problems#user-not-found"
    wrong = generated.save_date_of_birth.sync(
        "j0hn", client=caller, body=birth(generated, "2026-05-12")
    )
    assert wrong.type_ == "/docs/problems#invalid-request"
    assert set(wrong.errors.additional_properties) == {"username", "dateOfBirth"}
    missing = generated.save_date_of_birth.sync("John", client=caller)
    assert missing.errors["dateOfBirth"][0].startswith("The key is missing.")
    assert generated.delete_user.sync("j0hn", client=caller).status == 400


def test_it_reads_that_a_key_is_needed(generated, caller):
    stranger = generated.client.AuthenticatedClient(
        base_url="http://service", token="wrong", httpx_args=caller._httpx_args
    )
    assert generated.delete_user.sync("John", client=stranger).status == 401
    body = birth(generated, "1990-05-17")
    assert (
        generated.save_date_of_birth.sync("John", client=stranger, body=body).title
        == "Unauthorized"
    )


def test_it_reads_health(generated, caller):
    alive = generated.get_liveness.sync(client=caller)
    assert (alive.status, alive.version) == ("ok", "dev")
    assert generated.get_readiness.sync(client=caller).status == "ok"


def test_it_reads_that_the_database_is_unavailable(generated, caller, guarded):
    app = create_app({"DATABASE_URL": "postgresql://me@127.0.0.1:1/nowhere"})
    caller = generated.client.Client(
        base_url="http://service", httpx_args={"transport": httpx.WSGITransport(app=app)}
    )
    away = generated.get_greeting.sync_detailed("John", client=caller)
    assert away.parsed.type_ == "/docs/problems#database-unavailable"
    assert away.headers["Retry-After"] == "5"
