"""Deployments that succeed, from commit to production, and concurrent runs."""

import signal
import threading

import pytest

from tests.rehearsal.project import add_a_column


def has_the_column(world, name):
    """Whether the migration of the second version has been applied in an environment."""
    rows = world.environment(name).database.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'person'"
    )
    return "note" in rows


def test_a_commit_with_a_migration_reaches_production(world, base):
    """Checks, tests and tests of the image are the real ones; of the tests, some of the quick."""
    with world.project.commit(add_a_column, message="Add a column"):
        printed = world.project.script(
            BUILD_NUMBER="whole.way", ARGS="tests/web/test_birthday.py --no-cov"
        )
    label = printed.split("deploy: version ")[1].split()[0]
    assert label.endswith("-whole.way")
    assert printed.count("docker build") == 1
    assert printed.index("make test-image") < printed.index("docker push")
    assert world.runs("staging") == world.runs("prod") == label
    assert has_the_column(world, "staging")
    assert has_the_column(world, "prod")


@pytest.fixture
def immutable(world, base):
    """Staging, with the other deployment policy without downtime."""
    staging = world.environment("staging")
    policy = ("aws:elasticbeanstalk:command", "DeploymentPolicy")
    staging.direct[policy] = "Immutable"
    yield staging
    del staging.direct[policy]


def test_an_immutable_deployment(world, immutable, second):
    world.project.script("deploy", "staging", "--version", second)
    assert world.runs("staging") == second


def test_a_rollback_to_an_image_that_is_older_than_the_database(world, base, second):
    world.project.script("deploy", "prod", "--version", second)
    assert has_the_column(world, "prod")
    printed = world.project.script("rollback", "prod")
    assert f"from {second} to {base}" in printed
    assert world.runs("prod") == base
    assert has_the_column(world, "prod")


def test_a_deployment_waits_until_a_busy_environment_is_ready(world, base, second):
    staging = world.environment("staging")
    with world.stalled():
        world.beanstalk.update_environment(staging.name, VersionLabel=base)
        release = threading.Timer(3, lambda: setattr(world.beanstalk.deployments, "stalled", False))
        release.start()
        printed = world.project.script("deploy", "staging", "--version", second)
    release.join()
    assert "is Updating, waiting until it is Ready" in printed
    assert world.runs("staging") == second


def test_a_second_run_at_the_same_time_is_refused(world, base, second):
    with world.stalled():
        first = world.project.begin("deploy", "staging", "--version", second)
        world.wait_for_call("update_environment")
        printed = world.project.script("deploy", "staging", "--version", base, fails=True)
    assert "another run is working on birthday-greetings-staging" in printed
    assert "nothing was changed by this run" in printed
    output, _ = first.communicate(timeout=600)
    assert first.returncode == 0, output
    assert world.runs("staging") == second


def test_an_interrupted_run_can_be_repeated(world, base, second):
    with world.stalled():
        first = world.project.begin("deploy", "staging", "--version", second)
        world.wait_for_call("update_environment")
        first.send_signal(signal.SIGTERM)
        output, _ = first.communicate(timeout=120)  # AWS does not go on before it has ended
    assert first.returncode == 130
    assert "What was started on AWS continues there" in output
    printed = world.project.script("deploy", "staging", "--version", second)
    assert f"runs {second}" in printed
    assert world.runs("staging") == second


def test_a_dry_run_changes_nothing(world, base, no_checks):
    printed = world.project.script("--dry-run", **no_checks)
    for command in ("docker build", "docker push", "eb appversion", "eb deploy", "aws s3api"):
        assert f"+ {command}" in printed or f"&& {command}" in printed
    assert world.beanstalk.calls == []
    assert world.runs("staging") == world.runs("prod") == base


def test_versions_that_nobody_needs(world, base, second):
    """There are fewer versions than are always kept; actual deletions are left to AWS."""
    printed = world.project.script("versions", "prune", "--yes")
    assert "all versions are needed" in printed
    assert {base, second} <= set(world.beanstalk.versions)
