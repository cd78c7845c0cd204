"""A version: its label, its image, its bundle, and each way in which a build can fail."""

import base64
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.delivery import image
from tests.support.aws import APPLICATION, REGISTRY, bundles, digest, seal
from tests.support.checkout import git

LABEL = r"[0-9a-f]{12}-7"


def test_a_build_publishes_image_bundle_and_version(aws, fresh, programs, project, command):
    code, output = command("build")
    assert code == 0, output
    label = output.splitlines()[-1]
    assert re.fullmatch(LABEL, label)
    assert list(aws.versions) == [label]
    assert (project / "dist/version").read_text() == f"{label}\n"
    bundle = (project / "dist/bundle.zip").read_bytes()
    assert aws.bundles[f"{APPLICATION}/{label}.zip"]["content"] == bundle
    name = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{APPLICATION}:{label}"
    assert programs.calls("docker build") == [
        f"docker build --load --platform linux/amd64 --build-arg APP_VERSION={label} --tag {name} ."
    ]
    assert programs.calls("docker push") == [f"docker push --quiet {name}"]


def test_the_password_of_the_registry_is_never_shown(fresh, programs, command):
    """But in a file, as docker reads it, which is there only while it is needed."""
    found = []

    def look():
        _, env = programs.called[-1]
        found.append(Path(env["DOCKER_CONFIG"], "config.json"))
        found.append(json.loads(found[0].read_text()))

    programs.effects["docker push"] = look
    _, output = command("build")
    path, content = found
    token = base64.b64encode(b"AWS:a-token").decode()
    assert content == {"auths": {REGISTRY: {"auth": token}}}
    assert not path.parent.exists()
    for secret in ("a-token", token):
        assert secret not in output + "".join(programs.calls())


def test_the_bases_of_the_image_can_come_from_another_registry(
    fresh, programs, command, monkeypatch
):
    monkeypatch.setenv("BASES", "mirror.example.com/library/")
    command("build")
    assert programs.calls("docker build .* --build-arg BASES=mirror.example.com/library/ ")


def test_the_newest_base_image_is_pulled_on_request(fresh, programs, command, monkeypatch):
    monkeypatch.setenv("BUILD_NUMBER", "1")
    command("build")
    assert not programs.calls("docker build .*--pull")
    monkeypatch.setenv("BUILD_NUMBER", "2")
    monkeypatch.setenv("PULL", "true")
    command("build")
    assert programs.calls("docker build --load --pull ")
    for name in ("build", "image"):
        buildspec = yaml.safe_load(Path(f"devops/buildspecs/{name}.yml").read_text())
        assert buildspec["env"]["variables"]["PULL"] == "true"


def test_uncommitted_files_are_refused_or_named_in_the_label(
    fresh, project, programs, command, fails
):
    (project / "new.txt").write_text("x")
    output = fails("build")
    assert "these files are not committed" in output
    assert "?? new.txt" in output
    assert not programs.calls()
    code, output = command("build", "--allow-dirty")
    assert code == 0
    assert output.endswith("-7-dirty\n")


def test_an_image_of_uncommitted_files_is_not_reused(aws, fresh, project, fails):
    (project / "new.txt").write_text("x")
    aws.images[f"{git(project, 'rev-parse', '--short=12', 'HEAD')}-7-dirty"] = digest("x")
    output = fails("build", "--allow-dirty")
    assert "of files that were not committed" in output


@pytest.mark.parametrize("command_", ["git rev-parse", "git status", "git log"])
def test_a_failing_git_is_not_an_empty_result(aws, fresh, programs, fails, command_):
    """For example in a folder that belongs to another user: "detected dubious ownership"."""
    programs.codes[command_] = 128
    output = fails("build")
    assert f"`{command_}" in output
    assert "failed: refused" in output
    assert not aws.versions
    assert command_ == "git log" or not programs.calls("docker")


@pytest.mark.parametrize(
    ("subject", "description"),
    [
        (b"-fix", "-fix"),
        (b"--label=other", "--label=other"),
        (b"-7 and $(touch x) `y` 'z'", "-7 and $(touch x) `y` 'z'"),
        (("ä" * 300).encode(), "ä" * 119),
        ("\N{BIRTHDAY CAKE}".encode() * 201, "\N{BIRTHDAY CAKE}" * 119),
        (b"cut within a letter \xc3", "cut within a letter \N{LATIN CAPITAL LETTER A WITH TILDE}"),
        (b"a bell \x07 and \x1b[31m colours", "a bell  and [31m colours"),
    ],
)
def test_any_commit_subject_is_accepted(aws, fresh, project, command, subject, description):
    tree = git(project, "write-tree")
    made = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=owner@example.com", "commit-tree", tree],
        cwd=project,
        input=subject,
        capture_output=True,
        check=True,
    )
    git(project, "reset", "--quiet", "--hard", made.stdout.decode().strip())
    code, output = command("build")
    assert code == 0, output
    [described] = aws.descriptions.values()
    assert described == f"{description} {seal((project / 'dist/bundle.zip').read_bytes())}"


@pytest.mark.parametrize(
    ("breaks", "what", "never"),
    [
        ("docker build", "the image cannot be built", "docker push"),
        ("docker push", "the image cannot be pushed", "nothing"),
    ],
)
def test_a_failing_program_ends_the_build(
    aws, fresh, programs, project, fails, breaks, what, never
):
    programs.codes[breaks] = 1
    output = fails("build")
    assert what in output
    assert not programs.calls(never)
    assert not aws.versions
    assert not (project / "dist/version").exists()


