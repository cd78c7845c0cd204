"""The approval that the pipeline gives itself, or asks for."""

import json
from datetime import datetime

import pytest

from scripts import release

OPEN = datetime.fromisoformat("2026-11-24T12:00+01:00")
CLOSED = datetime.fromisoformat("2026-11-28T12:00+01:00")
ENV = {"EXECUTION": "e-2", "VERSION": "abc-1", "TEAM_TOPIC": "arn:team"}


def state(execution, **latest):
    return {
        "stageStates": [
            {"stageName": "Source", "actionStates": [{"actionName": "GitHub"}]},
            {
                "stageName": "Release",
                "latestExecution": {"pipelineExecutionId": execution},
                "actionStates": [
                    {"actionName": "ReleaseWindow", "latestExecution": {"status": "InProgress"}},
                    {"actionName": "Approve", "latestExecution": latest},
                ],
            },
        ]
    }


WAITING = state("e-2", status="InProgress", token="t-1")


class Aws:
    """Both clients in one: what the pipeline's state is, one answer after another, and what was sent."""

    def __init__(self, *states):
        self.states, self.approved, self.published = list(states), [], []

    def get_pipeline_state(self, name):
        assert name == "birthday-greetings"
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def put_approval_result(self, **result):
        self.approved.append(result)

    def publish(self, **message):
        self.published.append(message)


@pytest.fixture
def aws(monkeypatch):
    monkeypatch.setattr(release, "PAUSE", 0)
    monkeypatch.setattr(release, "PATIENCE", 0.2)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    def use(*states):
        fake = Aws(*states)
        monkeypatch.setattr(release.boto3, "client", lambda _: fake)
        return fake

    return use


def test_inside_of_the_window_it_is_approved_and_says_why(aws, capsys):
    fake = aws(WAITING)
    release.release("birthday-greetings", OPEN, ENV)
    [given] = fake.approved
    assert (given["stageName"], given["actionName"], given["token"]) == (
        "Release",
        "Approve",
        "t-1",
    )
    assert given["result"]["status"] == "Approved"
    assert "The release window is open: it is Tuesday" in given["result"]["summary"]
    assert not fake.published
    assert "approved" in capsys.readouterr().out


def test_outside_of_it_the_team_is_told_what_waits_and_where(aws):
    fake = aws(WAITING)
    release.release("birthday-greetings", CLOSED, ENV)
    assert not fake.approved
    [sent] = fake.published
    assert sent["TopicArn"] == "arn:team"
    text = json.loads(sent["Message"])["email"]
    assert "abc-1 waits for approval" in text
    assert "It opens Monday 2026-11-30 09:00" in text
    assert "/codepipeline/pipelines/birthday-greetings/view" in text


def test_the_approval_that_begins_later_is_waited_for(aws):
    before = state("e-1", status="InProgress", token="t-0")
    fake = aws(before, state("e-2"), WAITING)
    release.release("birthday-greetings", OPEN, ENV)
    assert [one["token"] for one in fake.approved] == ["t-1"]


def test_the_approval_of_another_execution_is_not_touched(aws, capsys):
    fake = aws(state("e-1", status="InProgress", token="t-0"))
    release.release("birthday-greetings", OPEN, ENV)
    assert not fake.approved
    assert "nothing waits" in capsys.readouterr().out


def test_somebody_who_was_faster_is_no_failure(aws, capsys):
    fake = aws(state("e-2", status="Succeeded", token="t-1"))
    release.release("birthday-greetings", CLOSED, ENV)
    assert not fake.approved
    assert not fake.published
    assert "nothing waits" in capsys.readouterr().out


def test_by_the_clock_whatever_waits_is_approved(aws):
    fake = aws(WAITING)
    release.release("birthday-greetings", OPEN, {})
    assert len(fake.approved) == 1


def test_by_the_clock_nothing_may_wait_and_nobody_is_told_twice(aws, capsys):
    fake = aws(state("e-2", status="Succeeded", token="t-1"))
    release.release("birthday-greetings", OPEN, {})
    assert "nothing waits" in capsys.readouterr().out
    fake = aws(WAITING)
    release.release("birthday-greetings", CLOSED, {})
    assert not fake.approved
    assert not fake.published


def test_wrong_usage(monkeypatch):
    monkeypatch.setattr("sys.argv", ["release"])
    with pytest.raises(SystemExit, match="Usage"):
        release.main()
