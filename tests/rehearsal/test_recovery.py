"""Recovery of the service from a backup, in another region or beside the running environment.

These scenarios need an account of their own, since regions are lost in it: ``make rehearse-recovery``.
"""

import shlex
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict

import pytest

from tests.rehearsal import disaster
from tests.rehearsal.home import BORN, COMMANDS, ENOUGH, FIRST, SECOND, USER, save
from tests.rehearsal.waiting import limit, wait_for
from tests.support.aws import APPLICATION, PROD, REGION, records

# The time that AWS itself adds to a recovery, according to published drills; not measured here
AWS_MINUTES = "AWS itself: 26 min in two published drills for database and service"


def wait_until_steady(environment):
    """Until a second without a failure: workers that stood still for more than a minute are replaced."""
    answers = []

    def is_steady():
        try:
            with urllib.request.urlopen(
                f"http://{environment.balancer.cname}/livez", timeout=limit(10)
            ):
                answers.append(True)
        except OSError:
            answers.append(False)
        return len(answers) >= 20 and all(answers[-20:])

    wait_for(is_steady)


def compare(load, stored, point):
    """Of what ``load`` saved: acknowledged and lost, by before and after the recovery ``point``."""
    of = defaultdict(list)
    for name, born, at in sorted(load.saved, key=lambda one: one[2]):
        of[name].append((born, at))
    count, moment = Counter(), point.timestamp()
    for name, saved in of.items():
        before = [born for born, at in saved if at <= moment]
        after = [born for born, at in saved if at > moment]
        count["before"] += len(before)
        count["after"] += len(after)
        # Names saved while the snapshot was being made may or may not be in it
        if before and stored.get(name) not in {before[-1], *after}:
            count["lost before"] += 1
        if after and stored.get(name) != after[-1]:
            count["lost after"] += 1
    return count


def shown(count):
    return (
        f"{count['before']} PUT acknowledged before the recovery point, {count['lost before']} names "
        f"lost; {count['after']} after it, {count['lost after']} names lost, as announced"
    )


# --- Before any disaster


def test_backups_are_installed_and_the_running_image_is_in_three_regions(home, seen):
    label = home.environment().label
    images = [home.at(one).registry.digest(APPLICATION, label) for one in (REGION, FIRST, SECOND)]
    assert len(set(images)) == 1
    for region in (FIRST, SECOND):
        client = home.cloud.client("s3", region)
        keys = [one["Key"] for one in client.list_objects_v2(Bucket=records(region))["Contents"]]
        assert any(key.startswith(f"deployments/{PROD}/") and key.endswith(label) for key in keys)
        secrets = home.cloud.client("secretsmanager", region)
        names = {one["Name"] for one in secrets.list_secrets()["SecretList"]}
        assert names == {f"{PROD}/application", f"{PROD}/smoke-test"}
    printed = home.type("list")
    assert [line.split(":")[0].strip() for line in printed.splitlines()[:3]] == [
        REGION,
        FIRST,
        SECOND,
    ]
    assert "LATE" not in printed
    again = home.type("install")
    assert again.count("is up to date") == 7
    assert "imagetools" not in again
    seen(f"image {images[0][:19]}... in three regions")


def test_a_version_built_later_is_replicated(home):
    later, running = home.world.project.build(), home.environment().label
    digest = home.at(REGION).registry.digest
    for region in (FIRST, SECOND):
        assert home.at(region).registry.digest(APPLICATION, later) == digest(APPLICATION, later)
    printed = home.type("look")
    assert f"version         {running}, image {digest(APPLICATION, running)}" in printed
    assert PROD not in home.at(FIRST).beanstalk.environments


# --- The loss of a region


@pytest.fixture
def lost(home):
    """The home region is down during the test, and back afterwards."""
    disaster.lose(home.cloud, REGION)
    home.cloud.refused.clear()
    try:
        yield
    finally:
        disaster.bring_back(home.cloud, REGION)
        wait_until_steady(home.environment())


STEPS = (
    "copy-db-snapshot",
    f"--stack-name {PROD} ",
    "create-application-version",
    "is creating",
    "create-environment",
    "is Launching",
    "smoke test",
)


def test_the_service_is_recovered_when_the_home_region_is_lost(home, request, seen):
    """Ctrl-C as soon as a step has begun; each run continues where the previous one ended."""
    with home.load() as load:
        failed, point = home.night()
        assert not failed
    request.getfixturevalue("lost")
    there, command = home.at(FIRST).beanstalk, shlex.split(COMMANDS["recover"])[1:]
    with home.world.stalled(there):
        ended = [home.interrupt(command, step) for step in STEPS[:-2]]
        ended.append(home.interrupt(command, STEPS[-2], lambda: refuse_another(home)))
    ended.append(home.interrupt(command, STEPS[-1]))
    assert ended == [130] * len(STEPS)
    printed = home.type("recover")
    assert there.calls.count("create_environment") == 1
    assert not home.cloud.refused, home.cloud.refused
    assert f"{point:%Y-%m-%d %H:%M:%S} UTC" in printed
    assert USER not in printed
    assert "HAS NO BACKUPS" not in printed
    count = compare(load, home.recovered(FIRST), point)
    assert home.recovered(FIRST)[USER] == BORN
    assert count["before"] > ENOUGH
    assert count["after"] > ENOUGH
    assert not count["lost before"]
    assert count["lost after"]
    with home.load(FIRST) as after:
        pass
    assert not after.lost()
    see_from_there(home)
    seen(shown(count))


