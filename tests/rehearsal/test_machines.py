"""Faults of machines and networks under load: what users saw, for how long, and which data was lost.

These scenarios need an environment of their own, whose machines they replace:
``make rehearse-machines``. Not possible with containers: a full disk of an instance (a file
system of the engine is shared), a clock jump on the database's machine, a slow disk, and a load
balancer that itself fails.
"""

import contextlib
import shutil
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.rehearsal.machines.docker import address, remove, start
from tests.rehearsal.machines.instance import Instance
from tests.rehearsal.waiting import limit
from tests.rehearsal.world import OFFICIAL
from tests.support import table
from tests.support.aws import PROD
from tests.support.load import NO_ANSWER, Load

# The address that the clients share stays below its rate limit, even with only one instance
CLIENTS, PAUSE = 3, 0.1
OUTAGE = limit(60)  # seconds, at most
OUTAGES = (502, 503, 504)  # statuses that a load balancer returns while no instance serves
PROPERTIES = "aws:elasticbeanstalk:application:environment"
# In a folder that the instance shows to its container
FAKED = {
    "LD_PRELOAD": "/etc/pki/rds/libfaketime.so",
    "FAKETIME_TIMESTAMP_FILE": "/etc/pki/rds/clock",
    "FAKETIME_CACHE_DURATION": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
}


class Production:
    """Two instances behind a load balancer, and a database with a standby in another zone."""

    def __init__(self, world):
        self.world, self.beanstalk = world, world.beanstalk
        world.project.script("create", "prod", BUILD_NUMBER="0")
        self.label = self.environment.label

    @property
    def environment(self):
        return self.beanstalk.environments[PROD]

    @property
    def database(self):
        return self.environment.database

    @property
    def containers(self):
        """The application containers of the running instances."""
        return [one.application for one in self.environment.instances]

    def lose_an_instance(self):
        lost = self.environment.instances[0]
        lost.kill()
        return lost

    def replace(self, lost):
        self.beanstalk.deployments.replace(self.environment, lost)

    def deploy(self, label):
        """Start an operation of AWS, and wait until it has ended."""
        self.beanstalk.update_environment(PROD, VersionLabel=label)
        self.beanstalk.wait(PROD)
        assert self.environment.label == label, self.environment.events[-3:]

    def configure(self, properties):
        """Set environment variables of the application, and wait until all instances have them."""
        settings = [
            {"Namespace": PROPERTIES, "OptionName": name, "Value": value}
            for name, value in properties.items()
        ]
        self.beanstalk.update_environment(PROD, OptionSettings=settings)
        self.beanstalk.wait(PROD)
        told = [one["Message"] for one in self.environment.events[-3:]]
        assert told[-1] == "Environment update completed successfully.", told

    def stored(self):
        rows = self.database.query("SELECT username, date_of_birth FROM person")
        return {name: date.fromisoformat(born) for name, born in (row.split("|") for row in rows)}

    @contextlib.contextmanager
    def load(self, day=None):
        """Clients that save and greet before, during and after the block."""
        host, _, port = self.environment.balancer.cname.partition(":")
        with Load(host, int(port), CLIENTS, day=day, outages=OUTAGES, pause=PAUSE) as load:
            load.wait_for_more(204)
            yield load
            load.wait_for_more(204)
            load.wait_for_more(200)


@pytest.fixture
def prod(world):
    """Assert that the environment serves, with two instances of the first version and a standby."""
    made = world.once(Production)
    if made.environment.label != made.label:
        made.deploy(made.label)
    if made.database.standby is None:
        made.database.add_standby()
    assert made.environment.colour() == ("Green", "Ok")
    assert len(made.environment.instances) == 2
    return made


@pytest.fixture
def judge(request, prod):
    """Records the table row of a fault, and asserts what must be true after every fault."""

    def judge(load):
        lost = load.lost(prod.stored())
        request.node.user_properties.append(("fault", table.row(request.node.name, load, lost)))
        assert load.acknowledged > 0
        assert not lost
        assert not load.wrong, load.wrong[:5]
        assert load.longest_outage < OUTAGE

    return judge


def test_a_zone_is_lost(prod, judge):
    """With it, half of the instances, and the primary, which accepts no writes in its last moment."""
    before = address(prod.database.container)
    with prod.load() as load:
        lost = prod.lose_an_instance()
        prod.database.become_read_only()
        load.wait_for_more(503, 5)
        prod.database.fail_over([prod.environment.instances[1].application])
        load.wait_for_more(204)
        prod.replace(lost)
    judge(load)
    assert address(prod.database.container) != before


def test_packets_to_the_database_are_dropped(prod, judge):
    """Until each client has been told so several times."""
    with prod.load() as load, prod.database.unreachable():
        load.wait_for_more(503, 20 * CLIENTS)
    judge(load)


def test_answers_of_the_database_are_delayed(prod, judge):
    """By 0.1 s each way, once its name resolves to a proxy."""
    script = Path(__file__).parent / "machines/delay.py"
    there = address(prod.database.container)
    proxy = start(
        "--volume",
        f"{script}:/delay.py:ro",
        OFFICIAL[0],
        "python",
        "/delay.py",
        there,
        "5432",
        "0.1",
    )
    end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'"
    try:
        with prod.load() as load:
            prod.database.answer(address(proxy), prod.containers)
            prod.database.query(end_sessions, "postgres")
            load.wait_for(lambda: load.longest_answer > 0.2)
            load.wait_for_more(204)
            prod.database.answer(there, prod.containers)
            prod.database.query(end_sessions, "postgres")
    finally:
        remove(proxy)
    judge(load)


def test_the_year_ends_during_a_deployment(prod, judge, clock):
    """Each greeting is right for the day before midnight or, after midnight, for the new day."""
    day = date(2027, 12, 31)
    clock(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    with prod.load(day) as load:
        load.wait_for(lambda: load.days_seen == {day})
        deploying = threading.Thread(target=prod.deploy, args=[prod.label])
        deploying.start()
        clock(datetime(day.year, day.month, day.day, 23, 59, 57, tzinfo=UTC))
        load.wait_for(lambda: day + timedelta(days=1) in load.days_seen)
        deploying.join()
    judge(load)
    assert load.total(*OUTAGES, NO_ANSWER) == 0


@pytest.fixture
def clock(prod, monkeypatch):
    """Sets the clock of all application containers, including those started later."""
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    assert library, "it needs Debian's package libfaketime"
    clock = Clock(library)
    deploy = Instance.deploy

    def deploy_with_clock(instance, *arguments):
        clock.show(instance)
        deploy(instance, *arguments)

    monkeypatch.setattr(Instance, "deploy", deploy_with_clock)

    def set_clock(moment):
        is_first = clock.offset is None
        clock.offset = (moment - datetime.now(UTC)).total_seconds()
        for one in prod.environment.instances:
            clock.show(one)
        if is_first:
            prod.configure(FAKED)

    yield set_clock
    prod.configure(dict.fromkeys(FAKED, ""))
    for name in FAKED:
        del prod.environment.direct[PROPERTIES, name]


class Clock:
    """A clock offset, in a file that is mounted into the containers."""

    def __init__(self, library):
        self._library, self.offset = library, None

    def show(self, instance):
        folder = instance.root / "etc/pki/rds"
        if not (folder / "libfaketime.so").exists():
            shutil.copy(self._library, folder / "libfaketime.so")
        new = folder / "clock.new"
        new.write_text(f"{self.offset:+.0f}s\n")
        new.replace(folder / "clock")
