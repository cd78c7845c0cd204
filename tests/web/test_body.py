"""What is read of a request, for a resource that the application does not have."""

import json

import pytest
from flask import request
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields

from web import body, inputs, schema
from web.inputs import Body, Inputs, Lenient, Parsed

NO_OBJECTS = [
    b"",
    b" ",
    b"{",
    b"[]",
    b"0",
    b"null",
    b'"1990-01-01"',
    b"NaN",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b"\xff",
    b'{"a": "\xff"}',
    b"[" * 100_000,
    b'{"a":' * 4_000,
    b"{'a': 1}",
    b"dateOfBirth=1990-01-01",
    '{"a": 1}'.encode("utf-16"),
    b'{"a": ' + b"9" * 5_000 + b"}",
]


class Thing(Body):
    """A body, one of whose keys may be in the query string."""

    example = {"text": "some text"}  # noqa: RUF012  # as in a schema
    or_query = frozenset({"size"})

    text = fields.String(required=True)
    size = fields.String()


class Look(Inputs):
    """Inputs without a body."""

    in_path = frozenset({"number"})

    number = fields.String(required=True)
    page = Parsed(str, "leaf")


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
        "number": [inputs.TEXT_RULE],
        "body": ['Send a JSON object such as {"text": "some text"}.'],
    }


@pytest.mark.parametrize(
    ("query", "content", "key"),
    [
        ("page=1&page=1", None, "page"),
        ("size=1&size=2", None, "size"),
        ("size=1", b'{"text": "a", "size": "1"}', "size"),
        ("", b'{"text": "a", "size": "1", "size": "1"}', "size"),
        ("", b'{"text": "a", "te\\u0078t": "b"}', "text"),
    ],
)
def test_what_is_given_twice_is_refused(app, query, content, key):
    with pytest.raises(ValidationError) as error:
        parse(app, Keep(), query, content)
    assert error.value.messages[key] == ["Send it once."]


def test_unknown_keys_may_be_given_twice(app):
    content = b'{"text": "a", "more": {"x": 1, "x": 2}, "y": 1, "y": 2}'
    assert parse(app, Keep(), "x=1&x=2&text=b", content) == {"number": "7", "text": "a"}


@pytest.mark.parametrize("name", ["Page", "pages", "pa-ge", "LEAF"])
def test_a_misspelt_parameter_is_refused(app, name):
    with pytest.raises(ValidationError) as error:
        parse(app, Look(), f"page=2&{name}=3")
    assert error.value.messages == {name: ["Did you mean page?"]}


@pytest.mark.parametrize("name", ["age", "number", "text", "p", "", "p" * 9000, "leaflet"])
def test_other_unknown_parameters_are_ignored(app, name):
    assert parse(app, Look(), f"{name}=3") == {"number": "7"}


def test_all_mistakes_are_listed_at_once(app):
    with pytest.raises(ValidationError) as error:
        parse(app, Keep(), "Page=1&page=1&page=2", b"[]", number="\0")
    assert set(error.value.messages) == {"Page", "page", "body", "number"}


@pytest.mark.parametrize("content", NO_OBJECTS, ids=lambda content: ascii(content[:20]))
def test_a_body_other_than_a_json_object_is_refused(content):
    with pytest.raises(ValidationError, match="Send a JSON object"):
        inputs.parse_object(content, Thing())


@given(st.dictionaries(st.text(), st.text() | st.none() | st.integers()))
def test_a_json_object_is_parsed(value):
    given = json.dumps(value | {"text": value}).encode()
    assert inputs.parse_object(given, Thing())["text"] == value


class Note(Lenient):
    """What somebody who adds a resource might write."""

    name = Parsed(schema.parse_name, data_key="nickname")
    zone = Parsed(schema.parse_zone)
    born = Parsed(schema.parse_date)
    text = fields.String()
    texts = fields.List(fields.String())
    more = fields.Dict()


@pytest.mark.parametrize("value", [5, True, None, 1.5, ["x"], {"a": 1}, [], {}], ids=repr)
@pytest.mark.parametrize("key", ["nickname", "zone", "born", "text", "texts"])
def test_no_parser_trusts_a_type(key: str, value: object) -> None:
    is_valid = key == "texts" and value in ([], ["x"])
    assert set(Note().validate({key: value})) == (set() if is_valid else {key})


@pytest.mark.parametrize("bad", ["\0", "a\0b", "\ud800", "a\udfffb"], ids=ascii)
def test_text_that_cannot_be_stored_is_refused(bad: str) -> None:
    for key, value in (
        ("nickname", bad),
        ("zone", bad),
        ("born", bad),
        ("text", bad),
        ("texts", ["a", bad]),
        ("more", {"a": {"b": [bad]}}),
        ("more", {bad: 1}),
    ):
        with pytest.raises(ValidationError) as error:
            Note().load({key: value, "nobody reads this": bad})
        assert set(error.value.normalized_messages()) == {key}
    assert Note().load({"nobody reads this": bad}) == {}
