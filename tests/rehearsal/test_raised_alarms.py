"""Alarms of production by their causes, each until the cure of its entry in docs/operations.md has cleared it.

One look at the metrics counts for all periods of an alarm. docs/rehearsal.md lists the alarms that no container raises.
"""

import contextlib
import http.client
import math
import re
import threading
from collections import Counter
from pathlib import Path

import psycopg2
import pytest

from tests.rehearsal.aws.metrics import MIB, Metrics, used
from tests.rehearsal.machines.docker import address, docker
from tests.rehearsal.machines.instance import LOGS
from tests.rehearsal.operator import run
from tests.rehearsal.project import replace
from tests.rehearsal.waiting import limit, wait_for
from tests.rehearsal.world import CHANNEL, CHIEF, TEAM, told
from tests.support import cloudformation, runbook
from tests.support.aws import APPLICATION

PROD = f"{APPLICATION}-prod"
RUNBOOK_FIRST = runbook.RUNBOOK.partition("\n## ")[0]  # the commands for all alarms
URGENT = {"users-get-errors", "nothing-serves", "database-unreachable"}
ENOUGH = 40  # answers, of which a percentage is meaningful
PAUSE = 0.05  # seconds of a client between two requests, so that they stay below nginx's limit for an address
PIECE = 4  # MiB
# A version that is faulty for some names only, and so passes all checks
FAULTS = f"""
KEPT = []


def misbehave(name: str) -> None:
    if name == "Fault":
        raise RuntimeError("a rehearsed fault")
    if name == "Slow":
        time.sleep(0.7)
    if name == "Busy":
        sum(range(1_000_000))
    if name == "Leak":
        KEPT.append(os.urandom({PIECE * MIB}))
    if name == "Ill":
        Path("/tmp/ill").touch()
"""


def build_faulty(world):
    """Build that version; returns its label."""
    find = "        born = storage.find(name)\n"
    ping = "    storage.ping()\n"

    def append(folder):
        path = folder / "web/hello.py"
        path.write_text(path.read_text() + FAULTS)

    return world.project.build(
        replace(
            "web/hello.py",
            "from datetime",
            "import os\nimport time\nfrom pathlib import Path\nfrom datetime",
        ),
        replace("web/hello.py", find, f"        misbehave(name)\n{find}"),
        append,
        replace("web/health.py", '"""\n\n', '"""\n\nfrom pathlib import Path\n\n'),
        replace("web/health.py", ping, f'{ping}    assert not Path("/tmp/ill").exists()\n'),
    )


class Watched:
    """Production, and what CloudWatch sees of it."""

    def __init__(self, world):
        self.world, self.cloudwatch = world, world.cloud.cloudwatch
        known = world.cloud.cloudformation.resources["AWS::Logs::MetricFilter"].values()
        self._filters = [one for one in known if f"/{PROD}/" in one["LogGroupName"]]
        assert self._filters

    @property
    def environment(self):
        return self.world.environment("prod")

    def see(self, *alarms, asked=("Anna", "Bertha")):
        """Let CloudWatch look until just these ``alarms`` fire, while a client asks for each name; returns the answers."""
        answers = []

        def look():
            metrics = Metrics(self.environment, self._filters)
            with asking(self.environment.balancer.cname, asked) as found:
                values = metrics.read(lambda: len(found) >= ENOUGH)
            answers[:] = found
            self.cloudwatch.observe(values)
            return self.firing() == set(alarms)

        wait_for(look, why=lambda: (self.firing(), Counter(answers)))
        return {status for _, status in answers}

    def firing(self):
        """The alarms that fire and send messages."""
        found = self.cloudwatch.describe_alarms(AlarmNamePrefix=f"{PROD}-", StateValue="ALARM")
        return {
            one["AlarmName"].removeprefix(f"{PROD}-")
            for one in found["MetricAlarms"] + found["CompositeAlarms"]
            if one["AlarmActions"]
        }

    def assert_told(self, state, *names):
        """Assert that the recipients of each alarm have got its message."""
        for name in names:
            for path in (TEAM, CHANNEL, *([CHIEF] if name in URGENT else [])):
                told(self.world, path, f'{state}: "{PROD}-{name}"')

    def begin(self, name):
        """Do what the runbook says first about an alarm; returns what was printed."""
        section = runbook.parts(runbook.SECTIONS[name]).get("First", RUNBOOK_FIRST)
        return "".join(run(self.world, line) for line in runbook.commands(section))

    def cure(self, comment, *names):
        """Run the command with ``comment`` of the cures of the alarms, which is the same for all of them."""
        [line] = {
            re.search(rf"^ {{4}}(\S.*\S) +# {comment}", runbook.SECTIONS[name], re.MULTILINE)[1]
            for name in names
        }
        return run(self.world, line)


