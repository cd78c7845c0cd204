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
    """One user."""

    init_every_request = False

    @blueprint.response(HTTPStatus.OK, schema.Greeting, content_type="application/json")
    @blueprint.alt_response(HTTPStatus.NOT_FOUND, **PROBLEM, description="Nobody of that name")
    def get(self, username: str) -> Response:
        """Greet a user.

        Says in how many days the next birthday is, or congratulates. Who was born on
        29 February has birthday on 1 March in years without one.
        """
        name = schema.parse_name(username)
        born = storage.find(name)
        if born is None:
            abort(HTTPStatus.NOT_FOUND, "Nobody of that name is known. PUT a date of birth first.")
        return json_response({"message": birthday.greeting(name, born, today())})

    @blueprint.arguments(schema.Birth, as_kwargs=True)
    @blueprint.response(HTTPStatus.NO_CONTENT)
    def put(self, username: str, born: date) -> Response:
        """Save a user's date of birth.

        The user may be new or known. Doing it again changes nothing.
        """
        name = schema.parse_name(username)
        storage.save(name, schema.parse_past(born, today()))
        response = Response(status=HTTPStatus.NO_CONTENT)
        del response.headers["Content-Type"]
        return response


def today() -> date:
    """The calendar day at this moment in the configured TIME_ZONE."""
    return datetime.now(current_app.config["TIME_ZONE"]).date()