@pytest.mark.parametrize(
    ("action", "code", "cure"),
    [
        ("s3:PutObject", "AccessDenied", "grant it to these credentials, or use others"),
        (
            "elasticbeanstalk:CreateApplicationVersion",
            "TooManyApplicationVersionsException",
            "scripts/build_and_deploy.sh versions prune",
        ),
    ],
)
def test_a_refused_version_says_how_to_continue(aws, fresh, project, fails, action, code, cure):
    aws.fail(action, code, when=lambda asked: "Key" not in asked or asked["Key"].endswith(".zip"))
    output = fails("build")
    assert f"next: {cure}; then run it again with BUILD_NUMBER=7: the published image is" in output
    assert "is published, no version was created" in output
    assert not (project / "dist/version").exists()


def test_an_image_that_is_missing_after_the_push_is_a_failure(aws, fresh, programs, fails):
    programs.results["docker push"] = lambda: None
    assert "does not have the image" in fails("build")
    assert not aws.versions


def test_an_interrupted_build_is_continued(aws, fresh, programs, command):
    """With the bundle that it has stored already."""
    aws.fail("elasticbeanstalk:CreateApplicationVersion", None, times=1)
    assert command("build")[0] == 1
    programs.called.clear()
    code, output = command("build")
    assert code == 0, output
    assert "was published by an interrupted run: using it" in output
    assert not programs.calls("docker (build|push)")


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_lost_response_to_creating_the_version(aws, fresh, command, is_ours):
    """The client tries again, and finds a version of that label."""
    create = aws.elasticbeanstalk_create_application_version

    def twice(**asked):
        create(**asked)
        if not is_ours:
            aws.descriptions[asked["VersionLabel"]] = "Another"
        create(**asked)

    aws.elasticbeanstalk_create_application_version = twice
    code, output = command("build")
    assert code == (not is_ours)
    assert is_ours or "already exists" in output


def test_a_bundle_is_never_replaced(aws, fresh, project, fails):
    key = f"{APPLICATION}/{git(project, 'rev-parse', '--short=12', 'HEAD')}-7.zip"
    aws.s3_put_object(bundles(), key, b"somebody else's")
    output = fails("build")
    assert f"s3://{bundles()}/{key} exists, and is not the bundle of this version" in output
    assert aws.bundles[key]["content"] == b"somebody else's"
    assert not aws.versions


def test_a_version_is_never_built_twice(fresh, programs, command, fails):
    command("build")
    programs.called.clear()
    output = fails("build")
    assert "exists, and is never replaced" in output
    assert not programs.calls()


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", None])
@pytest.mark.parametrize(
    "action",
    [
        "ecr:DescribeRepositories",
        "ecr:DescribeImages",
        "elasticbeanstalk:DescribeApplicationVersions",
        "ecr:GetAuthorizationToken",
    ],
)
def test_a_query_without_a_response_is_a_failure(aws, fresh, programs, fails, action, code):
    aws.fail(action, code)
    output = fails("build")
    assert action in output
    assert not programs.calls("docker push")


def test_a_missing_repository_is_a_failure(aws, fresh, programs, fails):
    aws.fail("ecr:DescribeRepositories", "RepositoryNotFoundException")
    output = fails("build")
    assert "there is no repository for images yet" in output
    assert "create staging" in output
    assert not programs.calls()


@pytest.mark.parametrize("tool", ["docker", "git"])
def test_a_missing_program_is_a_failure(fresh, programs, fails, tool):
    programs.missing = {tool}
    assert f"'{tool}' is not installed" in fails("build")
    assert not programs.calls()


@pytest.mark.parametrize("number", ["a b", "x/y", "a" * 41, "é"])
def test_an_invalid_build_number_is_refused(fresh, programs, fails, monkeypatch, number):
    monkeypatch.setenv("BUILD_NUMBER", number)
    assert "cannot be part of a version" in fails("build")
    assert not programs.calls()


def test_the_default_build_number_is_the_time(fresh, command, monkeypatch):
    monkeypatch.delenv("BUILD_NUMBER")
    assert re.search(r"-20\d{12}\n$", command("build")[1])
    monkeypatch.setenv("CODEBUILD_BUILD_NUMBER", "12")
    assert command("build")[1].endswith("-12\n")


def test_a_dry_run_builds_nothing(aws, fresh, programs, project, command):
    code, output = command("build", "--dry-run")
    assert code == 0
    assert "+ docker build" in output
    assert f"+ aws s3api put-object --bucket {bundles()} " in output
    assert "+ aws elasticbeanstalk create-application-version " in output
    assert not programs.calls()
    assert not aws.versions
    assert not aws.objects
    assert not (project / "dist").exists()


@pytest.mark.parametrize("kind", image.INDEXES)
def test_an_image_that_is_an_index_is_refused_at_once(aws, fresh, programs, fails, clock, kind):
    """ECR does not scan it, so nobody must wait for the result. No attestation makes it one here."""
    aws.media_type = kind
    assert "is an index, which ECR does not scan" in fails("build")
    assert not aws.asked("ecr:DescribeImageScanFindings")
    assert not aws.versions
    assert clock.at == 0
    [env] = [env for line, env in programs.called if "docker build" in line]
    assert env["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
