"""The pipeline of devops/pipeline.yml, from a commit to production, and its notifications."""

import io
import time
import zipfile

import pytest

from tests.rehearsal.aws.codebuild import Failed
from tests.rehearsal.project import replace
from tests.rehearsal.world import CHANNEL, CHIEF, DEPLOYMENTS, TEAM, told
from tests.support.aws import APPLICATION as PIPELINE

VERIFY, IMAGE_TESTS = "birthday-greetings-verify", "birthday-greetings-image-tests"
OPENS = "birthday-greetings-window-opens"
WINDOW = """time_zone = "Europe/Berlin"
[[window]]
days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
from = "00:00"
to = "24:00"
"""
FREEZE = """[[freeze]]
first = 2000-01-01
last = 2999-12-31
reason = "Nobody releases anything here"
"""


@pytest.fixture
def pipeline(world, base, bootstrapped, tmp_path):
    """The pipeline, whose checks and tests use a fake `make` that always succeeds."""
    (tmp_path / "make").write_text("#!/bin/sh\n")
    (tmp_path / "make").chmod(0o755)
    world.cloud.build.stand_ins = {VERIFY: tmp_path, IMAGE_TESTS: tmp_path}
    world.cloud.receiver.messages.clear()
    world.cloud.build.outputs.clear()
    yield world.cloud.pipeline
    world.cloud.build.stand_ins.clear()


def begin(world, *edits, window=WINDOW):
    """Push a commit with ``edits`` to main."""

    def set_window(folder):
        (folder / "devops/release_window.toml").write_text(window)

    with world.project.commit(set_window, *edits):
        return world.cloud.pipeline.start(world.project.folder)


def version(execution):
    return execution.variables["Build.VERSION"]


def test_bootstrap_asks_for_the_handshakes_and_then_creates_the_pipeline(world, bootstrapped):
    before, shown, after = bootstrapped
    assert "there is no pipeline yet: complete the connection" in before
    assert "the workspace TABCDEF12 is not authorised" in before
    assert "birthday-greetings-pipeline would change:" in shown
    assert "AWS::CodeBuild::Project" in shown
    assert f"codepipeline/pipelines/{PIPELINE}/view" in after
    assert PIPELINE in world.cloud.cloudformation.resources["AWS::CodePipeline::Pipeline"]
    again = world.project.script("bootstrap")
    assert f"codepipeline/pipelines/{PIPELINE}/view" in again


def test_a_pull_request_is_checked_and_tested(world, bootstrapped, seen):
    world.cloud.build.stand_ins.clear()
    head = world.project.git("rev-parse", "HEAD")
    began = time.monotonic()
    try:
        world.cloud.build.run("birthday-greetings-pull-requests", world.project.folder, head, {})
    finally:
        output = world.cloud.build.outputs[-1][1]
    assert "Required test coverage of 95.0% reached" in output
    assert "private keys" in output
    seen(f"checks and tests in a clean container took {time.monotonic() - began:.0f} s")


def test_the_image_is_tested_without_any_permissions(world, bootstrapped, seen):
    world.cloud.build.stand_ins.clear()
    head = world.project.git("rev-parse", "HEAD")
    began = time.monotonic()
    world.cloud.build.run(IMAGE_TESTS, world.project.folder, head, {})
    output = world.cloud.build.outputs[-1][1]
    assert "passed" in output
    assert "skipped" not in output
    seen(f"tests of the image in a clean container took {time.monotonic() - began:.0f} s")


def test_inside_the_release_window_a_commit_reaches_production(world, pipeline):
    execution = begin(world)
    stages = pipeline.wait()
    assert list(stages.values()) == ["Succeeded"] * 6
    assert world.runs("staging") == world.runs("prod") == version(execution)
    assert (
        "Approved by the pipeline. The release window is open"
        in (execution.actions["Release", "Approve"]["summary"])
    )
    for name in ("staging", "prod"):
        text = told(
            world, DEPLOYMENTS, f"birthday-greetings-{name}: {version(execution)} succeeded"
        )
        assert f"who: codepipeline/{PIPELINE}" in text
        assert "duration: " in text
        assert "link: https://eu-west-1.console.aws.amazon.com/codebuild/" in text
    assert not world.cloud.receiver.told(CHANNEL)
    assert not world.cloud.receiver.told(CHIEF)


def test_outside_the_release_window_a_version_waits_for_approval(world, pipeline, base):
    execution = begin(world, window=WINDOW + FREEZE)
    told(world, TEAM, "waits for approval", within=1200)
    assert pipeline.decide("Expired")
    stages = pipeline.wait()
    assert stages == {
        "Source": "Succeeded", "Verify": "Succeeded", "Build": "Succeeded", "Staging": "Succeeded",
        "Release": "Failed",
    }  # fmt: skip
    for path in (TEAM, CHANNEL):
        text = told(world, path, f"{version(execution)} waits for approval")
        assert "Nobody releases anything here" in text
        assert f"/codepipeline/pipelines/{PIPELINE}/view" in text
        told(world, path, "Approval expired")
    assert world.runs("prod") == base

    waits = f"{version(execution)} waits for approval"
    world.cloud.receiver.messages.clear()
    pipeline.retry("Release")
    told(world, TEAM, waits, within=300)
    assert pipeline.decide("Rejected")
    assert pipeline.wait()["Release"] == "Failed"
    told(world, TEAM, "Rejected: By hand")
    assert world.runs("prod") == base

    world.cloud.receiver.messages.clear()
    pipeline.retry("Release")
    told(world, TEAM, waits, within=300)
    assert pipeline.decide("Approved")
    assert pipeline.wait()["Production"] == "Succeeded"
    assert world.runs("prod") == version(execution)
    told(world, DEPLOYMENTS, f"birthday-greetings-prod: {version(execution)} succeeded")


