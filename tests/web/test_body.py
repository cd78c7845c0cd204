"""Where each input of a request comes from, for a resource that the application does not have."""

import json

import pytest
from flask import request
from marshmallow import ValidationError, fields

from web import body, schema


class Thing(schema.Body):
    """A body, one of whose keys may be in the query string."""

    or_query = frozenset({"size"})

    text = fields.String(required=True, metadata={"example": "some text"})
    size = fields.String(metadata={"example": "5"})


class Look(schema.Inputs):
    """Inputs without a body."""

    number = fields.String(required=True)
    page = fields.String()


class Keep(Look, Thing):
    """Inputs with a body."""


def parse(app, reader, query="", content=None, number="7"):
    with app.test_request_context(f"/?{query}", method="PUT", data=content):
        return body.parse(request, {"number": number}, reader)


def test_each_input_has_its_place(app):
    content = b'{"text": "a", "size": "1"}'
    assert parse(app, Keep(), "page=2", content) == {
        "number": "7",
        "page": "2",
        "text": "a",
        "size": "1",
    }


def test_no_input_is_read_from_another_place(app):
    content = json.dumps({"text": "a", "page": "from the body", "number": "from the body"})
    query = "number=from-the-query&text=from-the-query&size=from-the-query"
    assert parse(app, Keep(), query, content) == {"number": "7", "text": "a"}
    with pytest.raises(ValidationError) as error:
        parse(app, Keep(), query)
    assert set(error.value.messages) == {"text"}


def test_without_a_body_its_marked_keys_are_read_from_the_query_string(app):
    with pytest.raises(ValidationError) as error:
        parse(app, Keep(), "size=\0")
    assert set(error.value.messages) == {"size", "text"}


def test_a_body_is_read_only_where_there_can_be_one(app):
    assert parse(app, Look(), "page=2", b"no JSON") == {"number": "7", "page": "2"}


def test_an_invalid_body_is_answered_with_an_example_of_it(app):
    with pytest.raises(ValidationError) as error:
        parse(app, Keep(), content=b"[]", number="\0")
    assert error.value.messages == {
        "number": [schema.TEXT_RULE],
        "body": ['Send a JSON object such as {"text": "some text"}.'],
    }
