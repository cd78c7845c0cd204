"""`sentry apply`, with a server on loopback that answers as described in Sentry's documentation."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.config import owner
from tests.support.aws import APPLICATION
from tests.support.json_server import JsonServer

TOKEN = "sntrys_a-token"
BASE = "/api/0/organizations/greeters/"
NAMES = [
    f"{APPLICATION}: a fault that is new",
    f"{APPLICATION}: a fault that was fixed is back",
    f"{APPLICATION}: a fault is frequent in production",
]
CONDITIONS = {
    "first_seen_event": bool,
    "regression_event": bool,
    "reappeared_event": bool,
    "event_frequency_count": dict,
}


def refuse_workflow(body):
    """Raises AssertionError for requests that Sentry's validators would refuse."""
    assert 0 < len(body["name"]) <= 256
    assert body["config"]["frequency"] in (0, 5, 10, 30, 60, 180, 720, 1440)
    assert body["triggers"]["logicType"] == "any-short"
    for part in (body["triggers"], *body["actionFilters"]):
        for condition in part["conditions"]:
            assert isinstance(condition["comparison"], CONDITIONS[condition["type"]])
            assert condition["conditionResult"] is True
    for part in body["actionFilters"]:
        assert part["logicType"] in ("any-short", "all", "none")
        for action in part["actions"]:
            assert set(action) == {"type", "integrationId", "data", "config", "status"}
            assert set(action["config"]) == {"targetType", "targetIdentifier", "targetDisplay"}
            if action["type"] == "slack":
                assert isinstance(action["integrationId"], str)


class Api(JsonServer):
    """An organisation; lists are paginated, with one item per page."""

    def __init__(self):
        self.lists = {
            "teams/": [{"id": "11", "slug": "others"}, {"id": "12", "slug": "greeters"}],
            "projects/": [{"id": "21", "slug": "others"}, {"id": "22", "slug": APPLICATION}],
            "detectors/": [{"id": "31", "type": "error"}, {"id": "32", "type": "metric_issue"}],
            "integrations/": [{"id": "41", "provider": {"key": "slack"}}],
            "workflows/": [{"id": "51", "name": "somebody's own"}],
        }
        self.calls, self.status, self.answers = [], 200, []
        super().__init__(self.answer)

    def answer(self, method, path, headers, body):
        self.calls.append(f"{method} {path}")
        if headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"detail": "Invalid token"}, {}
        if self.answers:
            return 200, self.answers.pop(0), {}
        if self.status != 200:
            return self.status, {}, {}
        return self.get(path) if method == "GET" else self.write(method, path, body)

    def get(self, path):
        url = urlsplit(path)
        found = self.lists[url.path.removeprefix(BASE)]
        query = parse_qs(url.query)
        if url.path.endswith("detectors/"):
            assert query["project"] == ["22"]
        begin = int(query.get("cursor", ["0"])[0])
        more = str(begin + 1 < len(found)).lower()
        first = path.split("&cursor")[0].split("?cursor")[0]
        following = f"{self.url}{first}{'&' if '?' in first else '?'}cursor={begin + 1}"
        link = f'<{self.url}{path}>; rel="previous"; results="false"; cursor="0:0:1", '
        link += f'<{following}>; rel="next"; results="{more}"; cursor="0:1:0"'
        return 200, found[begin : begin + 1], {"Link": link}

    def write(self, method, path, body):
        refuse_workflow(body)
        workflows = self.lists["workflows/"]
        if method == "POST":
            assert path == f"{BASE}workflows/"
            workflows.append(body | {"id": str(100 + len(workflows))})
            return 201, workflows[-1], {}
        identity = path.removeprefix(f"{BASE}workflows/").strip("/")
        [index] = [n for n, one in enumerate(workflows) if one["id"] == identity]
        workflows[index] = body
        return 200, body, {}

    def made(self):
        """Our alerts, by name."""
        return {one["name"]: one for one in self.lists["workflows/"] if one["id"] != "51"}


@pytest.fixture
def api(project, aws):
    api = Api()
    path = project / owner.NAME
    content = json.loads(path.read_text())
    content["sentry"]["host"] = api.url
    path.write_text(json.dumps(content))
    aws.secrets[f"{APPLICATION}/sentry"] = {"token": TOKEN}
    yield api
    api.stop()


