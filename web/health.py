"""What load balancers and orchestrators ask."""

from http import HTTPStatus

from flask import Response, current_app

from web import storage
from web.api import PROBLEM, Alive, Blueprint, Ready, json_response

blueprint = Blueprint("health", __name__, description="Is it up, is it ready")


@blueprint.get("/livez")
@blueprint.response(HTTPStatus.OK, Alive, content_type="application/json")
def livez() -> Response:
    """Tell that the process is up, and which version it is.

    Never touches the database: a restart would not mend that.
    """
    return json_response({"status": "ok", "version": current_app.config["APP_VERSION"]})


@blueprint.get("/readyz")
@blueprint.response(HTTPStatus.OK, Ready, content_type="application/json")
@blueprint.alt_response(
    HTTPStatus.SERVICE_UNAVAILABLE, **PROBLEM, description="The database does not answer"
)
def readyz() -> Response:
    """Tell that the database answers, so that requests can be served."""
    storage.ping()
    return json_response({"status": "ok"})
