"""The three operations of /hello/<username>."""

from datetime import date
from http import HTTPStatus
from zoneinfo import ZoneInfo

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from web import birthday, clock, openapi, schema, storage
from web.body import parsed
from web.errors import Problem

blueprint = Blueprint("hello", __name__, description="Dates of birth in, greetings out")


@blueprint.route("/hello/<username>")
class Hello(MethodView):
    """One user. Writing needs a key where keys are set: web.keys refuses other requests."""

    init_every_request = False  # the views keep no state

    @blueprint.doc(operationId="getGreeting", responses={404: "UserNotFound", **openapi.DATABASE})
    @blueprint.response(200, schema.Greeting, description="The greeting", example=openapi.HELLO)
    @parsed(schema.Greet())
    def get(self, name: str, zone: ZoneInfo) -> dict[str, str]:
        """Greet a user.

        Says in how many days the next birthday is, or congratulates. People born on 29 February
        celebrate on 1 March in non-leap years.
        """
        born = storage.find(name)
        if born is None:
            raise Problem(openapi.USER_NOT_FOUND)
        return {"message": birthday.greeting(name, born, clock.today(zone))}

    @blueprint.doc(operationId="saveDateOfBirth", responses=openapi.DATABASE)
    @blueprint.response(204, description="Saved")
    @parsed(schema.Save())
    def put(self, name: str, zone: ZoneInfo, born: date) -> Response:
        """Save a user's date of birth.

        The user may be new or known. Repeating the request changes nothing.
        """
        storage.save(name, born)
        return Response(status=HTTPStatus.NO_CONTENT)

    @blueprint.doc(operationId="deleteUser", responses=openapi.DATABASE)
    @blueprint.response(204, description="Deleted, or not known")
    @parsed(schema.Who())
    def delete(self, name: str) -> Response:
        """Delete a user and the date of birth.

        The answer is the same whether the user was known or not.
        """
        storage.delete(name)
        return Response(status=HTTPStatus.NO_CONTENT)
