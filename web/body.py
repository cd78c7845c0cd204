"""Request bodies: read whatever their Content-Type, never longer than allowed, and only whole."""

from typing import Any, NoReturn

from flask import Request
from marshmallow import Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from web import schema

LIMIT = 4096  # bytes
DRAIN_LIMIT = 1024 * 1024  # bytes of a longer body that are read, and ignored


class BodyParser(FlaskParser):
    """Reads JSON whatever its Content-Type, because ``curl -d`` sends a form's.

    Without a body, the query string takes its place.
    """

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema_: Schema) -> Any:
        """What the request says, not yet validated. Raises ValidationError."""
        body = read(req)
        return schema.parse_object(body) if body else req.args.to_dict()

    def handle_error(self, error: ValidationError, *args: Any, **kwargs: Any) -> NoReturn:
        """Leave it to web.errors, like every other ValidationError."""
        by_location: Any = error.messages
        raise ValidationError(by_location["json"], error.field_name)


def read(req: Request) -> bytes:
    """The body of ``req``, at most LIMIT bytes.

    Raises BadRequest where the caller hung up before the announced end. A chunked body announces
    none, and the server passes on what came; a JSON object that was cut off is invalid anyway.
    Raises RequestEntityTooLarge with up to DRAIN_LIMIT bytes of the rest read as well, because
    many clients do not listen before they have sent everything.
    """
    try:
        body = req.get_data()
    except RequestEntityTooLarge:  # by its announced length
        body = None
    if body is None or len(body) > LIMIT:
        rest = DRAIN_LIMIT if req.content_length is None else min(req.content_length, DRAIN_LIMIT)
        req.environ["wsgi.input"].read(rest)
        raise RequestEntityTooLarge
    if req.content_length is not None and len(body) < req.content_length:
        raise BadRequest("The body ended before its Content-Length. Send the request again.")
    return body
