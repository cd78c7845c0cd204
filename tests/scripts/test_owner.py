"""devops/owner.json: who is told, and files that make no sense."""

import json

import pytest

from scripts import owner

OWNER = {
    "team": "greeters",
    "email": "team@greetings.test",
    "escalation": "chief@greetings.test",
    "repository": "greeters/birthday",
    "slack": {"workspace": "TABCDEF12", "channel": "CABCDEF12", "deployments": "CABCDEF34"},
}


def test_the_parameters_of_the_stacks():
    assert owner.parameters(OWNER, "foundation") == {
        "OperationsEmail": "team@greetings.test",
        "EscalationEmail": "chief@greetings.test",
    }
    parameters = owner.parameters(OWNER, "pipeline")
    assert parameters["Repository"] == "greeters/birthday"
    assert parameters["SlackDeployments"] == "CABCDEF34"
    assert parameters["WindowSchedule"].startswith("cron(")


def test_a_team_without_slack():
    without = {key: value for key, value in OWNER.items() if key != "slack"}
    assert owner.load(json.dumps(without)) == without
    assert owner.parameters(without, "pipeline")["SlackWorkspace"] == ""


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("team", "The Greeters", "team 'The Greeters': expected 2 to 40 small letters"),
        ("email", "greeters", "email 'greeters': expected an e-mail address"),
        ("email", ["a@b.test"], "expected an e-mail address"),
        ("escalation", "", "escalation '': expected an e-mail address"),
        ("repository", "https://host/a/b", "expected owner/name of a repository"),
        ("slack", "#greeters", "slack: expected an object"),
        ("slack", {}, "slack.workspace is missing"),
        (
            "slack",
            OWNER["slack"] | {"channel": "#greeters"},
            "slack.channel '#greeters': expected the id",
        ),
        ("slack", OWNER["slack"] | {"colour": 1}, "slack.colour: nobody reads it"),
        ("phone", "1", "phone: nobody reads it; expected team, email"),
    ],
)
def test_an_owner_that_makes_no_sense(key, value, what):
    with pytest.raises(owner.Mistake, match=what):
        owner.load(json.dumps(OWNER | {key: value}))


@pytest.mark.parametrize("key", ["team", "email", "escalation", "repository"])
def test_what_is_missing(key):
    without = {name: value for name, value in OWNER.items() if name != key}
    with pytest.raises(owner.Mistake, match=f"{key} is missing: expected"):
        owner.load(json.dumps(without))


@pytest.mark.parametrize(("text", "what"), [("{", "no JSON"), ("[]", "expected an object")])
def test_no_json(text, what):
    with pytest.raises(owner.Mistake, match=what):
        owner.load(text)


@pytest.mark.parametrize("stack", ["foundation", "pipeline"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("email", "owner@example.com"),
        ("escalation", "owner@example.com"),
        ("repository", "example/birthday-greetings"),
    ],
)
def test_nobody_is_told_at_a_placeholder(stack, key, value):
    with pytest.raises(owner.Mistake, match=f"'{value}' is a placeholder"):
        owner.parameters(OWNER | {key: value}, stack)


@pytest.mark.parametrize("value", ["T00000000", "C00000002"])
def test_placeholders_of_slack(value):
    slack = OWNER["slack"] | {"channel": value}
    with pytest.raises(owner.Mistake, match="is a placeholder"):
        owner.parameters(OWNER | {"slack": slack}, "pipeline")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["parameters", "pipeline"], "is a placeholder"), (["tell"], "Usage"), ([], "Usage")],
)
def test_the_command_refuses(monkeypatch, tmp_path, arguments, what):
    placeholder = OWNER | {"email": "owner@example.com"}
    (tmp_path / "owner.json").write_text(json.dumps(placeholder))
    monkeypatch.setattr(owner, "FILE", tmp_path / "owner.json")
    monkeypatch.setattr("sys.argv", ["owner", *arguments])
    with pytest.raises(SystemExit, match=what):
        owner.main()


def test_the_command(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["owner", "check"])
    owner.main()
    assert "owns this service" in capsys.readouterr().out
    (tmp_path / "owner.json").write_text(json.dumps(OWNER))
    monkeypatch.setattr(owner, "FILE", tmp_path / "owner.json")
    monkeypatch.setattr("sys.argv", ["owner", "parameters", "foundation"])
    owner.main()
    assert "OperationsEmail=team@greetings.test\n" in capsys.readouterr().out
