"""The data of a request: each key from its own place, all that is invalid refused at once."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Request, current_app, request
from flask_smorest import Blueprint
from marshmallow import ValidationError
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from web.inputs import TWICE, Inputs, parse_object

View = Callable[..., Any]

LIMIT = 4096  # bytes
DRAIN_LIMIT = 1024 * 1024  # bytes of a longer body that are read and discarded


class Compressed(UnsupportedMediaType):
    """415, with the header that says so: RFC 9110, section 15.5.16."""

    description = "Send the body uncompressed, as UTF-8."

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The headers of the response."""
        return [*super().get_headers(*args, **kwargs), ("Accept-Encoding", "identity")]


def parsed(reader: Inputs) -> Callable[[View], View]:
    """Call a view with the valid values of ``reader``, and describe what it reads.

    Not flask-smorest's ``arguments``, which validates one place after the other, so that a caller
    would learn of one mistake at a time.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def parse_first(*args: Any, **path: str) -> Any:
            return view(*args, **parse(request, path, reader))

        described: View = Blueprint.doc(**_describe(reader))(parse_first)
        described.reader = reader  # type: ignore[attr-defined]  # for the tests
        return described

    return decorate


def _describe(reader: Inputs) -> dict[str, Any]:
    """What the OpenAPI document says of an operation that reads ``reader``."""

    def fields(keys: Iterable[str]) -> Inputs:
        names = [name for name, one in reader.fields.items() if (one.data_key or name) in keys]
        return type(reader)(only=names, partial=reader.body and list(reader.body.fields))

    places = {"path": reader.in_path, "query": reader.query}
    parameters = [{"in": place, "schema": fields(keys)} for place, keys in places.items() if keys]
    if reader.body is None:
        return {"parameters": parameters, "responses": {400: "InvalidRequest"}}
    others = sorted(reader.body.or_query)
    query = f" Without a body, {' and '.join(others)} is read from the query string."
    content = {"schema": reader.body, "example": reader.body.example}
    return {
        "parameters": parameters,
        "requestBody": {
            "required": not others,
            "description": f"JSON of at most {LIMIT} bytes, whatever the Content-Type."
            + (query if others else ""),
            "content": {"application/json": content},
        },
        "responses": {400: "InvalidRequest", 413: "BodyTooLarge", 415: "CompressedBody"},
    }


def parse(req: Request, path: Mapping[str, str], reader: Inputs) -> dict[str, Any]:
    """The values of ``reader``'s fields. Raises ValidationError for all that are invalid at once.

    Each is read from its own place: ``path`` and the query string, or the body if ``reader`` has
    one. What ``reader`` does not have is ignored, unless it is a misspelt parameter. A body is JSON
    whatever its Content-Type, because ``curl -d`` sends that of a form. Without one, only the keys
    that it names are read from the query string: they are part of the URL, which others may log.
    """
    query = {name: req.args.getlist(name) for name in req.args}
    wrong = reader.find_misspelt(query) if query else {}
    given = {name: query[name][0] for name in query if name in reader.query}
    twice = {name for name in given if len(query[name]) > 1}
    broken: dict[str, Any] = {}
    if reader.body and (content := read(req)):
        try:
            sent = parse_object(content, reader.body)
        except ValidationError as error:
            sent, broken = {}, error.normalized_messages()
        twice |= sent.keys() & given.keys()
        given = {name: given[name] for name in given if name not in reader.body.keys} | sent
    wrong |= broken | {name: [TWICE] for name in twice}
    given = {"timeZone": current_app.config["TIME_ZONE"].key, **given, **path}
    try:
        values: dict[str, Any] = reader.load(given, partial=bool(broken))
    except ValidationError as error:
        raise ValidationError(error.normalized_messages() | wrong) from None
    if wrong:
        raise ValidationError(wrong)
    return values


def read(req: Request) -> bytes:
    """The body of ``req``, at most LIMIT bytes.

    Raises BadRequest if the caller disconnected before the declared end. A chunked body declares
    none, and the server passes on what arrived; a truncated JSON object is invalid anyway.
    Raises RequestEntityTooLarge after reading up to DRAIN_LIMIT bytes of the rest, because
    many clients do not read a response before they have sent everything. Raises Compressed.
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
    if body and (req.headers.get("Content-Encoding") or "identity").lower() != "identity":
        raise Compressed
    return body
