"""Parsers from untrusted text to typed values, and the shapes of all requests and responses."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from marshmallow import INCLUDE, Schema, ValidationError, fields, validates_schema

from web import clock
from web.inputs import Body, Inputs, Parsed

NAME_LIMIT = 64  # Unicode code points, counted after normalisation
NAME_RULE = f"Use 1 to {NAME_LIMIT} letters and nothing else."
DATE_RULE = "Use a real date, written YYYY-MM-DD."
DATE_MISSING = f"The key is missing. {DATE_RULE}"
ZONE_RULE = "Use an IANA time zone such as Europe/Berlin."

# No character is composed of more than four code points, so a longer text cannot become a name. It
# is refused before normalisation, which takes quadratic time in older Pythons: 1.1 s of CPU for
# unicodedata.normalize("NFC", "a" + "\u0316\u0300" * 16384), 64 KB (3.11.7, 27 November 2026)
UNNORMALISED_LIMIT = 4 * NAME_LIMIT

# A pattern of the character categories in a name, with J for U+200C and U+200D: letters, marks
# after a letter, and single joiners between them, as Persian and Sinhala need
_NAME = re.compile(r"L[LM]*(?:J[LM]+)*")
_JOINERS = "\u200c\u200d"
_EARLIEST = clock.parse_zone("Pacific/Kiritimati")  # the zone in which each day begins first
_ZONES: dict[str, list[str]] = {}  # by name and by city, in lower case
for _zone in sorted(clock.ZONES):
    for _word in {_zone.casefold(), _zone.rpartition("/")[2].casefold()}:
        _ZONES.setdefault(_word, []).append(_zone)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_name(text: object) -> str:
    """``text`` as a user name, in Unicode normalisation form C.

    A name is 1 to 64 letters of any script (category L*); marks (M*) may follow a letter, as
    scripts such as Devanagari need, and one U+200C or U+200D may appear between letters. Case
    matters. Raises ValidationError for anything else, whatever its type, including hyphens,
    apostrophes and blanks.
    """
    if not isinstance(text, str) or len(text) > UNNORMALISED_LIMIT:
        raise ValidationError(NAME_RULE)
    name = unicodedata.normalize("NFC", text)
    kinds = ("J" if one in _JOINERS else unicodedata.category(one)[0] for one in name)
    if len(name) > NAME_LIMIT or not _NAME.fullmatch("".join(kinds)):
        raise ValidationError(NAME_RULE)
    return name


def parse_date(text: object) -> date:
    """``text`` as a date: exactly YYYY-MM-DD in ASCII digits, years 0001 to 9999.

    Stricter than ``date.fromisoformat``, which also accepts 20200101 and 2020-W01-1. Raises
    ValidationError for anything else, whatever its type.
    """
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise ValidationError(DATE_RULE)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValidationError(DATE_RULE) from None


def parse_zone(text: object) -> ZoneInfo:
    """The time zone of that IANA name.

    Raises ValidationError for anything else, whatever its type. It suggests names that differ only
    in case or blanks, or of which ``text`` is the city. Searching for similar ones would cost as
    much CPU as ten greetings: 5 ms (``timeit`` of difflib.get_close_matches, 27 November 2026).
    """
    if not isinstance(text, str):
        raise ValidationError(ZONE_RULE)
    try:
        return clock.parse_zone(text)
    except LookupError:
        word = text.strip().casefold()
        meant = _ZONES.get(word.replace(" ", "_")) or _ZONES.get(word.replace(" ", "+")) or []
        hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
        hint += " In a URL, write + as %2B." if "+" in "".join(meant) else ""
        raise ValidationError(ZONE_RULE + hint) from None


def require_past(born: date, today: date) -> date:
    """``born`` if it lies strictly before ``today``; raises ValidationError otherwise."""
    if born >= today:
        raise ValidationError(f"Use a date before today, {today}.", "dateOfBirth")
    return born


class Who(Inputs):
    """The user that a request is about."""

    in_path = frozenset({"username"})

    name = Parsed(
        parse_name,
        required=True,
        data_key="username",
        metadata={
            "description": f"{NAME_RULE} Letters of all scripts are accepted. Combining marks may "
            "follow a letter, and U+200C or U+200D may appear between two letters. Hyphens, "
            "apostrophes and spaces are rejected. Names are case-sensitive. The letters are "
            "counted in Unicode normalisation form C.",
            "minLength": 1,
            "maxLength": UNNORMALISED_LIMIT,
            "example": "John",
        },
    )


class Greet(Who):
    """A request that also depends on the current date."""

    zone = Parsed(
        parse_zone,
        "tz",
        data_key="timeZone",
        metadata={
            "description": "The IANA time zone that determines the current date, such as "
            "Europe/Berlin. Defaults to the operator's.",
            "minLength": 1,
        },
    )


class Birth(Body):
    """The body of PUT /hello/<username>.

    A key that may be absent has load_default=None, and allow_none=True, which adds null to its
    type in the document.
    """

    example: Mapping[str, Any] = {"dateOfBirth": "1990-05-17"}
    or_query = frozenset({"dateOfBirth"})

    born = Parsed(
        parse_date,
        *("dob", "birthday", "birthDate"),
        required=True,
        data_key="dateOfBirth",
        error_messages={"required": DATE_MISSING, "null": DATE_RULE},
        metadata={
            "description": "A real date, written YYYY-MM-DD, strictly before today.",
            "format": "date",
        },
    )


class Save(Greet, Birth):
    """All inputs of PUT /hello/<username>."""

    @validates_schema(skip_on_field_errors=False)
    def _require_past(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if "born" in data:
            require_past(data["born"], clock.today(data.get("zone", _EARLIEST)))


class Answer(Schema):
    """The base of all response schemas: responses may gain keys, which callers must ignore."""

    class Meta:
        unknown = INCLUDE


class Greeting(Answer):
    """The answer to GET /hello/<username>."""

    message = fields.String(
        required=True, metadata={"example": "Hello, John! Your birthday is in 5 day(s)"}
    )


class Ready(Answer):
    """The answer of /readyz."""

    status = fields.Constant("ok", required=True, metadata={"type": "string", "const": "ok"})


class Alive(Ready):
    """The answer of /livez."""

    version = fields.String(required=True, metadata={"description": "The deployed version."})


def _about(description: str, **more: Any) -> dict[str, Any]:
    return {"required": True, "metadata": {"description": description, **more}}


class Problem(Answer):
    """The answer to a request that cannot be served, as RFC 9457 defines it."""

    type = fields.String(**_about("A URI that identifies the problem.", format="uri-reference"))
    title = fields.String(**_about("A short description of this type.", example="Bad Request"))
    status = fields.Integer(**_about("The HTTP status code."))
    detail = fields.String(**_about("What went wrong this time, and what to do."))
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "The errors in each part of the request, by its name."},
    )
