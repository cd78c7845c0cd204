"""The parts of the OpenAPI document that no code shows: texts, parameters and responses."""

from typing import Any

from flask import Flask
from marshmallow import Schema

from web import errors, keys, schema

TITLE = "Birthday greetings"
VERSION = "1.1.0"  # the version of the API; CHANGELOG.md lists its changes
DESCRIPTION = """\
Save a user's date of birth, and get the number of days until the next birthday.

People born on 29 February celebrate on 1 March in non-leap years. The current date is determined
in the time zone of the parameter `timeZone`, or else in the one that the operator configured (UTC
by default).

Every error is answered with a problem document (RFC 9457), whose `type` programs can rely on:
[all types](docs/problems). Responses may gain keys: ignore those that you do not know. So does the
service with unknown parameters and keys of requests.
"""
OPTIONS: dict[str, Any] = {
    "info": {
        "description": DESCRIPTION,
        "license": {"name": "MIT", "identifier": "MIT"},
        "contact": {"name": "The owner of the service", "email": "owner@example.com"},
    },
    "security": [],  # add_security marks the operations that need a key
}
KEY = "key"
SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key that the operator of the service has given you.",
}

USERNAME: dict[str, Any] = {
    "name": "username",
    "in": "path",
    "required": True,
    "description": f"{schema.NAME_RULE} Letters of all scripts will do, marks may follow a letter, "
    "and U+200C or U+200D may stand between two. Hyphens, apostrophes and blanks are refused. "
    "Case counts. The letters are counted in Unicode normalisation form C.",
    "schema": {"type": "string", "minLength": 1, "maxLength": schema.UNNORMALISED_LIMIT},
    "example": "John",
}
TIME_ZONE: dict[str, Any] = {
    "name": "timeZone",
    "in": "query",
    "required": False,
    "description": "The IANA time zone that determines the current date. Defaults to the "
    "operator's.",
    "schema": {"type": "string", "minLength": 1},
    "example": "Europe/Berlin",
}
DATE_OF_BIRTH: dict[str, Any] = {
    "name": "dateOfBirth",
    "in": "query",
    "required": False,
    "description": "Used if there is no body.",
    "schema": {"type": "string", "format": "date"},
}
BODY: dict[str, Any] = {
    "required": False,
    "description": "JSON of at most 4096 bytes, whatever the Content-Type. Without a body, "
    "dateOfBirth is read from the query string.",
    "content": {"application/json": {"schema": schema.Birth, "example": schema.Birth().example}},
}

REQUEST_ID = {
    "description": "The id of this request, which also appears in the logs.",
    "schema": {"type": "string"},
    "example": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
}
RETRY = {
    "description": "The number of seconds to wait before the next attempt.",
    "schema": {"type": "integer", "minimum": 1},
    "example": 5,
}
CHALLENGE = {
    "description": "How to send a key.",
    "schema": {"type": "string"},
    "example": keys.challenge(TITLE).to_header(),
}


def _problem(description: str, example: dict[str, Any], **headers: Any) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {"X-Request-ID": REQUEST_ID, **headers},
        "content": {errors.MEDIA_TYPE: {"schema": schema.Problem, "example": example}},
    }


def _blank(status: int, detail: str) -> dict[str, Any]:
    return errors.document(errors.blank(status), detail)


USER_NOT_FOUND = errors.document(
    errors.Kind(404, "User not found", "/docs/problems#user-not-found"),
    "No date of birth is saved under this name. Save one with PUT first.",
)
# The responses that operations share, by their name in the document; 429 and 504 come from nginx
RESPONSES = {
    "InvalidRequest": _problem(
        "The request is invalid; `errors` lists all invalid parts",
        errors.invalid({"username": [schema.NAME_RULE]}),
    ),
    "Unauthorized": _problem(
        "A key is required, and none or an unknown one was sent",
        _blank(401, keys.DETAIL),
        **{"WWW-Authenticate": CHALLENGE},
    ),
    "UserNotFound": _problem("No date of birth is saved under this name", USER_NOT_FOUND),
    "NotFound": _problem("Not accessible from outside", _blank(404, errors.DETAILS[404])),
    "BodyTooLarge": _problem("The body is too large", _blank(413, errors.DETAILS[413])),
    "TooManyRequests": _problem(
        "Too many requests from one address",
        _blank(429, "Slow down, and try again in a second."),
        **{"Retry-After": RETRY},
    ),
    "ServerError": _problem("The server failed", _blank(500, errors.DETAILS[500])),
    "DatabaseUnavailable": _problem(
        "The database or the application is temporarily unavailable; the log says why",
        errors.unavailable(),
        **{"Retry-After": RETRY},
    ),
    "Timeout": _problem(
        "The application did not answer in time",
        _blank(504, errors.DETAILS[504]),
        **{"Retry-After": RETRY},
    ),
    "Problem": _problem("Any other error", _blank(405, "This path supports GET, HEAD, OPTIONS.")),
}
_EVERYWHERE: dict[Any, str] = {
    429: "TooManyRequests",
    500: "ServerError",
    504: "Timeout",
    "default": "Problem",
}


def _operation(
    name: str,
    success: dict[int, Any],
    problems: dict[int, str],
    **more: Any,
) -> dict[str, Any]:
    responses = {**success, **problems, **_EVERYWHERE}
    return {"operationId": name, "responses": responses, **more}


def _answer(
    description: str, content: type[Schema] | None = None, **example: str
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description, "headers": {"X-Request-ID": REQUEST_ID}}
    if content:
        answer["content"] = {"application/json": {"schema": content, "example": example}}
    return answer


_INVALID = {400: "InvalidRequest", 503: "DatabaseUnavailable"}

# The operations. Generated clients use these names for their functions
GREET = _operation(
    "getGreeting",
    {200: _answer("The greeting", schema.Greeting, message="Hello, John! Happy birthday!")},
    _INVALID | {404: "UserNotFound"},
    parameters=[TIME_ZONE],
)
SAVE = _operation(
    "saveDateOfBirth",
    {204: _answer("Saved")},
    _INVALID | {413: "BodyTooLarge"},
    parameters=[TIME_ZONE, DATE_OF_BIRTH],
    requestBody=BODY,
)
DELETE = _operation("deleteUser", {204: _answer("Deleted, or not known")}, _INVALID)
LIVENESS = _operation(
    "getLiveness",
    {200: _answer("The process is up", schema.Alive, status="ok", version="3f2504e04f89-7")},
    {},
)
READINESS = _operation(
    "getReadiness",
    {200: _answer("Requests can be served", schema.Ready, status="ok")},
    {404: "NotFound", 503: "DatabaseUnavailable"},
)


def add_security(
    doc: dict[str, Any], doc_info: Any, *, app: Flask, **kwargs: Any
) -> dict[str, Any]:
    """The operation ``doc``, with the security requirement if the application requires keys."""
    if doc_info.get("needs_key") and app.config["API_KEYS"]:
        doc["security"] = [{KEY: []}]
        doc.setdefault("responses", {})[401] = "Unauthorized"
    return doc
