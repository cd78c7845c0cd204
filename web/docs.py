"""The documentation page: Swagger UI, from this host alone."""

from http import HTTPStatus
from pathlib import Path

import flask
import flask_swagger_ui
from flask import Flask, Response

# The parts of Swagger UI that the page needs
SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = {"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def init_app(app: Flask) -> None:
    """Serve the page at /docs, and its parts below."""
    app.add_url_rule("/docs", view_func=page)
    app.add_url_rule("/docs/<name>", view_func=asset)


def page() -> Response:
    """The page. It loads nothing from any other host."""
    response = flask.make_response(flask.render_template("docs.html"))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def asset(name: str) -> Response:
    """A script, style sheet or picture of Swagger UI; 404 for any other file."""
    if name not in ASSETS:
        flask.abort(HTTPStatus.NOT_FOUND)
    return flask.send_from_directory(SWAGGER_UI, name)
