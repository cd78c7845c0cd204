"""Everything that goes wrong, as one shape: the problem document of RFC 9457."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json
from marshmallow import Schema, ValidationError, fields
from werkzeug.exceptions import HTTPException

from web import storage

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "5"  # seconds


class Problem(Schema):
    """The answer to a request that cannot be served."""

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


def init_app(app: Flask) -> None:
    """Answer the exceptions that are not HTTP errors by themselves with problem documents."""
    app.register_error_handler(ValidationError, _invalid)
    app.register_error_handler(storage.Unavailable, _unavailable)


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


def from_http(error: HTTPException) -> Response:
    """The problem document for an HTTP error, with those of its headers that carry meaning."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    return problem(status, error.description or HTTPStatus(status).description, headers=headers)


def _invalid(error: ValidationError) -> Response:
    errors = error.normalized_messages()
    name, messages = next(iter(errors.items()))
    return problem(HTTPStatus.BAD_REQUEST, f"{name} is not valid. {messages[0]}", errors)


def _unavailable(error: storage.Unavailable) -> Response:
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"The database does not answer at the moment. Try again in {RETRY_AFTER} seconds.",
        headers={"Retry-After": RETRY_AFTER},
    )
