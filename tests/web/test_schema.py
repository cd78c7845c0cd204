import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

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


def test_unknown_keys_are_ignored() -> None:
    loaded = schema.Birth().load({"dateOfBirth": "1990-05-17", "shoeSize": 42})
    assert loaded["born"] == date(1990, 5, 17)
    assert "shoeSize" not in loaded
