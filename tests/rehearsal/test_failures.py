"""Versions that cannot be deployed, and deployments disturbed by AWS, the registry and people."""

import pytest

from tests.rehearsal.project import replace
from tests.support.aws import seal

HOOK = ".platform/hooks/predeploy/10_migrate.sh"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        pytest.param(
            replace("web/__main__.py", '"""', 'raise SystemExit("broken")\n"""'),
            "quit unexpectedly",
            id="the image crashes",
        ),
        pytest.param(
            replace(HOOK, "set -euo", "exit 7\nset -euo"), "Command failed", id="a hook fails"
        ),
        pytest.param(
            replace("web/health.py", '"/readyz"', '"/ready"'),
            "is not healthy",
            id="it is not healthy",
        ),
        pytest.param(
            replace(
                ".ebextensions/40-database.config",
                "MasterUsername: birthday",
                "MasterUsername: other",
            ),
            "requires replacing",
            id="it would replace the database",
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


def test_a_configuration_file_that_beanstalk_ignores_is_reported(world, base):
    """The file has a key that Beanstalk does not know: Beanstalk skips the file, warns, and deploys."""
    edit = replace(".ebextensions/60-monitoring.config", "option_settings:", "option_setings:")
    label = world.project.build(edit)
    printed = world.project.script("deploy", "staging", "--version", label, fails=True)
    assert "Beanstalk ignored a configuration file" in printed
    assert "60-monitoring.config" in printed
    assert "was rolled back" in printed
    assert world.runs("staging") == base


def test_a_deployment_that_fails_halfway_leaves_no_mixed_versions(world, base):
    line = "set -euo pipefail\n"
    fails_on_the_second = replace(HOOK, line, f"{line}[ ! -d /var/app/current ] || exit 7\n")
    label = world.project.build(fails_on_the_second)
    printed = world.project.script("deploy", "staging", "--version", label, fails=True)
    assert "Command failed on instance" in printed
    assert f"birthday-greetings-staging: rolling back to {base}" in printed
    assert "failed in staging and was rolled back" in printed
    assert world.runs("staging") == base


def test_a_healthy_version_that_fails_the_smoke_test_is_rolled_back(world, base, no_checks):
    staging = world.environment("staging")
    with world.project.commit(replace("web/birthday.py", "Your birthday is", "Your day is")):
        printed = world.project.script(fails=True, **no_checks)
    assert "a birthday is saved and greeted: FAILED" in printed
    assert "failed in staging and was rolled back" in printed
    assert f"{staging.name} runs {base}, and serves" in printed
    assert world.runs("staging") == world.runs("prod") == base


def test_a_deployment_that_does_not_end_is_stopped(world, base, second):
    with world.stalled():
        printed = world.project.script(
            "deploy", "staging", "--version", second, fails=True, DEPLOY_TIMEOUT="1"
        )
    assert "eb deploy ended with exit code 4" in printed
    assert "stopping the operation" in printed
    assert f"still run {base}, and serve" in printed
    assert world.runs("staging") == base


def test_a_permission_that_is_missing(world, base, second):
    with world.denied("update_environment"):
        printed = world.project.script("deploy", "staging", "--version", second, fails=True)
    assert "not authorized to perform: elasticbeanstalk:update_environment" in printed
    assert f"still run {base}, and serve" in printed
    assert world.runs("staging") == base


# --- Builds -------------------------------------------------------------------------------------


def test_a_version_is_never_published_twice(world, base):
    number = base.partition("-")[2]
    printed = world.project.script("build", BUILD_NUMBER=number, fails=True)
    assert f"version {base} exists, and is never replaced" in printed
    assert "docker build" not in printed


def test_an_unfinished_build_is_continued(world, base):
    with world.denied("create_application_version"):
        printed = world.project.script("build", BUILD_NUMBER="unfinished", fails=True)
    assert "is published, no version was created" in printed
    printed = world.project.script("build", BUILD_NUMBER="unfinished")
    assert "was published by an interrupted run: using it" in printed
    assert "docker build" not in printed


def test_nothing_is_published_if_the_registry_refuses_the_login(world, base):
    password = world.cloud.images.password
    world.cloud.images.password = "wrong"
    try:
        printed = world.project.script("build", BUILD_NUMBER="refused", fails=True)
    finally:
        world.cloud.images.password = password
    assert "refuses the login" in printed
    assert "nothing was published" in printed


def test_whatever_the_subject_of_a_commit_is(world, base):
    subject = "-fix " + "\N{BIRTHDAY CAKE}" * 201
    with world.project.commit(message=subject):
        label = world.project.build()
    version = world.beanstalk.versions[label]
    source = version["SourceBundle"]
    bundle = world.cloud.client("s3").get_object(Bucket=source["S3Bucket"], Key=source["S3Key"])
    sealed = seal(bundle["Body"].read())
    assert version["Description"] == f"{subject[: 199 - len(sealed)]} {sealed}"