def test_when_the_window_opens_what_came_with_the_pending_version_releases_it(world, pipeline):
    """And not by the code on main at that time, which has not been verified."""
    execution = begin(world, window=WINDOW + FREEZE)
    told(world, TEAM, "waits for approval", within=1200)

    def set_window(folder):
        (folder / "devops/release_window.toml").write_text(WINDOW)

    with world.project.commit(set_window):
        world.cloud.build.run_from_bucket(OPENS)
    assert "the version stays pending" in world.cloud.build.outputs[-1][1]
    assert execution.actions["Release", "Approve"]["status"] == "InProgress"

    open_window(world)
    world.cloud.build.run_from_bucket(OPENS)
    assert pipeline.wait()["Production"] == "Succeeded"
    assert "The release window is open" in execution.actions["Release", "Approve"]["summary"]
    assert world.runs("prod") == version(execution)


def open_window(world):
    """As if time had passed: what is kept for the window has an open one."""
    location = world.cloud.cloudformation.resources["AWS::CodeBuild::Project"][OPENS]["Source"]
    bucket, _, key = location["Location"].partition("/")
    s3 = world.cloud.client("s3")
    before = zipfile.ZipFile(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as after:
        for name in before.namelist():
            is_window = name == "devops/release_window.toml"
            after.writestr(name, WINDOW if is_window else before.read(name))
    s3.put_object(Bucket=bucket, Key=key, Body=packed.getvalue())


def test_failing_tests_stop_the_pipeline_before_anything_is_built(world, pipeline, base):
    del world.cloud.build.stand_ins[VERIFY]
    project = world.cloud.cloudformation.resources["AWS::CodeBuild::Project"][VERIFY]
    hooks = "format,lint,types,design,shell,dockerfile,templates,locks,secrets"
    before = dict(project["Environment"])
    project["Environment"]["EnvironmentVariables"] = [
        {"Name": "SKIP", "Value": hooks},
        {"Name": "ARGS", "Value": "tests/web/test_birthday.py --junit-xml=dist/tests.xml"},
    ]
    try:
        edit = replace("web/birthday.py", "Your birthday is", "Your day is")
        begin(world, edit)
        stages = pipeline.wait()
    finally:
        project["Environment"] = before
    assert stages == {"Source": "Succeeded", "Verify": "Failed"}
    [output] = [text for name, text in world.cloud.build.outputs if name == VERIFY]
    assert "FAILED tests/web/test_birthday.py" in output
    for path in (TEAM, CHANNEL):
        told(world, path, '"stage": "Verify"', "FAILED")
    assert not world.cloud.receiver.told(DEPLOYMENTS)
    assert world.runs("staging") == world.runs("prod") == base


def test_a_failed_smoke_test_in_staging_leaves_production_unchanged(world, pipeline, base):
    execution = begin(world, replace("web/birthday.py", "Your birthday is", "Your day is"))
    stages = pipeline.wait()
    assert stages["Staging"] == "Failed"
    assert "Release" not in stages
    assert world.runs("staging") == world.runs("prod") == base
    failed = f"birthday-greetings-staging: {version(execution)} FAILED"
    assert "was rolled back" in told(world, DEPLOYMENTS, failed)
    told(world, TEAM, '"stage": "Staging"')
    assert not world.cloud.receiver.told(CHIEF)


def test_a_failed_smoke_test_in_production_rolls_back(world, pipeline, base):
    prod = world.environment("prod")
    option = ("aws:elasticbeanstalk:application:environment", "HOLIDAY")
    prod.direct[option] = "yes"
    edit = replace(
        "web/birthday.py",
        "Your birthday is",
        "Your {'day' if __import__('os').environ.get('HOLIDAY') else 'birthday'} is",
    )
    try:
        execution = begin(world, edit)
        stages = pipeline.wait()
    finally:
        del prod.direct[option]
    assert stages["Release"] == "Succeeded"
    assert stages["Production"] == "Failed"
    assert world.runs("staging") == version(execution)
    assert world.runs("prod") == base
    failed = f"birthday-greetings-prod: {version(execution)} FAILED"
    for path in (DEPLOYMENTS, TEAM, CHIEF):
        assert "was rolled back" in told(world, path, failed)
    told(world, CHANNEL, '"stage": "Production"')


def test_an_older_commit_does_not_overtake_a_newer_one(world, pipeline, base):
    """As when somebody retries the last stage of an execution after a newer version has been deployed."""
    project = world.project
    project.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", "Newer")
    project.git("branch", "newer")
    try:
        newer = project.script("build", BUILD_NUMBER="newer").strip().split("\n")[-1]
        project.git("reset", "--quiet", "--hard", "HEAD~1")
        project.script("deploy", "staging", "--version", newer)
        with pytest.raises(Failed):
            world.cloud.build.run(
                "birthday-greetings-staging", project.folder, project.git("rev-parse", "HEAD"),
                {"VERSION": base},
            )  # fmt: skip
    finally:
        project.git("reset", "--quiet", "--hard", project.base)
        project.git("branch", "--quiet", "-D", "newer")
    assert f"runs {newer}, which is not older than {base}" in world.cloud.build.outputs[-1][1]
    assert world.runs("staging") == newer