def refuse_another(home):
    """Assert that a second recovery is refused while the first one waits."""
    assert f"another run is working on {PROD}" in home.type("recover", fails=True)


def see_from_there(home):
    """Assert what the status says while the home region, with the age of its backups, does not answer."""
    name, _, value = COMMANDS["work there"].removeprefix("export ").partition("=")
    text = home.type("see", fails=True, **{name: value})
    assert f"{PROD}  Ready  Green/Ok  {home.environment().label}" in text
    assert f"unknown      backups in {REGION}" in text
    failed, _ = home.night(FIRST)
    assert failed == [(REGION, "the region does not answer")]


# --- Beside the running environment, and the return to the home region


@pytest.fixture
def saved_again(home):
    """The user that a test deletes is there for the next one."""
    yield
    save(home.environment(), USER, BORN)


@pytest.mark.usefixtures("saved_again")
def test_data_that_was_deleted_is_restored_beside_the_running_environment(home, seen):
    environment = home.environment()
    with home.load() as load:
        _, point = home.night()
        environment.database.query(f"DELETE FROM person WHERE username = '{USER}'")
        began = time.monotonic()
        printed = home.type("beside")
        seconds = time.monotonic() - began
    stored = home.recovered(REGION, "before")
    assert stored[USER] == BORN
    assert not compare(load, stored, point)["lost before"]
    assert environment.label == home.environment(REGION, "before").label
    assert "a table [before], like [prod]" in printed
    assert not load.lost()
    seen(f"recovery time {seconds:.0f} s here; {AWS_MINUTES}")
    seen(f"meanwhile {load.counts['PUT 204']} PUT and {load.counts['GET 200']} GET, none failed")


@pytest.mark.usefixtures("saved_again")
def test_writes_are_refused_on_every_instance_until_they_are_allowed(home):
    home.type("stop")
    for _ in home.environment().instances:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            save(home.environment(), USER, "1991-03-01")
    assert home.recovered(REGION)[USER] == BORN
    home.type("allow")
    save(home.environment(), USER, "1991-03-01")
    assert home.recovered(REGION)[USER] == "1991-03-01"


def test_the_service_returns_to_the_home_region(home, seen):
    """The home region is back, with its old environment; the service moves from the other one."""
    if PROD not in home.at(FIRST).beanstalk.environments:
        home.type("recover")
    with home.load(FIRST) as load:
        failed, point = home.night(FIRST)
        assert not failed
    printed = home.type("back")
    assert f"{point:%Y-%m-%d %H:%M:%S} UTC" in printed
    count = compare(load, home.recovered(REGION, "home"), point)
    assert not count["lost before"]
    assert home.environment().colour() == ("Green", "Ok")  # the old environment, untouched
    seen(shown(count))


def test_an_exercise_from_an_older_copy_leaves_no_backups_behind(home):
    """The newest copy in that region is incomplete: the previous one is used, and the output says so."""
    _, before = home.night()
    save(home.environment(), "Halfmade", BORN)
    home.night(unfinished=(SECOND,))
    printed = home.type("exercise")
    assert "NOT USED        awsbackup:copyjob-" in printed
    assert "is CREATING" in printed
    assert f"{before:%Y-%m-%d %H:%M:%S} UTC" in printed
    stored = home.recovered(SECOND, "exercise")
    assert stored[USER] == BORN
    assert "Halfmade" not in stored
    vaults = home.cloud.cloudformation.at(SECOND)["AWS::Backup::BackupVault"]
    assert f"{APPLICATION}-exercise-{SECOND}" not in vaults


def test_an_exercise_can_be_repeated_after_it_was_removed(home):
    """After the first one was removed by the document's command, and its secrets have gone with time."""
    name = f"{APPLICATION}-exercise"
    if name not in home.at(SECOND).beanstalk.environments:
        home.type("exercise")
    home.type("remove the exercise", "--confirm", name)
    secrets = home.cloud.client("secretsmanager", SECOND)
    for one in ("database", "application", "smoke-test"):
        secrets.delete_secret(SecretId=f"{name}/{one}", ForceDeleteWithoutRecovery=True)
    home.type("exercise")
    assert home.recovered(SECOND, "exercise")[USER] == BORN


def test_the_documented_command_describes_the_database(home):
    _, service, operation, option, name = shlex.split(COMMANDS["moment"])
    assert (operation, option) == ("describe-db-instances", "--db-instance-identifier")
    found = home.cloud.client(service).describe_db_instances(DBInstanceIdentifier=name)
    assert found["DBInstances"][0]["DBInstanceStatus"] == "available"