def test_the_alerts_are_created(api, command):
    code, output = command("sentry", "apply")
    assert code == 0, output
    made = api.made()
    assert list(made) == NAMES
    for alert in made.values():
        assert alert["detectorIds"] == ["31"]
        [part] = alert["actionFilters"]
        assert part["actions"][0]["config"]["targetIdentifier"] == "12"
        slack = part["actions"][1]
        assert slack["integrationId"] == "41"
        assert slack["config"]["targetDisplay"] == "#greeters"
        assert slack["config"]["targetIdentifier"] == "CABCDEF12"
    kinds = [[one["type"] for one in made[name]["triggers"]["conditions"]] for name in NAMES]
    assert kinds[:2] == [["first_seen_event"], ["regression_event"]]
    frequent = made[NAMES[2]]
    assert frequent["environment"] == f"{APPLICATION}-prod"
    assert frequent["actionFilters"][0]["conditions"][0]["comparison"]["value"] > 1
    assert TOKEN not in output


def test_a_second_run_updates_the_alerts(api, command):
    command("sentry", "apply")
    before = api.made()
    code, output = command("sentry", "apply")
    assert code == 0, output
    assert api.made() == before
    assert len([one for one in api.calls if one.startswith("POST")]) == 3
    assert len([one for one in api.calls if one.startswith("PUT")]) == 3
    assert api.lists["workflows/"][0]["name"] == "somebody's own"


def test_a_dry_run_changes_nothing(api, command):
    code, output = command("sentry", "apply", "--dry-run")
    assert code == 0
    assert output.count("+ POST http://127.0.0.1:") == 3
    assert not api.made()
    assert TOKEN not in output


def test_without_a_connection_to_slack_alerts_are_sent_by_email_only(api, command):
    api.lists["integrations/"] = []
    _, output = command("sentry", "apply")
    assert "Sentry has no connection to Slack" in output
    for alert in api.made().values():
        assert [one["type"] for one in alert["actionFilters"][0]["actions"]] == ["email"]


def test_a_missing_token_is_requested(api, aws, command, monkeypatch):
    del aws.secrets[f"{APPLICATION}/sentry"]
    monkeypatch.setattr("deploy.commands.cli.arguments.ask_for", lambda _: TOKEN)
    assert command("sentry", "apply")[0] == 0
    assert list(api.made()) == NAMES


def test_a_refused_token_is_a_failure(api, aws, fails):
    aws.secrets[f"{APPLICATION}/sentry"] = {"token": "another"}
    output = fails("sentry", "apply")
    assert "Sentry refused GET " in output
    assert "alerts:write" in output
    assert "now: nothing was changed" in output


@pytest.mark.parametrize(
    ("kind", "what"),
    [("teams/", "no team 'greeters'"), ("projects/", f"no project '{APPLICATION[:12]}")],
)
def test_an_unknown_name_is_a_failure(api, fails, kind, what):
    del api.lists[kind][1]
    assert what in fails("sentry", "apply")
    assert not api.made()


def test_a_project_without_monitors_is_a_failure(api, fails):
    del api.lists["detectors/"][0]
    assert f"the project {APPLICATION} has no monitor" in fails("sentry", "apply")


@pytest.mark.parametrize("status", [400, 500, 503])
def test_an_error_response_is_a_failure(api, fails, status):
    api.status = status
    assert f": {status}: " in fails("sentry", "apply")


def test_a_response_other_than_json_is_a_failure(api, fails):
    api.answers = [b"<html>"]
    assert "Sentry did not answer GET" in fails("sentry", "apply")


def test_an_unreachable_server_is_a_failure(api, project, fails):
    path = project / owner.NAME
    path.write_text(path.read_text().replace(api.url, "http://127.0.0.1:9"))
    assert "Sentry did not answer GET" in fails("sentry", "apply")


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_a_secret_that_cannot_be_read_is_not_a_missing_one(api, aws, fails, code):
    aws.fail("secretsmanager:GetSecretValue", code)
    assert "secretsmanager:GetSecretValue" in fails("sentry", "apply")


def test_a_team_without_sentry_is_refused(project, fails):
    path = project / owner.NAME
    content = json.loads(path.read_text())
    del content["sentry"]
    path.write_text(json.dumps(content))
    assert "sentry is missing" in fails("sentry", "apply")