@contextlib.contextmanager
def asking(host, names):
    """Within this context, a client asks for each of ``names``; yields their answers, as name and status."""
    answers, ended = [], threading.Event()

    def client(name):
        while not ended.wait(PAUSE):
            try:
                connection = http.client.HTTPConnection(host, timeout=limit(20))
                with contextlib.closing(connection):
                    connection.request("GET", f"/hello/{name}")
                    answers.append((name, connection.getresponse().status))
            except (OSError, http.client.HTTPException):
                answers.append((name, None))

    threads = [threading.Thread(target=client, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def prod(world, created):
    """Production with the first version, before any alarm fires."""
    world.return_to(created[0])
    world.cloud.cloudwatch.forget()
    world.cloud.receiver.messages.clear()
    return Watched(world)


def test_every_alarm_is_raised_here_or_listed_as_one_that_no_container_raises():
    known = cloudformation.load("devops/operations.yml")["Resources"].values()
    alarms = {
        one["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${Environment}-")
        for one in known
        if "AlarmActions" in one["Properties"] and "Condition" not in one
    }
    raised = set(re.findall(r'"([a-z]+-[a-z-]+)"', Path(__file__).read_text()))
    [listed] = re.findall(
        r"No container raises (.*?):", Path("docs/rehearsal.md").read_text(), re.S
    )
    listed = set(re.findall(r"`([a-z-]+)`", listed))
    assert len(alarms) > 10
    assert alarms <= raised | listed
    assert not raised & listed


def test_a_faulty_version(prod, world, seen):
    """It passes all checks, and begins to fail afterwards, in one way after the other."""
    world.project.script("deploy", "prod", "--version", build_faulty(world))
    one, two = prod.environment.instances
    restrict(one, two)
    leak(one)
    slow = ("Fault", "Slow", "Slow", "Slow", "Slow")
    prod.see("users-get-errors", "users-wait", "instance-memory", asked=slow)
    busy = ("Fault", "Busy", "Busy", "Busy", "Busy")  # which is why users wait
    prod.see("users-get-errors", "instances-busy", "instance-memory", asked=busy)
    printed = prod.begin("users-get-errors")
    assert '"builtins.RuntimeError"' in printed
    assert all(f"{PROD}-{name}" in printed for name in prod.firing())
    for instance in (one, two):
        instance.ask("/hello/Ill")
    wait_for(lambda: prod.environment.balancer.counts()["healthy"] == 0)
    assert prod.see("nothing-serves", "instance-memory") == {503}
    alarms = (
        "users-get-errors",
        "users-wait",
        "instances-busy",
        "instance-memory",
        "nothing-serves",
    )
    prod.assert_told("ALARM", *alarms)
    prod.cure("since a deployment", *alarms)
    assert prod.see(asked={*slow, *busy}) == {404}
    prod.assert_told("OK", *alarms)
    seen(f"{len(alarms)} alarms, and a rollback")


def restrict(*instances):
    """Let their containers have no more CPU and memory than these few clients can use up."""
    containers = [one.application for one in instances]
    size = math.ceil(3 * max(one.used for one in used(containers).values()) / MIB)
    docker("update", "--cpus=0.2", f"--memory={size}m", f"--memory-swap={size}m", *containers)


def leak(instance):
    """Let its container use 90 % of its memory."""
    memory = used([instance.application])[instance.application]
    for _ in range(math.ceil((0.9 * memory.limit - memory.used) / MIB / PIECE)):
        instance.ask("/hello/Leak")


def test_a_full_disk_and_a_lost_instance(prod):
    """The cure of the first is to terminate the instance, which its group replaces."""
    environment, lost = prod.environment, prod.environment.instances[0]
    lost.run(f"head -c 58M /dev/zero >{LOGS}/full")
    assert prod.see("instance-disk") == {404}
    lost.kill()
    wait_for(lambda: environment.balancer.counts()["healthy"] == 1)
    assert prod.see("instances-fail") == {404}
    assert "Added instances" in prod.begin("instances-fail")
    prod.world.beanstalk.deployments.replace(environment, lost)
    prod.see()
    for state in ("ALARM", "OK"):
        prod.assert_told(state, "instance-disk", "instances-fail")


def test_sessions_of_somebody_else(prod):
    """One needs the CPU of the database, the others its connections and memory."""
    database = prod.environment.database
    docker("update", "--cpus=0.2", database.container)
    loop = "DO 'BEGIN LOOP PERFORM 1; END LOOP; END'"
    docker("exec", "--detach", database.container, "psql", "-U", "app", "-c", loop)
    prod.see("database-busy")
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO %'"
    assert database.query(ended) == ["t"]
    prod.see()
    docker(
        "update", "--cpus=2", database.container
    )  # as many as its class has, like the memory below
    with sessions(database, 121):
        size = math.ceil(used([database.container])[database.container].used / MIB) + 60
        docker("update", f"--memory={size}m", f"--memory-swap={size}m", database.container)
        prod.see("database-connections", "database-memory")
        threshold = "DatabaseConnections = {}"
        edit = replace("devops/environments.toml", threshold.format(120), threshold.format(200))
        with prod.world.project.commit(edit):
            prod.cure("after the edit", "database-connections")
        prod.see("database-memory")
    prod.see()
    docker("update", "--memory=2g", "--memory-swap=2g", database.container)
    for state in ("ALARM", "OK"):
        prod.assert_told(state, "database-busy", "database-connections", "database-memory")


@contextlib.contextmanager
def sessions(database, count):
    """Within this context, ``count`` sessions of another program are open."""
    given = {
        "host": address(database.container),
        "user": database.properties["MasterUsername"],
        "password": database.properties["MasterUserPassword"],
        "dbname": "app",
        "sslmode": "require",
    }
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            opened.callback(psycopg2.connect(**given).close)
        yield


def test_an_unreachable_database(prod):
    """One cause is one message, and when it is over nobody needs to act."""
    with prod.environment.database.unreachable():
        assert prod.see("database-unreachable", asked=("Anna", "Bertha", "Clara", "Dora")) == {503}
        assert "the database is unavailable" in prod.begin("database-unreachable")
    prod.see()
    for state in ("ALARM", "OK"):
        prod.assert_told(state, "database-unreachable")
