"""Versions that cannot be deployed, and builds and deployments that are refused."""

import pytest

from tests.rehearsal.project import replace
from tests.support.aws import APPLICATION

HOOK = ".platform/hooks/predeploy/10_migrate.sh"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        pytest.param(
            replace("web/__main__.py", "    main()\n", '    raise SystemExit("broken")\n'),
            "quit unexpectedly",
            id="the image crashes",
        ),
        pytest.param(
            replace("web/health.py", '"/readyz"', '"/ready"'),
            "is not healthy",
            id="it is not healthy",
        ),
    ],
)
def test_a_version_that_cannot_be_deployed_leaves_the_old_one_running(
    world, base, no_checks, edit, reason
):
    staging = world.environment("staging")
    world.beanstalk.calls.clear()
    with world.project.commit(edit):
        printed = world.project.script(fails=True, **no_checks)
    assert reason in printed
    assert f"all instances of {staging.name} still run {base}, and serve" in printed
    assert world.runs("staging") == world.runs("prod") == base
    assert world.beanstalk.calls.count("update_environment") == 1


def test_a_hook_that_fails_halfway_leaves_no_mixed_versions(world, base):
    line = "set -euo pipefail\n"
    fails_on_the_second = replace(HOOK, line, f"{line}[ ! -d /var/app/current ] || exit 7\n")
    label = world.project.build(fails_on_the_second)
    printed = world.project.script("deploy", "staging", "--version", label, fails=True)
    assert "Command failed on instance" in printed
    assert f"{APPLICATION}-staging: rolling back to {base}" in printed
    assert "failed in staging and was rolled back" in printed
    assert world.runs("staging") == base


def test_a_missing_permission_leaves_the_old_version_running(world, base, second):
    with world.denied("update_environment"):
        printed = world.project.script("deploy", "staging", "--version", second, fails=True)
    assert "not authorized to perform: elasticbeanstalk:update_environment" in printed
    assert f"still run {base}, and serve" in printed
    assert world.runs("staging") == base


def test_a_build_that_was_refused_is_continued(world, base):
    """By the registry, before anything was published; then by Beanstalk, after that."""
    images = world.cloud.images
    password, images.password = images.password, "wrong"
    try:
        printed = world.project.script("build", BUILD_NUMBER="refused", fails=True)
    finally:
        images.password = password
    assert "the image cannot be pushed" in printed
    assert "nothing was published" in printed
    with world.denied("create_application_version"):
        printed = world.project.script("build", BUILD_NUMBER="refused", fails=True)
    assert "is published, no version was created" in printed
    printed = world.project.script("build", BUILD_NUMBER="refused")
    assert "was published by an interrupted run: using it" in printed
    assert "docker build" not in printed
