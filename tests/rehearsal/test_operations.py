"""Each alarm, from its change of state to the message that its recipients read; and the commands of the runbook."""

import re
from pathlib import Path

import pytest

from deploy.resources.monitoring import IN_PROGRESS
from tests.rehearsal.machines.docker import docker
from tests.rehearsal.operator import run
from tests.rehearsal.world import CHANNEL, CHIEF, ENVIRONMENTS, TEAM, told
from tests.support import runbook
from tests.support.aws import APPLICATION, REGION

METRIC = "AWS::CloudWatch::Alarm"
RUNBOOK = Path("docs/operations.md").read_text()
# Each alarm that fires, and the alarm whose message is sent for it
SENT = {
    "error-rate": "users-get-errors",
    "response-time": "users-wait",
    "no-healthy-instance": "nothing-serves",
    "missing-instances": "instances-fail",
    "environment-health": "instances-fail",
} | {
    name: name
    for name in (
        "instances-busy",
        "instance-memory",
        "instance-disk",
        "database-unreachable",
        "database-busy",
        "database-connections",
        "database-storage",
        "database-memory",
        "messages-dropped",
    )
}
URGENT = {"users-get-errors", "nothing-serves", "database-unreachable"}


@pytest.fixture
def alarms(world, created):
    """Sets the state of alarms, as an operator does to test that messages reach the mailbox."""
    client = world.cloud.client("cloudwatch")

    def set_state(environment, name, state="ALARM"):
        full = f"{APPLICATION}-{environment}-{name}"
        client.set_alarm_state(AlarmName=full, StateValue=state, StateReason="The way is tried")

    world.cloud.cloudwatch.forget()
    world.cloud.receiver.messages.clear()
    yield set_state
    world.cloud.cloudwatch.forget()


def sent(world):
    """The recipients of messages about firing alarms, with the names of the alarms."""
    found = {}
    for path, subject, _ in world.cloud.receiver.messages:
        if match := re.fullmatch(r'ALARM: "(\S+)" in .*', subject):
            found.setdefault(path, []).append(match[1])
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_alarm_reaches_its_recipients(world, alarms, environment, seen):
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
    seen(
        f"{len(SENT)} alarms of {environment}, each received at its e-mail addresses and in its channel"
    )


def test_a_lost_database_causes_only_one_message(world, alarms):
    for cause in (
        "database-unreachable",
        "no-healthy-instance",
        "error-rate",
        "environment-health",
        "response-time",
    ):
        alarms("prod", cause)
    lost = [f"{APPLICATION}-prod-database-unreachable"]
    assert sent(world) == {TEAM: lost, CHANNEL: lost, CHIEF: lost}
    alarms("prod", "database-unreachable", "OK")
    assert f"{APPLICATION}-prod-nothing-serves" in sent(world)[TEAM]  # the instances still fail


def test_a_deployment_sends_no_alarm_but_an_error_during_it_does(world, alarms):
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
        assert len(text) < 500
    assert [group for group, _ in events.logged] == [f"/aws/events/{name}"] * 2


# --- The runbook


def commands():
    """Every command of the runbook, once, but `create prod`, which test_raised_alarms carries out."""
    found = dict.fromkeys(runbook.commands(RUNBOOK))
    del found[f"{runbook.SCRIPT} create prod"]
    return list(found)


FIRST = ("secrets rotate", "deploy", "rollback")  # each in the state that the one before has left
LAST = "writes"  # these only are noticed by users


def rank(line):
    command = line.partition(" ")[2]
    if command.startswith(LAST):
        return len(FIRST) + 1
    return next((n for n, one in enumerate(FIRST) if command.startswith(one)), len(FIRST))


def test_every_command_of_the_runbook_works(world, base, second, bootstrapped, seen, request):
    """The password of the database is changed, a deployment starts containers that only know the new
    one, and a rollback leads to an image that is older than the database."""
    found = commands()
    assert len(found) >= 12
    world.project.script("backups", "install", "prod")
    assert not world.cloud.region(REGION).backup.run_plans()  # so that no backup is overdue
    database = world.environment("prod").database
    before, printed = database.properties["MasterUserPassword"], {}
    for line in sorted(found, key=rank):
        if rank(line) > len(FIRST):
            request.node.traffic.stop()
        printed[line.split()[1]] = run(world, line.replace("LABEL", second))
        world.beanstalk.wait(f"{APPLICATION}-prod")
    assert world.runs("prod") == base
    assert f"from {second} to {base}" in printed["rollback"]
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'person'"
    assert "note" in database.query(columns)
    after = database.properties["MasterUserPassword"]
    assert after != before
    assert not [text for text in printed.values() if before in text or after in text]
    assert "password authentication failed" in log_in(database, before)
    seen(f"{len(found)} commands")


def log_in(database, password):
    """What psql says to ``password``."""
    command = f"PGPASSWORD={password} psql 'host=127.0.0.1 user=app dbname=app' -c ''"
    return docker("exec", database.container, "bash", "-c", command, check=False).stderr
