"""Health checks for load balancers and orchestrators."""

from flask import current_app
from flask_smorest import Blueprint

from web import openapi, schema, storage

blueprint = Blueprint("health", __name__, description="Whether the service is up and ready")


@blueprint.get("/livez")
@blueprint.doc(operationId="getLiveness")
@blueprint.response(
    200, schema.Alive, description="The process is up", example={"status": "ok", "version": "1a2b"}
)
def livez() -> dict[str, str]:
    """Report that the process is up, and its version.

    Never queries the database, because restarting the process would not bring it back.
    """
    return {"status": "ok", "version": current_app.config["APP_VERSION"]}


@blueprint.get("/readyz")
@blueprint.doc(operationId="getReadiness", responses={404: "NotFound", **openapi.DATABASE})
@blueprint.response(200, schema.Ready, description="It can serve", example={"status": "ok"})
def readyz() -> dict[str, str]:
    """Report that requests can be served: the database answers, and its schema is not too old."""
    storage.ping()
    return {"status": "ok"}
