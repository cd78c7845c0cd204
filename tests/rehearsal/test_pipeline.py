"""The pipeline of devops/pipeline.yml, from a commit to production, and its notifications."""

import contextlib
import io
import re
import zipfile
from unittest import mock

import pytest

from tests.rehearsal.aws.codebuild import Failed
from tests.rehearsal.project import replace
from tests.rehearsal.waiting import wait_for
from tests.rehearsal.world import CHANNEL, CHIEF, DEPLOYMENTS, TEAM, told
from tests.support.aws import APPLICATION

VERIFY, IMAGE_TESTS = f"{APPLICATION}-verify", f"{APPLICATION}-image-tests"
SLOW = "format,lint,types,design,shell,dockerfile,templates,locks,secrets"  # checks
OPENS = f"{APPLICATION}-window-opens"
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
    with world.project.commit(lambda folder: set_window(folder, window), *edits):
        return world.cloud.pipeline.start(world.project.folder)


def set_window(folder, text):
    (folder / "devops/release_window.toml").write_text(text)


def version(execution):
    return execution.variables["Build.VERSION"]


def test_bootstrap_asks_for_the_handshakes_and_then_creates_the_pipeline(world, bootstrapped):
    before, shown, after = bootstrapped
    assert "there is no pipeline yet: complete the connection" in before
    assert f"{APPLICATION}-pipeline would change:" in shown
    assert "AWS::CodeBuild::Project" in shown
    assert f"codepipeline/pipelines/{APPLICATION}/view" in after
    assert APPLICATION in world.cloud.cloudformation.resources["AWS::CodePipeline::Pipeline"]
    again = world.project.script("bootstrap")
    assert f"codepipeline/pipelines/{APPLICATION}/view" in again


def build(world, project, **variables):
    """The output of a successful build of main: the real commands, on what ``variables`` select."""
    properties = world.cloud.cloudformation.resources["AWS::CodeBuild::Project"][project]
    selected = [{"Name": name, "Value": value} for name, value in variables.items()]
    head = world.project.git("rev-parse", "HEAD")
    with mock.patch.dict(properties["Environment"], EnvironmentVariables=selected):
        world.cloud.build.run(project, world.project.folder, head, {})
    return world.cloud.build.outputs[-1][1]


def test_a_pull_request_is_checked_and_tested(world, bootstrapped):
    """By the commands of the buildspec, which writes its reports."""
    reports = "--junit-xml=dist/tests.xml --cov-report=xml:dist/coverage.xml --cov-fail-under=0"
    output = build(
        world,
        f"{APPLICATION}-pull-requests",
        SKIP=SLOW,
        ARGS=f"tests/web/test_birthday.py {reports}",
    )
    assert "private keys" in output
    assert re.search(r"\d+ passed", output)


def test_the_image_is_tested_without_any_permissions(world, bootstrapped):
    output = build(world, IMAGE_TESTS, ARGS="-k 'labelled or hardened'")
    assert "2 passed" in output
    assert "skipped" not in output


def test_a_version_waits_for_the_release_window_which_releases_it(world, pipeline, base):
    """Unless somebody rejects it. When the window opens, what came with the version decides, not the code on
    main at that time, which has not been verified."""
    execution = begin(world, window=WINDOW + FREEZE)
    wait_for_approval(world, "waits for approval")
    assert pipeline.decide("Expired")
    assert pipeline.wait() == {
        "Source": "Succeeded",
        "Verify": "Succeeded",
        "Build": "Succeeded",
        "Staging": "Succeeded",
        "Release": "Failed",
    }
    waits = f"{version(execution)} waits for approval"
    for path in (TEAM, CHANNEL):
        text = told(world, path, waits)
        assert "Nobody releases anything here" in text
        assert f"/codepipeline/pipelines/{APPLICATION}/view" in text
        told(world, path, "Approval expired")
    told_of_success(world, "staging", execution)

    wait_again(world, waits)
    assert pipeline.decide("Rejected")
    assert pipeline.wait()["Release"] == "Failed"
    told(world, TEAM, "Rejected: By hand")

    wait_again(world, waits)
    with world.project.commit(lambda folder: set_window(folder, WINDOW)):
        world.cloud.build.run_from_bucket(OPENS)
    assert "the version stays pending" in world.cloud.build.outputs[-1][1]
    assert execution.actions["Release", "Approve"]["status"] == "InProgress"
    assert world.runs("prod") == base

    world.cloud.receiver.messages.clear()
    open_window(world)
    world.cloud.build.run_from_bucket(OPENS)
    assert list(pipeline.wait().values()) == ["Succeeded"] * 6
    assert "The release window is open" in execution.actions["Release", "Approve"]["summary"]
    assert world.runs("staging") == world.runs("prod") == version(execution)
    told_of_success(world, "prod", execution)
    assert not world.cloud.receiver.told(CHANNEL)
    assert not world.cloud.receiver.told(CHIEF)
    refuse_older(world, execution, base)


