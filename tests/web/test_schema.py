import json
import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields

from web import schema

NAMES = ["J", "John", "John" * 16, "Zoë", "Łukasz", "Владимир", "李", "محمد", "देव", "ǅ", "ʻOkina"]
NO_NAMES = [
    "",
    "John" * 16 + "x",
    "x" * 5000,
    "john\n",
    "\njohn",
    "john\0",
    "john doe",
    " john",
    "john1",
    "j-d",
    "o'neil",
    "john😀",
    "١",
    "①",
    "\u0301john",
    "a\u200bb",
    "\ufffd",
    "\ud800",
    "a_b",
    "a/b",
]
NO_DATES = [
    "",
    "1990-1-5",
    "20200101",
    "1990-W03-1",
    "2020-001",
    "１９９０-01-01",
    "1990-01-0１",
    "19900-01-01",
    " 1990-01-01",
    "1990-01-01 ",
    "1990-01-01\n",
    "1990-01-01T00:00:00",
    "1990-01-01Z",
    "01.01.1990",
    "0000-01-01",
    "1990-00-01",
    "1990-13-01",
    "1990-02-30",
    "1900-02-29",
    "2023-02-29",
    "-001-01-01",
    "1990–01–01",
    "\ud800",
    0,
    19900101,
    1.5,
    None,
    True,
    [],
    ["1990-01-01"],
    {},
    {"a": 1},
]
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


@pytest.mark.parametrize("text", NAMES)
def test_letters_of_all_scripts_are_a_name(text: str) -> None:
    assert schema.parse_name(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", NO_NAMES, ids=ascii)
def test_anything_else_is_not_a_name(text: str) -> None:
    with pytest.raises(ValidationError, match="1 to 64 letters"):
        schema.parse_name(text)


def test_a_name_is_counted_after_normalisation() -> None:
    assert schema.parse_name("e\u0301" * 64) == "é" * 64
    with pytest.raises(ValidationError):
        schema.parse_name("\ufb2c" * 32)  # each becomes three code points


def test_no_name_is_composed_of_more_characters_than_are_read() -> None:
    longest = max((chr(code) for code in range(0x110000)), key=lambda one: len(decomposed(one)))
    assert schema.parse_name(decomposed(longest) * 64) == longest * 64


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("text", ["a" * 257, "a" + "\u0301\u0327" * 128, "\u0301" * 65536])
def test_longer_text_is_refused_unread(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "unicodedata", None)
    with pytest.raises(ValidationError, match="1 to 64 letters"):
        schema.parse_name(text)


@given(st.text())
def test_names_agree_with_an_oracle_of_the_rule(text: str) -> None:
    name = unicodedata.normalize("NFC", text)
    kinds = "".join(unicodedata.category(character)[0] for character in name)
    valid = 1 <= len(name) <= 64 and kinds.startswith("L") and not kinds.strip("LM")
    try:
        assert schema.parse_name(text) == name
        assert valid
    except ValidationError:
        assert not valid


@given(st.dates())
def test_a_date_is_parsed_as_written(day: date) -> None:
    assert schema.parse_date(day.isoformat()) == day


@pytest.mark.parametrize("text", NO_DATES, ids=ascii)
def test_anything_else_is_not_a_date(text: object) -> None:
    with pytest.raises(ValidationError, match="YYYY-MM-DD"):
        schema.parse_date(text)


@given(st.from_regex(r"\d{4}-[01]\d-[0-3]\d", fullmatch=True))
def test_text_in_the_format_of_a_date_is_a_date_or_is_refused(text: str) -> None:
    """The digits of any script among them, which `date` would take for these."""
    try:
        wanted = date.fromisoformat(text) if text.isascii() else None
    except ValueError:
        wanted = None
    if wanted:
        assert schema.parse_date(text) == wanted
    else:
        with pytest.raises(ValidationError, match="YYYY-MM-DD"):
            schema.parse_date(text)


def test_a_date_of_birth_is_before_today() -> None:
    today = date(2024, 2, 29)
    assert schema.require_past(date(2024, 2, 28), today) == date(2024, 2, 28)
    for born in (today, date(2024, 3, 1), date(9999, 12, 31)):
        with pytest.raises(ValidationError, match="before today, 2024-02-29"):
            schema.require_past(born, today)


@pytest.mark.parametrize("body", NO_OBJECTS, ids=lambda body: ascii(body[:20]))
def test_a_body_other_than_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValidationError, match="Send a JSON object"):
        schema.parse_object(body, {})


@given(st.dictionaries(st.text(), st.text() | st.none() | st.integers()))
def test_a_json_object_is_parsed(value: dict[str, object]) -> None:
    assert schema.parse_object(json.dumps(value).encode(), {}) == value


def test_unknown_keys_are_ignored() -> None:
    loaded = schema.Birth().load({"dateOfBirth": "1990-05-17", "shoeSize": 42})
    assert loaded["born"] == date(1990, 5, 17)
    assert "shoeSize" not in loaded


class Note(schema.Lenient):
    """What somebody who adds a resource might write."""

    name = schema.Name(data_key="nickname")
    zone = schema.Zone()
    born = schema.DateOfBirth()
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
