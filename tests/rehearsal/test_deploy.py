"""Deployments that succeed, from commit to production, and runs that are refused, stopped or interrupted."""

import signal

import pytest

from tests.rehearsal.project import add_a_column, replace
from tests.rehearsal.waiting import limit, wait_for
from tests.rehearsal.world import in_the_container
from tests.support.aws import APPLICATION, seal

SUBJECT = "-fix " + "\N{BIRTHDAY CAKE}" * 201  # which a program could take for an option


@pytest.fixture
def some_checks(tmp_path):
    """A `make` that runs no checks, and of the tests of the image those of its labels."""
    (tmp_path / "make").write_text(
        '#!/bin/sh\n[ "$1" != test-image ] || exec env PATH="$REAL_PATH" make "$@" ARGS="-k labelled"\n'
    )
    (tmp_path / "make").chmod(0o755)
    return tmp_path


def has_the_column(world, name):
    """Whether the migration of the second version has been applied in an environment."""
    rows = world.environment(name).database.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'person'"
    )
    return "note" in rows


def test_a_commit_with_a_migration_and_settings_reaches_production(world, base, some_checks):
    """By one command. The image that was tested is the one that is published."""
    path = world.project.environment["PATH"]
    settings = replace(".ebextensions/50-application.config", "LOG_LEVEL: INFO", "LOG_LEVEL: DEBUG")
    with (
        world.project.commit(add_a_column, settings, message=SUBJECT),
        world.denied("create_storage_location"),  # which deployments have no permission for
    ):
        printed = world.project.script(
            BUILD_NUMBER="whole.way", PATH=f"{some_checks}:{path}", REAL_PATH=path
        )
    label = printed.split("deploy: version ")[1].split()[0]
    assert label.endswith("-whole.way")
    assert printed.count("docker build") == 1
    assert (
        printed.index("make test-image") < printed.index("1 passed") < printed.index("docker push")
    )
    for name in ("staging", "prod"):
        assert world.runs(name) == label
        assert has_the_column(world, name)
        levels = [in_the_container(one, "LOG_LEVEL") for one in world.environment(name).instances]
        assert levels == ["DEBUG"] * 2
    assert describe(world, label).startswith(SUBJECT[:100])


def describe(world, label):
    """The description of a version, without the seal of its bundle."""
    version = world.beanstalk.versions[label]
    source = version["SourceBundle"]
    bundle = world.cloud.client("s3").get_object(Bucket=source["S3Bucket"], Key=source["S3Key"])
    sealed = seal(bundle["Body"].read())
    assert version["Description"].endswith(f" {sealed}")
    assert len(version["Description"]) == 200
    return version["Description"].removesuffix(f" {sealed}")


def test_an_immutable_deployment_runs_the_new_version(world, base, second):
    staging = world.environment("staging")
    policy = ("aws:elasticbeanstalk:command", "DeploymentPolicy")
    staging.direct[policy] = "Immutable"
    try:
        world.project.script("deploy", "staging", "--version", second)
    finally:
        del staging.direct[policy]
    assert world.runs("staging") == second


def test_refused_stopped_and_interrupted_runs_report_the_state(world, base, second):
    """While AWS never completes what it has begun: in staging until somebody ends the run, in production
    until `eb` gives up, after the minute that is its shortest time limit."""
    project = world.project
    with world.stalled():
        endless = project.begin("deploy", "prod", "--version", second, DEPLOY_TIMEOUT="1")
        first = project.begin("deploy", "staging", "--version", second)
        wait_for(lambda: world.beanstalk.calls.count("update_environment") == 2)
        refused = project.script("deploy", "staging", "--version", base, fails=True)
        first.send_signal(signal.SIGTERM)
        interrupted, _ = first.communicate(timeout=limit(300))
        stopped, _ = endless.communicate(timeout=limit(600))
        again = project.begin("deploy", "staging", "--version", second)
        told = read_until(again, "is Updating")
    assert f"another run is working on {APPLICATION}-staging" in refused
    assert "is unchanged" in refused
    assert first.returncode == 130
    assert "What was started on AWS continues there" in interrupted
    assert endless.returncode == 1
    assert "eb deploy ended with exit code 4" in stopped
    assert "stopping the operation" in stopped
    assert f"still run {base}, and serve" in stopped
    rest, _ = again.communicate(timeout=limit(600))
    assert again.returncode == 0, told + rest
    assert f"runs {second}" in rest
    assert world.runs("staging") == second
    assert world.runs("prod") == base


def read_until(process, words):
    """What a process prints, up to the line with ``words``."""
    text = ""
    for line in process.stdout:
        text += line
        if words in line:
            return text
    raise AssertionError(text)
