"""The three operations of /hello/<username>."""

from datetime import date
from zoneinfo import ZoneInfo

from flask import Response
from flask.views import MethodView

from web import birthday, clock, keys, openapi, schema, storage
from web.api import Blueprint, described, json_response, no_content, parsed
from web.errors import Problem

blueprint = Blueprint("hello", __name__, description="Dates of birth in, greetings out")


@blueprint.route("/hello/<username>", parameters=[openapi.USERNAME])
class Hello(MethodView):
    """One user."""

    init_every_request = False  # the views keep no state

    @parsed(schema.Greet())
    @described(openapi.GREET)
    def get(self, name: str, zone: ZoneInfo) -> Response:
        """Greet a user.

        Says in how many days the next birthday is, or congratulates. People born on 29 February
        celebrate on 1 March in non-leap years.
        """
        born = storage.find(name)
        if born is None:
            raise Problem(openapi.USER_NOT_FOUND)
        return json_response({"message": birthday.greeting(name, born, clock.today(zone))})

    @keys.required
    @parsed(schema.Save())
    @described(openapi.SAVE)
    def put(self, name: str, zone: ZoneInfo, born: date) -> Response:
        """Save a user's date of birth.

        The user may be new or known. Repeating the request changes nothing.
        """
        storage.save(name, born)
        return no_content()

    @keys.required
    @parsed(schema.Who())
    @described(openapi.DELETE)
    def delete(self, name: str) -> Response:
        """Delete a user and the date of birth.

        The answer is the same whether the user was known or not.
        """
        storage.delete(name)
        return no_content()
