"""The parts of the OpenAPI document that no code shows: its texts, and what many answers share."""

from typing import Any

from web import errors, keys, schema
from web.body import Compressed

TITLE = "Birthday greetings"
VERSION = "1.2.0"  # the version of the API; CHANGELOG.md lists its changes
DESCRIPTION = """\
Save a user's date of birth, and get the number of days until the next birthday.

People born on 29 February celebrate on 1 March in non-leap years. The current date is determined
in the time zone of the parameter `timeZone`, or else in the operator's (UTC by default).

Every error is answered with a problem document (RFC 9457), whose `type` identifies the problem for
programs: [all types](docs/problems). Responses may gain keys: ignore those that you do not know.
Unknown parameters, and unknown keys of bodies, are ignored; misspelt parameters are refused.
"""
OPTIONS: dict[str, Any] = {
    "info": {
        "description": DESCRIPTION,
        "license": {"name": "MIT", "identifier": "MIT"},
        "contact": {"name": "The owner of the service", "email": "owner@example.com"},
    },
    "security": [],  # operations that need a key say so
}
Json = dict[str, Any]
KEY = "key"
SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key that the operator of the service has given you.",
}


def _header(name: str, description: str, example: Any, kind: str = "string") -> Json:
    return {name: {"description": description, "schema": {"type": kind}, "example": example}}


HEADERS = _header(  # of every response
    "X-Request-ID",
    "The id of this request, also in the logs.",
    "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
)
_RETRY = _header("Retry-After", "Seconds to wait before the next attempt.", 5, "integer")
_CHALLENGE = _header("WWW-Authenticate", "How to send a key.", keys.challenge(TITLE).to_header())
_UNCOMPRESSED = _header("Accept-Encoding", "The only accepted coding of bodies.", "identity")

HELLO = {"message": "Hello, John! Happy birthday!"}
USER_NOT_FOUND = errors.document(
    errors.Kind(404, "User not found", "/docs/problems#user-not-found"),
    "No date of birth is saved under this name. Save one with PUT first.",
)


def _problem(description: str, example: Json, headers: Json | None = None) -> Json:
    return {
        "description": description,
        "headers": HEADERS | (headers or {}),
        "content": {errors.MEDIA_TYPE: {"schema": schema.Problem, "example": example}},
    }


def _blank(description: str, status: int, detail: str = "", headers: Json | None = None) -> Json:
    example = errors.document(errors.blank(status), detail or errors.DETAILS[status])
    return _problem(description, example, headers)


_BUSY = "Slow down, and try again in a second."
# The responses that operations share, by their name in the document; 429 and 504 come from nginx
RESPONSES = {
    "InvalidRequest": _problem(
        "The request is invalid; `errors` lists all invalid parts",
        errors.invalid({"username": [schema.NAME_RULE]}),
    ),
    "Unauthorized": _blank("A valid key is required", 401, keys.DETAIL, _CHALLENGE),
    "UserNotFound": _problem("No date of birth is saved under this name", USER_NOT_FOUND),
    "NotFound": _blank("Not accessible from outside", 404),
    "BodyTooLarge": _blank("The body is too large", 413),
    "CompressedBody": _blank("The body is compressed", 415, Compressed.description, _UNCOMPRESSED),
    "TooManyRequests": _blank("Too many requests from one address", 429, _BUSY, _RETRY),
    "ServerError": _blank("The server failed", 500),
    "DatabaseUnavailable": _problem(
        "The database or the application is temporarily unavailable; the log says why",
        errors.unavailable(),
        _RETRY,
    ),
    "Timeout": _blank("The application did not answer in time", 504, headers=_RETRY),
    "Problem": _blank("Any other error", 405, "This path supports GET, HEAD, OPTIONS."),
}
DATABASE = {503: "DatabaseUnavailable"}  # where the database is used
# What every operation may answer
EVERYWHERE = {429: "TooManyRequests", 500: "ServerError", 504: "Timeout", "default": "Problem"}
