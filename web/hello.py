"""The two things that can be done at /hello/<username>."""

from datetime import date, datetime
from http import HTTPStatus

from flask import Response, abort, current_app
from flask.views import MethodView

from web import birthday, schema, storage
from web.api import PROBLEM, USERNAME, Blueprint, json_response

blueprint = Blueprint("hello", __name__, description="Dates of birth in, greetings out")


@blueprint.route("/hello/<username>", parameters=[USERNAME])
class Hello(MethodView):
    """One user. ``response`` and ``alt_response`` only describe; the views build the answers."""

    init_every_request = False  # the views keep no state

    @blueprint.response(HTTPStatus.OK, schema.Greeting, content_type="application/json")
    @blueprint.alt_response(HTTPStatus.NOT_FOUND, **PROBLEM, description="User not found")
    def get(self, username: str) -> Response:
        """Greet a user.

        Says in how many days the next birthday is, or congratulates. People born on 29 February
        celebrate on 1 March in non-leap years.
        """
        name = schema.parse_name(username)
        born = storage.find(name)
        if born is None:
            abort(HTTPStatus.NOT_FOUND, "User not found. PUT a date of birth first.")
        return json_response({"message": birthday.greeting(name, born, today())})

    @blueprint.arguments(schema.Birth, as_kwargs=True)
    @blueprint.response(HTTPStatus.NO_CONTENT)
    def put(self, username: str, born: date) -> Response:
        """Save a user's date of birth.

        The user may be new or known. Repeating the request changes nothing.
        """
        name = schema.parse_name(username)
        storage.save(name, schema.require_past(born, today()))
        response = Response(status=HTTPStatus.NO_CONTENT)
        del response.headers["Content-Type"]  # Flask labels an empty answer text/html
        return response


def today() -> date:
    """The calendar day at this moment in the configured TIME_ZONE."""
    return datetime.now(current_app.config["TIME_ZONE"]).date()
