"""The documentation: Swagger UI and a page about problems, served without any other host."""

import functools
from http import HTTPStatus
from pathlib import Path

import flask
import flask_swagger_ui
from flask import Flask, Response

PAGES = {"/docs": "docs.html", "/docs/problems": "problems.html"}
# The parts of Swagger UI that /docs needs, and ours
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_OURS = Path(__file__).parent / "assets"
ASSETS = {
    "swagger-ui.css": _SWAGGER_UI,
    "swagger-ui-bundle.js": _SWAGGER_UI,
    "favicon-32x32.png": _SWAGGER_UI,
    "docs.css": _OURS,
    "docs.js": _OURS,
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def init_app(app: Flask) -> None:
    """Serve the pages at /docs and /docs/problems, and redirect / to /docs."""
    # Otherwise an empty path, as in GET http://host, would be redirected to http://host/
    app.add_url_rule("/", view_func=front, strict_slashes=False)
    for path, template in PAGES.items():
        app.add_url_rule(path, path, functools.partial(page, template))
    app.add_url_rule("/docs/<name>", view_func=asset)


def front() -> Response:
    """The only redirect; relative, because clients may know the host by another name."""
    return Response(status=HTTPStatus.FOUND, headers={"Location": "/docs"}, mimetype="text/plain")


def page(template: str) -> Response:
    """One of PAGES. It loads nothing from any other host."""
    response = flask.make_response(flask.render_template(template))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


def asset(name: str) -> Response:
    """A script, style sheet or image of the pages; 404 for any other name.

    Browsers keep it, and ask each time whether it has changed: 304 without a body if not. nginx
    compresses it; without nginx, the first visit loads 1.9 MB, 15 s at 1 Mbit/s.
    """
    if name not in ASSETS:
        flask.abort(HTTPStatus.NOT_FOUND)
    return flask.send_from_directory(ASSETS[name], name)
