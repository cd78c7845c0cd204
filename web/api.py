"""The API framework set up: request bodies, the OpenAPI document, the documentation page."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn

import flask
import flask_smorest
import flask_swagger_ui
from flask import Flask, Request, Response
from marshmallow import Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from web import errors, schema

DESCRIPTION = """\
Save somebody's date of birth, and be told how many days remain until the next birthday.

Birthdays of 29 February are celebrated on 1 March in years that have no such day. What day it
is today is decided in one time zone, which the operator sets (UTC if not).

Whatever goes wrong is answered with a problem document (RFC 9457).
"""

BODY_LIMIT = 4096  # bytes
DRAIN_LIMIT = 1024 * 1024  # bytes of a longer body that are read, and ignored

# The parts of Swagger UI that the documentation page needs
SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = {"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PROBLEM: dict[str, Any] = {"schema": errors.Problem, "content_type": errors.MEDIA_TYPE}
USERNAME = {
    "name": "username",
    "in": "path",
    "required": True,
    "description": f"{schema.NAME_RULE} Marks may follow a letter. Case counts.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": schema.NAME_LIMIT,
        "pattern": schema.NAME_PATTERN,
    },
    "example": "John",
}


class Alive(Schema):
    """The answer of /livez."""

    status = fields.Constant("ok", required=True)
    version = fields.String(required=True, metadata={"description": "The deployed version."})


class Ready(Schema):
    """The answer of /readyz."""

    status = fields.Constant("ok", required=True)


class BodyParser(FlaskParser):
    """Reads JSON whatever its Content-Type, for ``curl -d`` sends a form's.

    Without a body, the query string takes its place.
    """

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, req: Request, schema_: Schema) -> Any:
        """What the request says, not yet validated. Raises ValidationError."""
        body = _read(req)
        return schema.parse_object(body) if body else req.args.to_dict()

    def handle_error(self, error: ValidationError, *args: Any, **kwargs: Any) -> NoReturn:
        """Leave it to web.errors, like every other ValidationError."""
        by_location: Any = error.messages
        raise ValidationError(by_location["json"], error.field_name)


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose request bodies are read by BodyParser."""

    ARGUMENTS_PARSER = BodyParser()


class Api(flask_smorest.Api):
    """The framework, with problem documents for its errors."""

    ERROR_SCHEMA = errors.Problem
    DEFAULT_RESPONSE_CONTENT_TYPE = errors.MEDIA_TYPE

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer every HTTP error, the framework's own included."""
        return errors.from_http(error)


def init_app(app: Flask, *blueprints: Blueprint) -> None:
    """Serve ``blueprints``, described at /openapi.json and, for people, at /docs."""
    app.config.from_mapping(
        API_TITLE="Birthday greetings",
        API_VERSION=app.config["APP_VERSION"],
        API_SPEC_OPTIONS={"info": {"description": DESCRIPTION}},
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        # One more than allowed: a body that comes without its length is cut off there
        MAX_CONTENT_LENGTH=BODY_LIMIT + 1,
    )
    api = Api(app)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.add_url_rule("/docs", view_func=docs)
    app.add_url_rule("/docs/<name>", view_func=docs_asset)


def _read(req: Request) -> bytes:
    """The body of ``req``. Raises RequestEntityTooLarge, with the rest of the body read as well.

    For many clients do not listen before they have sent everything.
    """
    try:
        body = req.get_data()
        if len(body) <= BODY_LIMIT:
            return body
    except RequestEntityTooLarge:
        pass  # it says how long it is
    rest = DRAIN_LIMIT if req.content_length is None else min(req.content_length, DRAIN_LIMIT)
    req.environ["wsgi.input"].read(rest)
    raise RequestEntityTooLarge


def json_response(body: dict[str, str]) -> Response:
    """A response with ``body`` as JSON; it goes past the framework, which would copy it twice."""
    return Response(json.dumps(body, ensure_ascii=False), content_type="application/json")


def docs() -> Response:
    """The documentation page. It loads nothing from any other host."""
    response = flask.make_response(flask.render_template("docs.html"))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def docs_asset(name: str) -> Response:
    """A script, style sheet or picture of Swagger UI."""
    if name not in ASSETS:
        flask.abort(HTTPStatus.NOT_FOUND)
    return flask.send_from_directory(SWAGGER_UI, name)
