"""Health checks for load balancers and orchestrators."""

from flask import Response, current_app

from web import openapi, storage
from web.api import Blueprint, described, json_response

blueprint = Blueprint("health", __name__, description="Whether the service is up and ready")


@blueprint.get("/livez")
@described(openapi.LIVENESS)
def livez() -> Response:
    """Report that the process is up, and its version.

    Never queries the database, because restarting the process would not bring it back.
    """
    return json_response({"status": "ok", "version": current_app.config["APP_VERSION"]})


@blueprint.get("/readyz")
@described(openapi.READINESS)
def readyz() -> Response:
    """Report that requests can be served: the database answers, and its schema is not too old."""
    storage.ping()
    return json_response({"status": "ok"})
