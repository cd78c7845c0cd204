"""The data of a request: path, query string and body, limited in length and never truncated."""

from collections.abc import Mapping
from typing import Any

from flask import Request, current_app
from marshmallow import ValidationError
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from web import schema

LIMIT = 4096  # bytes
DRAIN_LIMIT = 1024 * 1024  # bytes of a longer body that are read and discarded


def parse(req: Request, path: Mapping[str, str], reader: schema.Inputs) -> dict[str, Any]:
    """The values of ``reader``'s fields. Raises ValidationError for all that are invalid at once.

    Each is read from its own place: ``path`` and the query string, or the body if ``reader`` has
    one. What ``reader`` does not have is ignored.
    """
    given = {"timeZone": current_app.config["TIME_ZONE"].key, **req.args.to_dict(), **path}
    if reader.body is not None:
        outside = {key: given[key] for key in given if key not in reader.body.keys}
        try:
            given = {**_read_keys(req, reader.body), **outside}
        except ValidationError as error:
            wrong = reader.validate(outside, partial=True)
            raise ValidationError(wrong | error.normalized_messages()) from None
    values: dict[str, Any] = reader.load(given)
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


def _read_keys(req: Request, expected: schema.Body) -> dict[str, Any]:
    """What a request has of the keys of ``expected``. Raises ValidationError, and as read does.

    A body is JSON whatever its Content-Type, because ``curl -d`` sends that of a form. Without one,
    only the keys that ``expected`` names are read from the query string: they are part of the URL,
    which others may log.
    """
    content = read(req)
    if not content:
        return {key: req.args[key] for key in expected.or_query if key in req.args}
    given = schema.parse_object(content, expected.example)
    return {key: given[key] for key in expected.keys if key in given}
