"""The API framework: blueprints, and the OpenAPI document that is generated from them."""

import functools
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import flask_smorest
from flask import Flask, Response, request

from web import body, openapi, schema

View = Callable[..., Any]


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose operations are described by ``described``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(openapi.add_security)


class Api(flask_smorest.Api):
    """The framework, without its unused parts (web.errors handles its errors)."""

    DEFAULT_ERROR_RESPONSE_NAME = None  # each operation names its own

    def _register_responses(self) -> None:
        for name, response in openapi.RESPONSES.items():
            self.spec.components.response(name, response)

    def _register_etag_headers(self) -> None:
        """None is used."""

    def _register_pagination_header(self) -> None:
        """It would add a schema that no operation uses to the document."""


def init_app(app: Flask, *blueprints: Blueprint) -> None:
    """Serve ``blueprints``, described at /openapi.json. No path redirects to another."""
    app.url_map.merge_slashes = False
    app.config.from_mapping(
        API_TITLE=openapi.TITLE,
        API_VERSION=openapi.VERSION,
        API_SPEC_OPTIONS=openapi.OPTIONS,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        # One more than allowed: a body without a declared length is cut off there
        MAX_CONTENT_LENGTH=body.LIMIT + 1,
    )
    api = Api(app)
    if app.config["API_KEYS"]:
        api.spec.components.security_scheme(openapi.KEY, openapi.SECURITY_SCHEME)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)


def described(operation: dict[str, Any]) -> Callable[[View], View]:
    """Describe a view in the OpenAPI document by ``operation``, and by its docstring.

    flask-smorest's own decorators describe as well, but each adds a call to every request.
    """

    def describe(view: View) -> View:
        view._apidoc = {"manual_doc": operation}  # type: ignore[attr-defined]
        return view

    return describe


def parsed(reader: schema.Inputs) -> Callable[[View], View]:
    """Call a view with the valid values of ``reader`` in place of the variables of its path."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def parse(*args: Any, **path: str) -> Any:
            return view(*args, **body.parse(request, path, reader))

        # For the tests, which hold the document to it
        parse._apidoc = getattr(view, "_apidoc", {}) | {"reader": reader}  # type: ignore[attr-defined]
        return parse

    return decorate


def json_response(answer: Mapping[str, Any]) -> Response:
    """A response with ``answer`` as JSON.

    Built here and not by flask-smorest, which would serialise with a schema, and have Flask's
    jsonify sort and escape it: 22 us of CPU in place of 8, for a response of one string (``timeit``
    of json_response(answer) and of jsonify(schema.dump(answer)), 27 November 2026).
    """
    return Response(json.dumps(answer, ensure_ascii=False), content_type="application/json")


def no_content() -> Response:
    """A response without a body."""
    response = Response(status=HTTPStatus.NO_CONTENT)
    del response.headers["Content-Type"]  # Flask labels an empty answer text/html
    return response
