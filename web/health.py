"""What load balancers and orchestrators ask."""

from http import HTTPStatus

from flask import Response, current_app

from web import schema, storage
from web.api import PROBLEM, Blueprint, json_response

blueprint = Blueprint("health", __name__, description="Is it up, is it ready")


@blueprint.get("/livez")
@blueprint.response(HTTPStatus.OK, schema.Alive, content_type="application/json")
def livez() -> Response:
    """Report that the process is up, and its version.

    Never asks the database: restarting the process would not bring that back.
    """
    return json_response({"status": "ok", "version": current_app.config["APP_VERSION"]})


@blueprint.get("/readyz")
@blueprint.response(HTTPStatus.OK, schema.Ready, content_type="application/json")
@blueprint.alt_response(
    HTTPStatus.SERVICE_UNAVAILABLE,
    **PROBLEM,
    description="The database is unavailable or its table is missing; the log says why",
)
def readyz() -> Response:
    """Report that the database answers and has its table, so that requests can be served."""
    storage.ping()
    return json_response({"status": "ok"})
