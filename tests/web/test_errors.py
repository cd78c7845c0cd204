from marshmallow import ValidationError


def test_errors_in_items_of_lists_are_named_by_their_place(app):
    nested = {"texts": {0: ["a", "b"], 2: {"size": ["c"]}}, "body": ["d"]}
    with app.test_request_context():
        answer = app.make_response(app.handle_user_exception(ValidationError(nested)))
    assert answer.status_code == 400
    assert answer.json["errors"] == {"texts.0": ["a", "b"], "texts.2.size": ["c"], "body": ["d"]}
    assert answer.json["detail"] == "body: d texts.0: a b texts.2.size: c"
