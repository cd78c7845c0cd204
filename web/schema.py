"""Parsers from untrusted text to typed values, and the shapes of all requests and responses."""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from marshmallow import EXCLUDE, INCLUDE, Schema, ValidationError, fields, validates_schema

from web import clock

NAME_LIMIT = 64  # Unicode code points, counted after normalisation
NAME_RULE = f"Use 1 to {NAME_LIMIT} letters and nothing else."
DATE_RULE = "Use a real date, written YYYY-MM-DD."
DATE_MISSING = f"The key is missing. {DATE_RULE}"
JSON_RULE = "Send a JSON object such as {example}."
TEXT_RULE = "Use text without U+0000 and without lone surrogates."
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
_UNSTORABLE = re.compile("[\\0\ud800-\udfff]")
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
    if len(name) > NAME_LIMIT or not _NAME.fullmatch("".join(map(_kind, name))):
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


def parse_object(body: bytes, example: Mapping[str, Any]) -> Mapping[str, Any]:
    """``body`` parsed as a JSON object (RFC 8259), in UTF-8 and with finite numbers only.

    A byte-order mark at the start is ignored. Raises ValidationError, which shows ``example``, for
    anything else, including nesting too deep for the parser.
    """
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
        if isinstance(value, dict):
            return value
    except (ValueError, RecursionError):
        pass
    raise ValidationError(JSON_RULE.format(example=json.dumps(example)), "body")


class Name(fields.Field[str]):
    """A user's name in a request; see parse_name for what is valid."""

    def _deserialize(self, value: object, attr: Any, data: Any, **kwargs: Any) -> str:
        return parse_name(value)


class Zone(fields.Field[ZoneInfo]):
    """A time zone in a request; see parse_zone for what is valid."""

    def _deserialize(self, value: object, attr: Any, data: Any, **kwargs: Any) -> ZoneInfo:
        return parse_zone(value)


class DateOfBirth(fields.Field[date]):
    """A date of birth in a request; see parse_date for what is valid."""

    default_error_messages = {"required": DATE_MISSING, "null": DATE_RULE}  # noqa: RUF012  # as in Field

    def _deserialize(self, value: object, attr: Any, data: Any, **kwargs: Any) -> date:
        return parse_date(value)


class Lenient(Schema):
    """The base of all request schemas: unknown keys are ignored, and texts can be stored."""

    class Meta:
        unknown = EXCLUDE

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keys = {field.data_key or name: field for name, field in self.fields.items()}
        self._texts = [
            key
            for key, field in self.keys.items()
            if not isinstance(field, Name | Zone | DateOfBirth)  # which accept no other text
        ]

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _require_storable(self, data: object, given: Mapping[str, Any], **kwargs: Any) -> None:
        wrong = [key for key in self._texts if not _is_storable(given.get(key))]
        if wrong:
            raise ValidationError({key: [TEXT_RULE] for key in wrong})


class Body(Lenient):
    """The base of the schemas of bodies. Without a body, ``or_query`` is read from the query."""

    or_query: frozenset[str] = frozenset()

    @property
    def example(self) -> dict[str, Any]:
        """A valid body: the example of each required key."""
        return {
            key: field.metadata["example"] for key, field in self.keys.items() if field.required
        }


class Inputs(Lenient):
    """The base of what operations read from the path and the query string.

    One that also reads a body inherits from its Body, too; ``body`` has that schema, or None.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        ours = type(self).__mro__
        kinds = [one for one in ours if issubclass(one, Body) and not issubclass(one, Inputs)]
        self.body = kinds[0]() if kinds else None


class Who(Inputs):
    """The user that a request is about."""

    name = Name(required=True, data_key="username")


class Greet(Who):
    """A request that also depends on the current date."""

    zone = Zone(required=True, data_key="timeZone")


class Birth(Body):
    """The body of PUT /hello/<username>.

    A key that may be absent has load_default=None, and allow_none=True, which adds null to its
    type in the document.
    """

    or_query = frozenset({"dateOfBirth"})

    born = DateOfBirth(
        required=True,
        data_key="dateOfBirth",
        metadata={
            "description": "A real date, written YYYY-MM-DD, strictly before today.",
            "type": "string",
            "format": "date",
            "example": "1990-05-17",
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
        required=True,
        metadata={"example": "Hello, John! Your birthday is in 5 day(s)"},
    )


OK = {"type": "string", "const": "ok"}


class Alive(Answer):
    """The answer of /livez."""

    status = fields.Constant("ok", required=True, metadata=OK)
    version = fields.String(required=True, metadata={"description": "The deployed version."})


class Ready(Answer):
    """The answer of /readyz."""

    status = fields.Constant("ok", required=True, metadata=OK)


class Problem(Answer):
    """The answer to a request that cannot be served, as RFC 9457 defines it."""

    type = fields.String(
        required=True,
        metadata={
            "description": "A URI that names the kind of problem.",
            "format": "uri-reference",
        },
    )
    title = fields.String(
        required=True,
        metadata={
            "description": "A short description of this type of problem.",
            "example": "Bad Request",
        },
    )
    status = fields.Integer(required=True, metadata={"description": "The HTTP status code."})
    detail = fields.String(
        required=True, metadata={"description": "What went wrong this time, and what to do."}
    )
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "The errors in each part of the request, by its name."},
    )


def _kind(character: str) -> str:
    return "J" if character in _JOINERS else unicodedata.category(character)[0]


def _is_storable(value: object) -> bool:
    """Whether PostgreSQL can store each text in a JSON value: no U+0000, no surrogates."""
    left = [value]
    while left:
        match left.pop():
            case str() as text if _UNSTORABLE.search(text):
                return False
            case list() as values:
                left += values
            case dict() as pairs:
                left += [*pairs, *pairs.values()]
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
