"""Every error, in one shape: the problem document of RFC 9457. All handlers are on this page."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

from web.outage import Unavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds


def init_app(app: Flask) -> None:
    """Answer all exceptions. Call it last: flask-smorest registers a handler of its own."""
    app.register_error_handler(ValidationError, _invalid)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(HTTPException, _http)  # any other exception arrives here as 500


def _invalid(error: ValidationError) -> Response:
    errors = error.normalized_messages()
    name, messages = next(iter(errors.items()))
    return problem(HTTPStatus.BAD_REQUEST, f"{name} is not valid. {messages[0]}", errors)


def _unavailable(error: Unavailable) -> Response:
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"The database is temporarily unavailable. Try again in {RETRY_AFTER} seconds.",
        headers={"Retry-After": RETRY_AFTER},
    )


def _http(error: HTTPException) -> Response:
    """The problem document for an HTTP error, with those of its headers that carry meaning."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return problem(status, error.description or HTTPStatus(status).description, headers=headers)


def problem(
    status: int, detail: str, errors: Mapping[str, Any] | None = None, headers: Any = ()
) -> Response:
    """A problem document about ``status``; ``errors`` holds messages by name of the part."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    return Response(json.dumps(body), status, headers, content_type=MEDIA_TYPE)
