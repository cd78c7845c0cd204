"""The data of a request: path, query string and body, limited in length and never truncated."""

from typing import Any

from flask import Request, current_app
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from web import schema

LIMIT = 4096  # bytes
DRAIN_LIMIT = 1024 * 1024  # bytes of a longer body that are read and discarded


def parse(req: Request, username: str, reader: Schema) -> dict[str, Any]:
    """The values of ``reader``'s fields. Raises ValidationError for all that are invalid at once.

    A body is read if ``reader`` takes a date of birth, as JSON whatever its Content-Type, because
    ``curl -d`` sends that of a form. Without a body, the query string is used.
    """
    query = req.args.to_dict()
    others = {
        "username": username,
        "timeZone": query.get("timeZone", current_app.config["TIME_ZONE"].key),
    }
    content = read(req) if isinstance(reader, schema.Birth) else b""
    try:
        given = schema.parse_object(content) if content else query
    except ValidationError as error:
        wrong = reader.validate(others, partial=True)
        raise ValidationError(wrong | error.normalized_messages()) from None
    values: dict[str, Any] = reader.load({**given, **others})
    return values


def read(req: Request) -> bytes:
    """The body of ``req``, at most LIMIT bytes.

    Raises BadRequest if the caller disconnected before the declared end. A chunked body declares
    none, and the server passes on what arrived; a truncated JSON object is invalid anyway.
    Raises RequestEntityTooLarge after reading up to DRAIN_LIMIT bytes of the rest, because
    many clients do not read a response before they have sent everything.
    """
    try:
        body = req.get_data()
    except RequestEntityTooLarge:  # by its declared length
        body = None
    if body is None or len(body) > LIMIT:
        rest = DRAIN_LIMIT if req.content_length is None else min(req.content_length, DRAIN_LIMIT)
        req.environ["wsgi.input"].read(rest)
        raise RequestEntityTooLarge
    if req.content_length is not None and len(body) < req.content_length:
        raise BadRequest("The body ended before its Content-Length. Send the request again.")
    return body
