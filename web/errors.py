"""Every error, as the problem document of RFC 9457. All error handlers are in this file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from web import database, outage, storage

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds
UNAVAILABLE = "The database is temporarily unavailable."


@dataclass(frozen=True)
class Kind:
    """The fields that all problems of one type share."""

    status: int
    title: str
    type: str


# web/templates/problems.html explains these, and those of the resources
INVALID_REQUEST = Kind(400, "Invalid request", "/docs/problems#invalid-request")
DATABASE_UNAVAILABLE = Kind(503, "Database unavailable", "/docs/problems#database-unavailable")

# Python 3.13 changed these reason phrases
_TITLES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
# These replace the framework's texts, and are the same as in .platform/nginx/nginx.conf
DETAILS = {
    400: "This is not a valid HTTP request. Percent-encode special characters in its URL.",
    404: "This path does not exist. See /docs for the API.",
    413: "The body must not exceed 4096 bytes.",
    500: "The server failed. Try again later; PUT and DELETE are safe to repeat.",
    504: "The application did not answer in time. PUT and DELETE are safe to repeat.",
}


class Problem(Exception):
    """Raised by a view to answer with a problem ``document``, its only argument."""


def init_app(app: Flask) -> None:
    """Handle all exceptions. Call it last, because flask-smorest registers its own handler."""
    app.register_error_handler(ValidationError, _invalid)
    app.register_error_handler(Problem, _problem)
    for error in database.ERRORS:
        app.register_error_handler(error, _database)
    app.register_error_handler(MethodNotAllowed, _method_not_allowed)
    app.register_error_handler(HTTPException, _http)  # any other exception arrives here as 500


def blank(status: int) -> Kind:
    """The type of a problem that its HTTP status describes completely."""
    return Kind(status, _TITLES.get(status) or HTTPStatus(status).phrase, "about:blank")


def document(
    kind: Kind, detail: str, errors: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    """A problem document; ``errors`` maps the name of each invalid part to its messages."""
    body = {"type": kind.type, "title": kind.title, "status": kind.status, "detail": detail}
    return body | ({"errors": errors} if errors else {})


def invalid(errors: Mapping[str, list[str]]) -> dict[str, Any]:
    """The problem document of an invalid request; ``errors`` has the messages about each part."""
    parts = sorted(errors.items())
    detail = " ".join(f"{name}: {' '.join(messages)}" for name, messages in parts)
    return document(INVALID_REQUEST, detail, errors)


def unavailable(reason: str = UNAVAILABLE) -> dict[str, Any]:
    """The problem document of a request that the database could not serve."""
    detail = f"{reason} Try again in {RETRY_AFTER} seconds."
    return document(DATABASE_UNAVAILABLE, detail)


def _invalid(error: ValidationError) -> Response:
    return _response(invalid(dict(_flatten(error.normalized_messages()))))


def _flatten(messages: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, list[str]]]:
    """The messages about each part, those about the items of a list included: by texts.0."""
    for name, about in messages.items():
        if isinstance(about, Mapping):
            yield from _flatten(about, f"{path}{name}.")
        else:
            yield f"{path}{name}", about


def _problem(error: Problem) -> Response:
    return _response(error.args[0])


def _database(error: Exception) -> Response:
    """503 for an outage, wherever a view met it; other errors of statements are bugs: 500."""
    failure = storage.find_outage(error)
    if failure is None:
        raise error
    outage.note(failure)
    shown = f"{failure}." if isinstance(failure, storage.Outdated) else UNAVAILABLE
    return _response(unavailable(shown), {"Retry-After": RETRY_AFTER})


def _method_not_allowed(error: MethodNotAllowed) -> Response:
    methods = sorted(error.valid_methods or ())
    detail = f"This path supports {', '.join(methods)}."
    return _response(document(blank(405), detail), {"Allow": ", ".join(methods)})


def _http(error: HTTPException) -> Response:
    """The problem document for an HTTP error, with the headers of the error that clients need."""
    status = error.code or 500
    ours = error.description is None or error.description == type(error).description
    detail = (DETAILS.get(status) if ours else None) or error.description or ""
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return _response(document(blank(status), detail), headers)


def _response(body: Mapping[str, Any], headers: Any = ()) -> Response:
    return Response(json.dumps(body), body["status"], headers, content_type=MEDIA_TYPE)
