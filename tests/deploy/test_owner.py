"""devops/owner.json: the parameters of the stacks, and invalid files."""

import json

import pytest

from deploy.base.errors import InvalidConfig
from deploy.config import owner
from tests.support.aws import APPLICATION
from tests.support.owner import OWNER


def load(**more):
    return owner.load(json.dumps(OWNER | more))


def test_the_owner_provides_parameters_of_the_stacks():
    assert load().foundation_parameters() == {
        "OperationsEmail": "team@greetings.test",
        "EscalationEmail": "chief@greetings.test",
        "Pager": "",
        "PagerProtocol": "https",
        "Repository": OWNER["repository"],
    }


@pytest.mark.parametrize(
    ("pager", "protocol"), [("https://pager.test/integration/1", "https"), ("+15550100", "sms")]
)
def test_a_pager_is_an_address_or_a_phone(pager, protocol):
    parameters = load(pager=pager).foundation_parameters()
    assert (parameters["Pager"], parameters["PagerProtocol"]) == (pager, protocol)


def test_slack_is_optional():
    without = {key: value for key, value in OWNER.items() if key != "slack"}
    assert owner.load(json.dumps(without)).slack is None


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("team", "The Greeters", "team 'The Greeters': expected 2 to 40 lower-case letters"),
        ("email", "greeters", "email 'greeters': expected an e-mail address"),
        ("email", ["a@b.test"], "expected an e-mail address"),
        ("escalation", "", "escalation '': expected an e-mail address"),
        ("pager", "http://pager.test", "expected an https address, or a number such as"),
        ("pager", "0555 0100", "expected an https address, or a number such as"),
        ("repository", "https://host/a/b", "expected owner/name of a repository"),
        ("slack", "#greeters", "slack '#greeters': expected an object"),
        ("slack", {}, "slack.workspace is missing"),
        (
            "slack",
            OWNER["slack"] | {"channel": "#greeters"},
            "slack.channel '#greeters': expected the id",
        ),
        (
            "slack",
            OWNER["slack"] | {"channel": "CABCDEF34"},
            "slack.deployments is the team's channel",
        ),
        (
            "sentry",
            OWNER["sentry"] | {"team": "The Team"},
            "sentry.team 'The Team': expected a name",
        ),
        ("sentry", OWNER["sentry"] | {"host": "https://sentry.io"}, "expected a host such as"),
        ("sentry", OWNER["sentry"] | {"channel": "greeters"}, "expected the name of a channel"),
        ("phone", "1", "phone: unknown key; expected team, email"),
    ],
)
def test_an_invalid_value_is_refused(key, value, what):
    with pytest.raises(InvalidConfig, match=what):
        owner.load(json.dumps(OWNER | {key: value}))


@pytest.mark.parametrize("address", ["one@greetings.test", "One@greetings.test"])
def test_one_address_for_team_and_escalation_is_refused(address):
    """SNS refuses the second subscription, and the first stack of all would be rolled back."""
    with pytest.raises(InvalidConfig, match="escalation is the address of email"):
        owner.load(json.dumps(OWNER | {"email": "one@greetings.test", "escalation": address}))


@pytest.mark.parametrize("key", ["team", "email", "escalation", "repository"])
def test_a_missing_key_is_named(key):
    without = {name: value for name, value in OWNER.items() if name != key}
    with pytest.raises(InvalidConfig, match=f"{key} is missing: expected"):
        owner.load(json.dumps(without))


@pytest.mark.parametrize(("text", "what"), [("{", "invalid JSON"), ("[]", "expected an object")])
def test_invalid_json_is_refused(text, what):
    with pytest.raises(InvalidConfig, match=what):
        owner.load(text)


SLACK = OWNER["slack"]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"email": "owner@example.com"}, "email 'owner@example.com'"),
        ({"escalation": "owner@example.com"}, "escalation 'owner@example.com'"),
        ({"repository": f"example/{APPLICATION}"}, f"repository 'example/{APPLICATION}'"),
        ({"slack": SLACK | {"workspace": "T00000000"}}, "slack.workspace 'T00000000'"),
        ({"slack": SLACK | {"channel": "C00000002"}}, "slack.channel 'C00000002'"),
        (
            {"sentry": OWNER["sentry"] | {"organization": "example"}},
            "sentry.organization 'example'",
        ),
    ],
)
def test_a_placeholder_is_refused_before_it_is_used(tmp_path, more, found):
    (tmp_path / "devops").mkdir()
    (tmp_path / "devops/owner.json").write_text(json.dumps(OWNER | more))
    assert owner.read(tmp_path).team == "greeters"
    with pytest.raises(InvalidConfig, match=f"json: {found}: placeholders"):
        owner.read_for_use(tmp_path)


def test_all_placeholders_are_named_at_once(project):
    slack = OWNER["slack"] | {"deployments": "C00000002"}
    sentry = OWNER["sentry"] | {"organization": "example"}
    given = {"email": "owner@example.com", "escalation": "escalation@example.com"}
    given |= {"repository": f"example/{APPLICATION}", "slack": slack, "sentry": sentry}
    (project / owner.NAME).write_text(json.dumps(OWNER | given))
    with pytest.raises(InvalidConfig, match="placeholders") as refusal:
        owner.read_for_use(project)
    for key in ("email", "escalation", "repository", "slack.deployments", "sentry.organization"):
        assert f"{key} '" in refusal.value.what


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_an_unreadable_file_is_refused(tmp_path, content):
    (tmp_path / "devops").mkdir()
    if content:
        (tmp_path / "devops/owner.json").write_bytes(content)
    with pytest.raises(InvalidConfig, match=r"devops/owner.json: "):
        owner.read(tmp_path)


def test_check_shows_the_owner_and_the_environments(command):
    code, printed = command("check")
    assert code == 0
    assert "greeters owns this service: team@greetings.test" in printed
    assert "environments: staging, prod" in printed
