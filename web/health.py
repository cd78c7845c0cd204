"""What load balancers and orchestrators ask."""

from flask import Response, current_app

from web import openapi, storage
from web.api import Blueprint, described, json_response

blueprint = Blueprint("health", __name__, description="Is it up, is it ready")


@blueprint.get("/livez")
@described(openapi.LIVENESS)
def livez() -> Response:
    """Report that the process is up, and its version.

    Never asks the database: restarting the process would not bring that back.
    """
    return json_response({"status": "ok", "version": current_app.config["APP_VERSION"]})


@blueprint.get("/readyz")
@described(openapi.READINESS)
def readyz() -> Response:
    """Report that the database answers and has its table, so that requests can be served."""
    storage.ping()
    return json_response({"status": "ok"})
