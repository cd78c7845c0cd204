"""The rehearsal's CloudWatch Logs: what the instances of an environment have written."""

import json
from types import SimpleNamespace

import pytest
from moto import mock_aws

from deploy.resources import logs as deploy_logs
from tests.rehearsal.aws import logs
from tests.rehearsal.aws.answers import Refused
from tests.support.aws import APPLICATION, REGION

NAME = f"{APPLICATION}-staging"
GROUP, PROXY = (deploy_logs.name(NAME, one) for one in (deploy_logs.APPLICATION, deploy_logs.PROXY))
NGINX = json.dumps({"time": "2026-11-27T10:00:03+00:00", "request_id": "abc"})
DOCKER = """2026-11-27T10:00:01.000000000Z starting
2026-11-27T10:00:02.500000000Z {"status": 500, "request_id": "abc"}
"""
TEN = 1_795_773_600_000  # ten o'clock of that day, in milliseconds


@pytest.fixture
def served(monkeypatch):
    """The logs of an environment with an instance that serves, and one that has not started its container."""
    import boto3

    said = SimpleNamespace(stdout=DOCKER, stderr="2026-11-27T10:00:04.000000000Z a warning\n")
    monkeypatch.setattr(logs, "docker", lambda *_, check: said)
    instances = [
        SimpleNamespace(id="i-1", application="a", run=lambda _: f"{NGINX}\n"),
        SimpleNamespace(id="i-2", application=None, run=lambda _: ""),
    ]
    with mock_aws():
        for group in (GROUP, PROXY):
            boto3.client("logs", REGION).create_log_group(logGroupName=group)
        yield logs.Logs(REGION, {NAME: SimpleNamespace(instances=instances)})


def texts(answer):
    return [one["message"] for one in answer["events"]]


def test_lines_have_the_time_at_which_they_were_written(served):
    found = served.filter_log_events(GROUP)["events"]
    assert [one["timestamp"] - TEN for one in found] == [1000, 2500, 4000]
    assert len({one["eventId"] for one in found}) == 3
    assert texts(served.filter_log_events(GROUP, startTime=TEN + 3000)) == ["a warning"]
    assert texts(served.filter_log_events(PROXY)) == [NGINX]


def test_lines_come_in_pages_from_either_end(served):
    first = served.filter_log_events(GROUP, startFromHead=False, limit=2)
    rest = served.filter_log_events(
        GROUP, startFromHead=False, limit=2, nextToken=first["nextToken"]
    )
    assert [*texts(first), *texts(rest)][::2] == ["a warning", "starting"]
    assert "nextToken" not in rest


def test_lines_are_filtered_by_a_pattern(served):
    assert texts(served.filter_log_events(PROXY, filterPattern='"abc"')) == [NGINX]
    assert len(texts(served.filter_log_events(GROUP, filterPattern="{ $.status >= 500 }"))) == 1
    with pytest.raises(ValueError, match="ERROR"):
        served.filter_log_events(GROUP, filterPattern="ERROR")


def test_a_group_that_does_not_exist_is_refused(served):
    with pytest.raises(Refused):
        served.filter_log_events(f"{GROUP}.1")
    assert not texts(logs.Logs(REGION, {}).filter_log_events(GROUP))  # outlives its environment
