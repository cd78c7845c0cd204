"""Untrusted text in, typed values out, or ValidationError; and the shapes of all answers."""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any, NoReturn

from marshmallow import EXCLUDE, Schema, ValidationError, fields

NAME_LIMIT = 64  # Unicode code points, counted after normalisation
NAME_PATTERN = r"^\p{L}[\p{L}\p{M}]*$"  # as OpenAPI documents it; parse_name decides
NAME_RULE = f"Use 1 to {NAME_LIMIT} letters and nothing else."
DATE_RULE = "Use a real date, written YYYY-MM-DD."
JSON_RULE = 'Send a JSON object such as {"dateOfBirth": "1990-05-17"}.'

# No character is composed of more than four, so that longer text cannot become a name. It is
# refused unread: older Pythons need quadratic time to normalise it, 1.2 s of CPU for 64 KB
_UNNORMALISED_LIMIT = 4 * NAME_LIMIT
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_name(text: str) -> str:
    """``text`` as a user name, in Unicode normalisation form C.

    A name is 1 to 64 letters of any script (category L*); marks (M*) may follow a letter, as
    scripts such as Devanagari need. Case counts. Raises ValidationError for anything else.
    """
    if len(text) > _UNNORMALISED_LIMIT:
        raise ValidationError(NAME_RULE, "username")
    name = unicodedata.normalize("NFC", text)
    categories = [unicodedata.category(character)[0] for character in name]
    if not 1 <= len(name) <= NAME_LIMIT or categories[0] != "L" or not {*categories} <= {*"LM"}:
        raise ValidationError(NAME_RULE, "username")
    return name


def parse_date(text: object) -> date:
    """``text`` as a date: exactly YYYY-MM-DD in ASCII digits, years 0001 to 9999.

    Stricter than ``date.fromisoformat``, which takes 20200101 and 2020-W01-1 too. Raises
    ValidationError for anything else, whatever its type.
    """
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise ValidationError(DATE_RULE)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValidationError(DATE_RULE) from None


def require_past(born: date, today: date) -> date:
    """``born`` if it lies strictly before ``today``; raises ValidationError otherwise."""
    if born >= today:
        raise ValidationError(f"Use a date before today, {today}.", "dateOfBirth")
    return born


def parse_object(body: bytes) -> Mapping[str, Any]:
    """``body`` as the JSON object of RFC 8259: UTF-8, finite numbers, names to values.

    Raises ValidationError for anything else, nesting too deep for the parser included.
    """
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValidationError(JSON_RULE, "body") from None
    if not isinstance(value, dict):
        raise ValidationError(JSON_RULE, "body")
    return value


class DateOfBirth(fields.Field[date]):
    """A date of birth in a request; see parse_date for what is valid."""

    default_error_messages = {"required": DATE_RULE, "null": DATE_RULE}  # noqa: RUF012  # as in Field

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **kwargs: object
    ) -> date:
        return parse_date(value)


class Birth(Schema):
    """The body of PUT /hello/<username>; keys that it does not know are ignored."""

    class Meta:
        unknown = EXCLUDE

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


class Greeting(Schema):
    """The answer to GET /hello/<username>."""

    message = fields.String(
        required=True,
        metadata={"example": "Hello, John! Your birthday is in 5 day(s)"},
    )


class Alive(Schema):
    """The answer of /livez."""

    status = fields.Constant("ok", required=True)
    version = fields.String(required=True, metadata={"description": "The deployed version."})


class Ready(Schema):
    """The answer of /readyz."""

    status = fields.Constant("ok", required=True)


class Problem(Schema):
    """The answer to a request that cannot be served, as RFC 9457 defines it."""

    type = fields.String(
        required=True,
        metadata={"description": "A URI that names the kind of problem.", "example": "about:blank"},
    )
    title = fields.String(
        required=True,
        metadata={"description": "The kind of problem, in words.", "example": "Bad Request"},
    )
    status = fields.Integer(required=True, metadata={"description": "The HTTP status code."})
    detail = fields.String(
        required=True, metadata={"description": "What went wrong this time, and what to do."}
    )
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "What is wrong with each part of the request, by its name."},
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
