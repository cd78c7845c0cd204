"""The approval step: the pipeline approves the version itself, or asks the team to approve it."""

import json
from dataclasses import replace
from datetime import datetime

import pytest

from deploy.base.errors import AwsFailure, Failure
from deploy.delivery import approval
from tests.support.aws import APPLICATION

OPEN = datetime.fromisoformat("2026-11-24T12:00+01:00")
CLOSED = datetime.fromisoformat("2026-11-28T12:00+01:00")
ENV = {"EXECUTION": "e-2", "VERSION": "abc-1", "TEAM_TOPIC": "arn:team"}


def state(execution, **latest):
    return {
        "stageStates": [
            {"stageName": "Source", "actionStates": [{"actionName": "GitHub"}]},
            {
                "stageName": "Release",
                "latestExecution": {"pipelineExecutionId": execution, "status": "InProgress"},
                "actionStates": [
                    {"actionName": "ReleaseWindow", "latestExecution": {"status": "InProgress"}},
                    {"actionName": "Approve", "latestExecution": latest},
                ],
            },
        ]
    }


EARLIER, TOKEN = "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"
WAITING = state("e-2", status="InProgress", token=TOKEN)


@pytest.fixture
def release(run, aws):
    """Runs the command at a given time, with given variables and a given state of the pipeline."""

    def act(moment, env, *states):
        aws.pipeline_states = list(states)
        settings = replace(run.settings, env=env)
        approval.release(replace(run, settings=settings), moment)

    return act


def test_inside_the_window_the_version_is_approved_with_the_reason(aws, release, capsys):
    release(OPEN, ENV, WAITING)
    [given] = aws.approvals
    assert (given["stageName"], given["actionName"], given["token"]) == (
        "Release",
        "Approve",
        TOKEN,
    )
    assert given["result"]["status"] == "Approved"
    assert "The release window is open: it is Tuesday" in given["result"]["summary"]
    assert not aws.published
    assert "approved" in capsys.readouterr().err


def test_outside_the_window_the_team_is_notified_of_the_pending_version(aws, release):
    release(CLOSED, ENV, WAITING)
    assert not aws.approvals
    [sent] = aws.published
    assert sent["TopicArn"] == "arn:team"
    text = json.loads(sent["Message"])["email"]
    assert "abc-1 waits for approval" in text
    assert "It opens Monday 2026-11-30 09:00" in text
    assert f"/codepipeline/pipelines/{APPLICATION}/view" in text


def test_it_waits_for_an_approval_that_starts_later(aws, release):
    before = state("e-1", status="InProgress", token=EARLIER)
    release(OPEN, ENV, before, state("e-2"), WAITING)
    assert [one["token"] for one in aws.approvals] == [TOKEN]


def test_the_approval_of_another_execution_is_unchanged(aws, release, capsys):
    release(OPEN, ENV, state("e-1", status="InProgress", token=EARLIER))
    assert not aws.approvals
    assert "no version is pending" in capsys.readouterr().err


def test_an_approval_given_by_somebody_else_is_not_a_failure(aws, release, capsys):
    release(CLOSED, ENV, state("e-2", status="Succeeded", token=TOKEN))
    assert not aws.approvals
    assert not aws.published
    assert "no version is pending" in capsys.readouterr().err


def test_a_scheduled_run_approves_any_pending_version(aws, release):
    release(OPEN, {}, WAITING)
    assert len(aws.approvals) == 1


def test_a_scheduled_run_may_find_nothing_pending_and_notifies_nobody(aws, release, capsys):
    release(OPEN, {}, state("e-2", status="Succeeded", token=TOKEN))
    assert "no version is pending" in capsys.readouterr().err
    release(CLOSED, {}, WAITING)
    assert not aws.approvals
    assert not aws.published


@pytest.mark.parametrize("code", ["AccessDeniedException", None])
def test_a_query_without_a_response_is_not_an_empty_result(aws, fails, code):
    aws.fail("codepipeline:GetPipelineState", code)
    output = fails("release")
    assert "codepipeline:GetPipelineState" in output
    assert "now: nothing was changed" in output


def test_a_refused_approval_is_a_failure(aws, release):
    aws.fail("codepipeline:PutApprovalResult", "InvalidApprovalTokenException")
    with pytest.raises(AwsFailure, match="InvalidApprovalTokenException"):
        release(OPEN, ENV, WAITING)


def test_without_a_topic_the_team_cannot_be_notified(aws, release):
    with pytest.raises(Failure, match="TEAM_TOPIC is missing"):
        release(CLOSED, {"EXECUTION": "e-2"}, WAITING)


def test_without_a_pipeline_it_says_how_to_create_it(fails):
    output = fails("release")
    assert f"there is no pipeline {APPLICATION} in eu-west-1" in output
    assert "next: scripts/build_and_deploy.sh bootstrap\n" in output
