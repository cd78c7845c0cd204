"""Alarms: each of them, from its state to the message that somebody reads."""

import re
from pathlib import Path

import pytest

from deploy.operations import IN_PROGRESS
from tests.rehearsal.world import CHANNEL, CHIEF, ENVIRONMENTS, TEAM, told
from tests.support.aws import APPLICATION

METRIC = "AWS::CloudWatch::Alarm"
RUNBOOK = Path("docs/operations.md")
# What fires, and the alarm whose message is sent for it
SENT = {
    "error-rate": "users-get-errors",
    "response-time": "users-wait",
    "no-healthy-instance": "nothing-serves",
    "missing-instances": "instances-fail",
    "environment-health": "instances-fail",
} | {
    name: name
    for name in (
        "instances-busy", "instance-memory", "instance-disk", "database-unreachable", "database-busy",
        "database-connections", "database-storage", "database-memory",
    )
}  # fmt: skip
URGENT = {"users-get-errors", "nothing-serves", "database-unreachable"}


@pytest.fixture
def alarms(world, created, bootstrapped):
    """Sets alarms into a state, as an operator does it to prove the way to the mailbox."""
    client = world.cloud.client("cloudwatch")
    fired = set()

    def set_state(environment, name, state="ALARM"):
        full = f"{APPLICATION}-{environment}-{name}"
        fired.add(full)
        client.set_alarm_state(AlarmName=full, StateValue=state, StateReason="The way is tried")

    world.cloud.receiver.messages.clear()
    yield set_state
    for name in fired:
        client.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="The end")


def sent(world):
    """Who got messages that an alarm fires, with the names of the alarms."""
    found = {}
    for path, subject, _ in world.cloud.receiver.messages:
        if match := re.fullmatch(r'ALARM: "(\S+)" in .*', subject):
            found.setdefault(path, []).append(match[1])
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_alarm_reaches_those_who_must_know(world, alarms, environment, seen):
    watched = {
        name.removeprefix(f"{APPLICATION}-{environment}-")
        for name in world.cloud.cloudformation.resources[METRIC]
        if name.startswith(f"{APPLICATION}-{environment}-")
    }
    assert watched == set(SENT) | {"deployment"}
    for cause, name in SENT.items():
        world.cloud.receiver.messages.clear()
        alarms(environment, cause)
        full = f"{APPLICATION}-{environment}-{name}"
        wanted = {TEAM: [full], CHANNEL: [full]}
        if environment == "prod" and name in URGENT:
            wanted[CHIEF] = [full]
        assert sent(world) == wanted, cause
        text = told(world, TEAM, f"Name: {full}", "EU (Ireland)")
        [section] = re.findall(
            r"What to do: https://github\.com/\S+/docs/operations\.md#(\S+)", text
        )
        assert section == name
        alarms(environment, cause, "OK")
        told(world, TEAM, f'OK: "{full}"')
    seen(f"{len(SENT)} alarms of {environment}, each at its e-mail addresses and its channel")


def test_a_lost_database_is_one_message(world, alarms):
    for cause in ("database-unreachable", "no-healthy-instance", "error-rate", "environment-health",
                  "response-time"):  # fmt: skip
        alarms("prod", cause)
    lost = [f"{APPLICATION}-prod-database-unreachable"]
    assert sent(world) == {TEAM: lost, CHANNEL: lost, CHIEF: lost}
    alarms("prod", "database-unreachable", "OK")
    assert f"{APPLICATION}-prod-nothing-serves" in sent(world)[TEAM]  # the instances, all the same


def test_a_deployment_is_no_alarm_and_an_error_meanwhile_is_one(world, alarms):
    name = f"{APPLICATION}-prod"
    world.cloud.client("cloudwatch").put_metric_data(
        Namespace=name, MetricData=[{"MetricName": IN_PROGRESS, "Value": 1}]
    )
    alarms("prod", "environment-health")
    alarms("prod", "missing-instances")
    assert not sent(world)
    alarms("prod", "error-rate")
    assert sent(world)[CHIEF] == [f"{name}-users-get-errors"]


def test_a_failover_of_the_database_is_reported(world, alarms):
    name = f"{APPLICATION}-prod"
    events = world.cloud.events
    events.database(name, "backup", "Finished DB Instance backup")
    events.database(f"{APPLICATION}-other", "failover", "Somebody else's")
    assert not world.cloud.receiver.messages
    events.database(name, "failover", "Multi-AZ instance failover completed")
    for path in (TEAM, CHANNEL):
        text = told(
            world, path, name, "Multi-AZ instance failover completed", "What to do: https://"
        )
        assert len(text) < 400
    assert [group for group, _ in events.logged] == [f"/aws/events/{name}"] * 2
