"""The API framework, and the OpenAPI document that it generates from views and schemas."""

from typing import Any

import apispec
import flask_smorest
from flask import Flask, Response
from flask.json.provider import DefaultJSONProvider

from web import body, keys, openapi, schema


class Api(flask_smorest.Api):
    """flask-smorest, without errors of its own: web.errors has them all."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = schema.Problem


class Common(apispec.BasePlugin):
    """Adds to each operation of the document what all of them have."""

    def __init__(self, needs_key: bool) -> None:
        self._needs_key = needs_key

    def path_helper(  # type: ignore[override]  # it takes all by name
        self, *, operations: dict[str, Any], parameters: list[Any], **kwargs: Any
    ) -> None:
        """Complete the ``operations`` of one path."""
        parameters.clear()  # operations name them, in the order in which a person fills them
        for method, operation in operations.items():
            responses = operation["responses"] | openapi.EVERYWHERE
            if self._needs_key and method.upper() not in keys.OPEN:
                operation["security"] = [{openapi.KEY: []}]
                responses[401] = "Unauthorized"
            for response in responses.values():
                if isinstance(response, dict):
                    response["headers"] = openapi.HEADERS
            operation["responses"] = dict(sorted(responses.items(), key=lambda one: str(one[0])))


class Json(DefaultJSONProvider):
    """JSON as the schemas order it, in UTF-8, with blanks as in README."""

    sort_keys = False
    ensure_ascii = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """``obj`` as JSON; Flask's responses ask for ``separators`` without blanks."""
        return super().dumps(obj, **{**kwargs, "separators": None})


def init_app(app: Flask, *blueprints: flask_smorest.Blueprint) -> None:
    """Serve ``blueprints``, described at /openapi.json. No path redirects to another."""
    app.url_map.merge_slashes = False
    app.json = Json(app)
    app.config.from_mapping(
        API_TITLE=openapi.TITLE,
        API_VERSION=openapi.VERSION,
        API_SPEC_OPTIONS=openapi.OPTIONS,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        # One more than allowed: a body without a declared length is cut off there
        MAX_CONTENT_LENGTH=body.LIMIT + 1,
    )
    needs_key = bool(app.config["API_KEYS"])
    api = Api(app, spec_kwargs={"extra_plugins": [Common(needs_key)]})
    del api.spec.components.schemas["PaginationMetadata"]  # of lists in pages, which nobody has
    for name, response in openapi.RESPONSES.items():
        api.spec.components.response(name, response)
    if needs_key:
        api.spec.components.security_scheme(openapi.KEY, openapi.SECURITY_SCHEME)
        app.before_request(keys.require)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.after_request(_untyped)


def _untyped(response: Response) -> Response:
    """``response``, without a media type if it is empty: Flask's default is HTML."""
    if response.is_sequence and not response.calculate_content_length():
        response.headers.pop("Content-Type", None)
    return response