def wait_for_approval(world, words):
    """Wait until the team has been asked with these ``words``. Fails as soon as the execution does."""
    execution = world.cloud.pipeline.execution

    def is_asked():
        state = execution.actions.get(("Release", "Approve"), {})
        return state.get("status") == "InProgress" or not execution.thread.is_alive()

    wait_for(is_asked, 1200)
    assert execution.thread.is_alive(), execution.stages
    told(world, TEAM, words, within=600)


def wait_again(world, waits):
    """Retry the stage that failed, until the team has been told that the version waits."""
    world.cloud.receiver.messages.clear()
    world.cloud.pipeline.retry("Release")
    wait_for_approval(world, waits)


def told_of_success(world, name, execution):
    text = told(world, DEPLOYMENTS, f"{APPLICATION}-{name}: {version(execution)} succeeded")
    assert f"who: codepipeline/{APPLICATION}" in text
    assert "duration: " in text
    assert "link: https://eu-west-1.console.aws.amazon.com/codebuild/" in text


def refuse_older(world, execution, older):
    """As when somebody retries the last stage of an execution after a newer version has been deployed."""
    newer = version(execution)
    with pytest.raises(Failed):
        world.cloud.build.run(
            f"{APPLICATION}-staging", execution.source, execution.commit, {"VERSION": older}
        )
    assert f"runs {newer}, which is not older than {older}" in world.cloud.build.outputs[-1][1]
    assert world.runs("staging") == newer


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


STACKS = "              - !Sub arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/awseb"


@pytest.mark.parametrize(
    ("template", "begin", "end", "refused"),
    [
        ("pipeline", "          - Sid: AcquireLock", "          # Also in", "s3:PutObject on"),
        ("pipeline", STACKS, "\n", "Message:User: .* not authorized to perform: cloudformation:"),
        (
            "environment",
            "              - Sid: PullImage",
            "              - Sid: ReadSecrets",
            "Command failed on instance. User: .* not authorized to perform: ecr:",
        ),
    ],
    ids=["the script's", "Beanstalk's", "an instance's"],
)
def test_a_permission_that_a_template_lacks_fails_the_deployment(
    world, base, bootstrapped, template, begin, end, refused
):
    """With the refusal of AWS: to the script, to Beanstalk on its behalf, and to an instance."""
    pipeline = world.cloud.cloudformation.resources["AWS::CodeBuild::Project"]
    role = pipeline[f"{APPLICATION}-staging"]["ServiceRole"]
    key = world.cloud.access.key(role)
    with lacking(world, template, begin, end):
        printed = world.project.script(
            "deploy", "staging", "--version", base, fails=True, AWS_ACCESS_KEY_ID=key
        )
    assert re.search(refused, printed)
    assert world.runs("staging") == base


@contextlib.contextmanager
def lacking(world, template, begin, end):
    """Within this context, a template lacks the lines from ``begin`` to before ``end``, and its stack, too."""
    path = world.project.folder / f"devops/{template}.yml"
    text = path.read_text()
    first = text.index(begin)
    path.write_text(text[:first] + text[text.index(end, first + len(begin)) :])
    apply = ("bootstrap",) if template == "pipeline" else ("create", "staging")
    try:
        world.project.script(*apply)
        yield
    finally:
        path.write_text(text)
        world.project.script(*apply)


def test_a_failed_smoke_test_in_staging_leaves_production_unchanged(world, pipeline, base):
    execution = begin(world, replace("web/birthday.py", "Your birthday is", "Your day is"))
    stages = pipeline.wait()
    assert stages["Staging"] == "Failed"
    assert "Release" not in stages
    assert world.runs("staging") == world.runs("prod") == base
    failed = f"{APPLICATION}-staging: {version(execution)} FAILED"
    assert "was rolled back" in told(world, DEPLOYMENTS, failed)
    told(world, TEAM, '"stage": "Staging"')
    assert not world.cloud.receiver.told(CHIEF)


def test_inside_the_window_a_failed_smoke_test_in_production_rolls_back(world, pipeline, base):
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
    assert (
        "Approved by the pipeline. The release window is open"
        in execution.actions["Release", "Approve"]["summary"]
    )
    assert stages["Production"] == "Failed"
    assert world.runs("staging") == version(execution)
    assert world.runs("prod") == base
    failed = f"{APPLICATION}-prod: {version(execution)} FAILED"
    for path in (DEPLOYMENTS, TEAM, CHIEF):
        assert "was rolled back" in told(world, path, failed)
    told(world, CHANNEL, '"stage": "Production"')
