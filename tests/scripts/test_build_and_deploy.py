"""Each way in which the deploy script can fail, with stand-ins for the commands that it uses."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from scripts import install

STUB = f"""#!{sys.executable}
import json, os, pathlib, re, sys
folder = pathlib.Path(os.environ["STUBS"])
line = " ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]])
if "scripts.smoke" in line:
    line += " with the key " + (os.environ.get("SMOKE_KEY") or "-")
if re.search("--password-stdin|python3 -c|environments options", line):
    sys.stdin.read()  # as these do; who writes to one that has ended dies of it
with (folder / "calls").open("a") as calls:
    calls.write(line + "\\n")
for when, code, out, err in json.loads((folder / "rules").read_text()):
    if re.search(when, line):
        sys.stdout.write(out)
        sys.stderr.write(err)
        sys.exit(code)
"""
LABEL = r"[0-9a-f]{12}-7"
DIGEST = "sha256:" + "a" * 64
NAME = "birthday-greetings-staging"


def ready(version="old", health="Green\tOk", status="Ready"):
    return f"{status}\t{version}\t{health}\texample.eu-west-1.elasticbeanstalk.com\n"


# A world in which all goes well, from which each test differs
WORLD = {
    "describe-environments": (0, ready("new"), ""),
    "describe-instances-health": (0, "new\tnew\n", ""),
    "describe-application-versions.*--version-labels (?P<label>.*) --query": (0, "None\n", ""),
    "describe-application-versions": (0, "older old\n", ""),
    "describe-repositories": (0, "host/birthday-greetings\n", ""),
    "describe-images": (0, f"{DIGEST}\n", ""),
    "describe-stacks": (0, "\n", ""),
    "get-secret-value": (0, '{"user": "smoke test", "key": "K3y"}\n', ""),
    "create-storage-location": (0, "bucket\n", ""),
    "get-login-password": (0, "secret\n", ""),
    "describe-events": (0, "", ""),
    "list-objects": (0, "", ""),
}


class Desk:
    """A copy of the project's scripts, with commands that answer as they are told."""

    def __init__(self, folder):
        self.folder, self.stubs = folder / "project", folder / "stubs"
        self.stubs.mkdir()
        shutil.copytree("scripts", self.folder / "scripts")
        shutil.copytree(".elasticbeanstalk", self.folder / ".elasticbeanstalk")
        shutil.copytree("devops", self.folder / "devops")
        (self.folder / ".gitignore").write_text("dist\n__pycache__\n")
        for name in ("aws", "eb", "docker", "make", "python3"):
            (self.stubs / name).write_text(STUB)
            install.repair(self.stubs / name)  # whose interpreter may be in a folder with blanks
            (self.stubs / name).chmod(0o755)
        self.rules = dict(WORLD)
        self.git("init", "--quiet")
        self.git("config", "user.name", "Somebody")
        self.git("config", "user.email", "owner@example.com")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Something")

    def git(self, *arguments):
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)

    def run(self, *arguments, **env):
        """Exit code and all output of the script."""
        return self._run(["scripts/build_and_deploy.sh", *arguments], env)

    def fails(self, *arguments, **env):
        """The output of the script, which ends with exit code 1 and says what to do."""
        code, output = self.run(*arguments, **env)
        assert code == 1, output
        assert "  next: " in output
        return output

    def source(self, command, **env):
        """The same of a command after the script was read, which does nothing by itself."""
        text = f"source scripts/build_and_deploy.sh; prepare; {command}"
        return self._run(["bash", "-c", text], env)

    def calls(self, pattern=""):
        path = self.stubs / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if re.search(pattern, line)]

    def _run(self, command, env):
        rules = [[when, *answer] for when, answer in self.rules.items()]
        (self.stubs / "rules").write_text(json.dumps(rules))
        ended = subprocess.run(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={
                "PATH": f"{self.stubs}:{os.environ['PATH']}", "HOME": str(self.folder),
                "STUBS": str(self.stubs), "POLL_SECONDS": "0.1", "HEALTH_TIMEOUT": "1",
                "BUILD_NUMBER": "7",
            } | env,
            timeout=60,
        )  # fmt: skip
        return ended.returncode, ended.stdout


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def first(rule, answer, rules):
    """``rules`` with one that is asked before the others."""
    return {rule: answer} | {when: value for when, value in rules.items() if when != rule}


def exists(desk, *labels):
    """Let versions be known."""
    for label in labels:
        rule = f"describe-application-versions.*--version-labels {label} "
        desk.rules = first(rule, (0, f"{label}\n", ""), desk.rules)


# --- Usage ------------------------------------------------------------------------------------


def test_help_is_the_header(desk):
    code, output = desk.run("--help")
    assert code == 0
    assert output.startswith("Build the image once")
    assert "rollback ENV" in output
    assert "set -euo" not in output


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["bild"], "no command bild"),
        (["--force"], "no option --force"),
        (["deploy"], "deploy needs an environment"),
        (["build", "staging"], "takes no environment"),
        (["deploy", "staging", "prod"], "too many words"),
        (["deploy", "staging", "--version"], "--version needs a version"),
    ],
)
def test_wrong_usage(desk, arguments, what):
    code, output = desk.run(*arguments)
    assert code == 2
    assert what in output
    assert not desk.calls()


@pytest.mark.parametrize("name", ["DEPLOY_TIMEOUT", "POLL_SECONDS", "HEALTH_TIMEOUT"])
def test_wrong_numbers(desk, name):
    code, output = desk.run("status", **{name: "soon"})
    assert code == 2
    assert f"{name} 'soon'" in output


def test_a_tool_that_is_missing(desk):
    (desk.stubs / "eb").unlink()
    path = f"{desk.stubs}:/usr/bin:/bin"
    output = desk.fails("build", PATH=path)
    assert "there is no 'eb' command" in output
    assert "make .venv/installed" in output


# --- Build ------------------------------------------------------------------------------------


def published(desk):
    """Let the image be known only after the push, and the version after it was created."""
    desk.rules = first("describe-images", (255, "", "ImageNotFoundException"), desk.rules)


def test_a_tree_that_is_not_committed(desk):
    (desk.folder / "scripts/new.txt").write_text("x")
    output = desk.fails("build")
    assert "?? scripts/new.txt" in output
    assert not desk.calls("docker|eb ")


def test_a_tree_that_is_not_committed_if_that_is_allowed(desk):
    (desk.folder / "scripts/new.txt").write_text("x")
    desk.rules = first("docker build", (1, "", "no space left"), desk.rules)
    published(desk)
    output = desk.fails("build", "--allow-dirty")
    assert re.search(f"APP_VERSION={LABEL}-dirty", output)


def test_no_repository(desk):
    desk.rules["describe-repositories"] = (255, "", "RepositoryNotFoundException")
    output = desk.fails("build")
    assert "create staging" in output
    assert not desk.calls("docker build")


def test_a_build_that_fails(desk):
    published(desk)
    desk.rules = first("docker build", (1, "", "no space left"), desk.rules)
    output = desk.fails("build")
    assert "the image cannot be built" in output
    assert not desk.calls("docker push|eb ")


def test_a_login_that_is_refused(desk):
    published(desk)
    desk.rules = first("docker login", (1, "", "unauthorized"), desk.rules)
    output = desk.fails("build")
    assert "unauthorized" in output
    assert "the registry host refuses the login" in output
    assert "secret" not in output
    assert not desk.calls("docker push|eb ")


def test_a_push_that_fails(desk):
    published(desk)
    desk.rules = first("docker push", (1, "", "connection reset"), desk.rules)
    output = desk.fails("build")
    assert "the image cannot be pushed" in output
    assert not desk.calls("eb ")


def test_an_image_that_is_not_there_after_the_push(desk):
    published(desk)
    output = desk.fails("build")
    assert "does not have the image" in output
    assert not desk.calls("eb ")


def test_eb_says_nothing_is_wrong_but_there_is_no_version(desk):
    output = desk.fails("build")
    assert "eb says nothing is wrong, but there is no version" in output
    assert not (desk.folder / "dist/version").exists()


def test_aws_does_not_answer(desk):
    desk.rules = {"^aws": (255, "", "Could not connect to the endpoint URL")}
    output = desk.fails("status")
    assert "AWS does not say what runs where" in output
    output = desk.fails("deploy", "staging", "--version", "new")
    assert "Could not connect" in output
    assert not desk.calls("eb deploy")


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("describe-application-versions", "AWS does not say whether version"),
        ("scripts.bundle", "the bundle cannot be made"),
        ("eb appversion", "cannot be created"),
    ],
)
def test_what_keeps_a_version_from_being_published(desk, rule, what):
    desk.rules = first(rule, (1, "", "no"), desk.rules)
    output = desk.fails("build")
    assert what in output
    assert not (desk.folder / "dist/version").exists()


def test_a_version_is_never_built_twice(desk):
    desk.rules = first("describe-application-versions", (0, "LABEL\n", ""), desk.rules)
    code, output = desk.source("new_label() { echo LABEL; }; build")
    assert code == 1
    assert "version LABEL exists, and is never replaced" in output
    assert not desk.calls("docker|eb ")


def test_an_image_of_files_that_were_not_committed_is_not_used_again(desk):
    (desk.folder / "scripts/new.txt").write_text("x")
    output = desk.fails("build", "--allow-dirty")
    assert "of files that were not committed" in output
    assert not desk.calls("docker push|eb ")


# --- Deploy -----------------------------------------------------------------------------------


def test_a_deployment(desk):
    exists(desk, "new")
    code, output = desk.run("deploy", "staging", "--version", "new")
    assert code == 0, output
    assert f"{NAME} runs new" in output
    assert desk.calls(f"eb deploy {NAME} --version new --timeout 40 --region eu-west-1")
    url = "http://example.eu-west-1.elasticbeanstalk.com"
    assert desk.calls(f"python3 -m scripts.smoke {url} new with the key K3y$")
    assert not desk.calls("K3y.*scripts")  # it is on no command line
    assert desk.calls(f"put-object.*deployments/{NAME}/.* deploy new")
    assert desk.calls(f"s3 rm.*locks/{NAME}")


def test_the_public_name_is_smoke_tested_if_there_is_one(desk):
    exists(desk, "new")
    desk.rules["describe-stacks"] = (0, "hello.example.com\n", "")
    code, output = desk.run("deploy", "staging", "--version", "new")
    assert code == 0, output
    assert desk.calls("scripts.smoke https://hello.example.com new")


@pytest.mark.parametrize(
    ("rule", "answer", "what"),
    [
        ("describe-environments", (0, "None\n", ""), "create staging"),
        ("describe-environments", (0, ready(status="Terminating"), ""), "being terminated"),
        ("describe-images", (255, "", "ImageNotFoundException"), "is gone from the registry"),
        ("describe-images", (255, "", "AccessDenied"), "does not say whether there is an image"),
        ("create-storage-location", (255, "", "AccessDenied"), "does not name Beanstalk's bucket"),
        ("put-object.*locks", (255, "", "AccessDenied"), "cannot be taken"),
        ("put-object.*locks", (255, "", "PreconditionFailed"), "another run is at work"),
    ],
)
def test_what_keeps_a_deployment_from_beginning(desk, rule, answer, what):
    exists(desk, "new")
    desk.rules = first(rule, answer, desk.rules)
    output = desk.fails("deploy", "staging", "--version", "new", **holder(desk))
    assert what in output
    assert not desk.calls("eb deploy")


def holder(desk):
    """Let `aws s3 cp` bring what another run has left."""
    script = desk.stubs / "aws"
    text = script.read_text()
    script.write_text(
        text + '\nif "s3 cp" in line:\n    pathlib.Path(sys.argv[-1]).write_text("somebody@else")\n'
    )
    return {}


def test_a_version_that_is_not_there(desk):
    output = desk.fails("deploy", "staging", "--version", "new")
    assert "there is no version new" in output
    assert "older old" in output


def test_nothing_was_built_here(desk):
    output = desk.fails("deploy", "staging")
    assert "no version was built here" in output
    assert not desk.calls("eb deploy")


@pytest.mark.parametrize(
    ("environment", "instances"),
    [
        (ready("old"), "old\told\n"),  # eb said 0, and nothing was deployed
        (ready("new"), "new\told\n"),  # one instance was left behind
        (ready("new", "Red\tSevere"), "new\tnew\n"),
        (ready("new", "Green\tWarning"), "new\tnew\n"),
        (ready("new"), ""),  # nobody knows what the instances run
    ],
)
def test_eb_succeeds_and_the_environment_is_not_as_it_should_be(desk, environment, instances):
    exists(desk, "new", "old")
    desk.rules |= {
        "describe-environments": (0, environment, ""),
        "describe-instances-health": (0, instances, ""),
    }
    output = desk.fails("deploy", "staging", "--version", "new")
    assert "eb deploy ended" not in output
    assert "FAILED" in output
    assert not desk.calls("put-object.*deploy new")
    assert desk.calls(f"s3 rm.*locks/{NAME}")


def test_a_failure_that_left_everything_as_it_was_needs_no_way_back(desk):
    exists(desk, "new")
    desk.rules |= {
        "describe-environments": (0, ready("old"), ""),
        "describe-instances-health": (0, "old\told\n", ""),
        "eb deploy": (4, "", "ServiceError"),
    }
    output = desk.fails("deploy", "staging", "--version", "new")
    assert "eb deploy ended with exit code 4" in output
    assert "all instances of birthday-greetings-staging still run old, and serve" in output
    assert len(desk.calls("eb deploy")) == 1


def test_the_way_back_fails_too(desk):
    exists(desk, "new", "old")
    desk.rules |= {
        "describe-environments": (0, ready("old", "Red\tSevere"), ""),
        "describe-instances-health": (0, "new\told\n", ""),
        "eb deploy": (4, "", "ServiceError"),
    }
    output = desk.fails("deploy", "staging", "--version", "new")
    assert "going back to old failed too" in output
    assert "Red/Severe, its instances at: new, old" in output
    assert len(desk.calls("eb deploy")) == 2


def test_a_failed_smoke_test_of_the_version_that_was_there_before(desk):
    exists(desk, "new")
    desk.rules = first("scripts.smoke", (1, "", "smoke: FAILED"), desk.rules)
    output = desk.fails("deploy", "staging", "--version", "new")
    assert "it was deployed before" in output
    assert "rollback staging" in output
    assert len(desk.calls("eb deploy")) == 1


def test_production_is_not_touched_when_staging_failed(desk):
    exists(desk, "new")
    desk.rules = first("eb deploy", (4, "", "ServiceError"), desk.rules)
    desk.rules["describe-instances-health"] = (0, "old\n", "")
    desk.rules["describe-environments"] = (0, ready("old"), "")
    code, output = desk.source("build() { built=new; }; everything")
    assert code == 1, output
    assert desk.calls("make check")
    assert not desk.calls("birthday-greetings-prod")


def test_checks_that_do_not_pass(desk):
    desk.rules = first("make check", (2, "", "ruff: no"), desk.rules)
    output = desk.fails()
    assert "the checks do not pass" in output
    assert not desk.calls("docker|eb |aws")


def test_an_environment_that_never_is_ready(desk):
    desk.rules["describe-environments"] = (0, ready(status="Updating"), "")
    code, output = desk.source(f"minutes=0; wait_until_ready {NAME}")
    assert code == 1
    assert "still Updating after 0 minutes" in output
    assert "abort-environment-update" in output


@pytest.mark.parametrize(
    "command", [("deploy", "staging", "--version", "new"), ("smoke", "staging")]
)
@pytest.mark.parametrize(
    "answer", [(255, "", "AccessDenied"), (0, "None\n", ""), (0, '{"user": "x"}\n', "")]
)
def test_the_key_of_the_smoke_test_is_needed_before_anything_is_done(desk, command, answer):
    exists(desk, "new")
    desk.rules = first("get-secret-value", answer, desk.rules)
    output = desk.fails(*command)
    assert "the key of the smoke test of birthday-greetings-staging cannot be read" in output
    assert "create staging" in output
    assert not desk.calls("^eb deploy|put-object|scripts.smoke")


def test_a_smoke_test_by_itself(desk):
    assert desk.run("smoke", "http://127.0.0.1:8000")[0] == 0
    assert desk.calls("scripts.smoke http://127.0.0.1:8000 with the key -$")
    desk.rules = first("scripts.smoke", (1, "", "smoke: FAILED"), desk.rules)
    output = desk.fails("smoke", "staging")
    assert "the smoke test of staging failed" in output
    assert "nothing was changed" in output


def test_a_lock_that_cannot_be_given_back_is_no_failure_and_no_secret(desk):
    exists(desk, "new")
    desk.rules = first("s3 rm", (255, "", "AccessDenied"), desk.rules)
    code, output = desk.run("deploy", "staging", "--version", "new")
    assert code == 0
    assert f"Do it: aws s3 rm s3://bucket/locks/{NAME}" in output


def test_that_aws_is_silent_once_does_not_keep_from_going_back(desk):
    describe = f"""describe() {{
        echo asked >>"$STUBS/asked"
        [ "$(wc -l <"$STUBS/asked")" -gt 2 ] && echo '{ready("old").strip()}'
    }}"""
    code, output = desk.source(f"{describe}; settle {NAME}", HEALTH_TIMEOUT="30")
    assert code == 0, output
    assert "FAILED" not in output


def test_everybody_is_told_the_truth_when_aws_is_silent_after_a_failure(desk, topic):
    desk.rules["eb deploy"] = (4, "", "ServiceError")
    silent = 'describe() { [ ! -e "$STUBS/silent" ] && echo "$old"; }'
    deploy = "update() { touch $STUBS/silent; return 1; }; deploy staging new"
    code, output = desk.source(f"old='{ready('old').strip()}'; {silent}; {deploy}")
    assert code == 1
    assert f"AWS does not say how {NAME} is" in output
    [text] = told(desk)
    assert f"result: FAILED: AWS does not say how {NAME} is" in text


def test_without_an_address_nothing_is_smoke_tested(desk):
    desk.rules["describe-environments"] = (255, "", "AccessDenied")
    output = desk.fails("smoke", "staging")
    assert "the smoke test of staging failed" in output
    assert not desk.calls("scripts.smoke")


# --- Rollback ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "current", "before"),
    [
        (["deploy a", "deploy b"], "b", "a"),
        (["deploy a", "deploy b", "deploy c"], "b", "a"),
        (["deploy a", "deploy b", "deploy c", "rollback b"], "b", "a"),
        (["deploy a", "deploy b", "rollback a", "deploy c"], "c", "a"),
        (["deploy a", "deploy b", "deploy b"], "b", "a"),
        (["deploy a"], "a", ""),
        ([], "a", ""),
        (["deploy a", "deploy b"], "z", ""),
    ],
)
def test_the_version_before(desk, log, current, before):
    keys = [
        f"deployments/{NAME}/20260101T0000{number:02}Z {entry}" for number, entry in enumerate(log)
    ]
    desk.rules["list-objects"] = (0, "".join(f"{key}\n" for key in keys) or "None\n", "")
    code, output = desk.source(f"bucket=b; version_before {NAME} {current}")
    assert code == 0
    assert output.strip() == before


def test_what_was_deployed_by_other_means_is_put_into_the_log(desk):
    exists(desk, "new")
    desk.rules["list-objects"] = (0, f"deployments/{NAME}/20260101T000000Z deploy a\n", "")
    desk.rules["describe-environments"] = (0, ready("b"), "")
    desk.run("deploy", "staging", "--version", "new")
    assert desk.calls(f"put-object.*deployments/{NAME}/.* deploy b")


def test_what_the_log_knows_is_not_put_into_it_again(desk):
    exists(desk, "new")
    desk.rules["list-objects"] = (0, f"deployments/{NAME}/20260101T000000Z deploy b\n", "")
    desk.rules["describe-environments"] = (0, ready("b"), "")
    desk.run("deploy", "staging", "--version", "new")
    assert not desk.calls("put-object.* deploy b")


def test_a_rollback_without_a_version_before(desk):
    output = desk.fails("rollback", "staging")
    assert f"the log knows no version of {NAME} before new" in output
    assert not desk.calls("eb deploy")


# --- Report and order -------------------------------------------------------------------------


def told(desk):
    """What was said to everybody: the title's end, and the words of the result."""
    return [line.partition("scripts.message ")[2] for line in desk.calls("scripts.message")]


@pytest.fixture
def topic(desk):
    desk.rules = first("describe-stacks.*DeploymentsTopic", (0, "arn:topic\n", ""), desk.rules)
    exists(desk, "new")


def test_everybody_is_told_of_a_deployment(desk, topic):
    desk.rules["get-caller-identity"] = (0, "arn:aws:iam::123456789012:user/somebody\n", "")
    code, output = desk.run("deploy", "staging", "--version", "new")
    assert code == 0, output
    [text] = told(desk)
    assert text.startswith(
        f"{NAME}: new succeeded version: new environment: {NAME} who: arn:aws:iam"
    )
    assert "result: succeeded duration: 0 min" in text
    assert "link: https://eu-west-1.console.aws.amazon.com/elasticbeanstalk" in text
    [sent] = desk.calls("sns publish")
    assert "--topic-arn arn:topic" in sent
    assert '"StringValue": "false"' in sent


def test_a_pipeline_says_that_it_was_it(desk, topic):
    desk.run(
        "deploy", "staging", "--version", "new",
        CODEBUILD_INITIATOR="codepipeline/birthday-greetings", CODEBUILD_BUILD_URL="https://build",
    )  # fmt: skip
    [text] = told(desk)
    assert "who: codepipeline/birthday-greetings" in text
    assert "link: https://build" in text


@pytest.mark.parametrize(("environment", "urgent"), [("staging", "false"), ("prod", "true")])
def test_everybody_is_told_of_a_failure_and_the_escalation_of_one_in_production(
    desk, topic, environment, urgent
):
    desk.rules["eb deploy"] = (4, "", "")
    code, _ = desk.run("deploy", environment, "--version", "new")
    assert code == 1
    [text] = told(desk)
    assert "new FAILED" in text
    assert "result: FAILED: version new" in text
    [sent] = desk.calls("sns publish")
    assert f'"StringValue": "{urgent}"' in sent


def test_a_refusal_before_anything_was_changed_is_not_told(desk, topic):
    code, _ = desk.run("deploy", "staging", "--version", "unknown")
    assert code == 1
    assert not told(desk)


def test_that_nobody_can_be_told_is_no_failure(desk, topic):
    desk.rules["sns publish"] = (255, "", "AccessDenied")
    code, output = desk.run("deploy", "staging", "--version", "new")
    assert code == 0
    assert "Nobody was told of this deployment" in output


def test_without_a_topic_nobody_is_told(desk):
    exists(desk, "new")
    code, output = desk.run("deploy", "staging", "--version", "new")
    assert code == 0
    assert "Nobody was told of this deployment" in output
    assert not desk.calls("sns publish")


def commits(desk, number):
    """Labels of some commits, the oldest first."""
    found = []
    for _ in range(number):
        desk.git("commit", "--quiet", "--allow-empty", "--message", "Next")
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=desk.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(f"{head.stdout.strip()}-1")
    return found


def test_forward_deploys_what_is_newer(desk):
    old, new = commits(desk, 2)
    exists(desk, old, new)
    desk.rules["describe-environments"] = (0, ready(old), "")
    desk.run("deploy", "staging", "--version", new, "--forward")
    assert desk.calls(f"eb deploy {NAME} --version {new}")


def test_forward_refuses_what_is_older(desk):
    old, new = commits(desk, 2)
    exists(desk, old, new)
    desk.rules["describe-environments"] = (0, ready(new), "")
    output = desk.fails("deploy", "staging", "--version", old, "--forward")
    assert f"{NAME} runs {new}, which is not older than {old}" in output
    assert not desk.calls("eb deploy")
    assert desk.calls(f"s3 rm.*locks/{NAME}")


def test_forward_refuses_what_git_does_not_know(desk):
    [new] = commits(desk, 1)
    exists(desk, new)
    desk.rules["describe-environments"] = (0, ready("0123456789ab-1"), "")
    output = desk.fails("deploy", "staging", "--version", new, "--forward")
    assert "git cannot tell whether 0123456789ab-1 is older" in output
    assert not desk.calls("eb deploy")


# --- Create -----------------------------------------------------------------------------------


@pytest.fixture
def nothing_yet(desk):
    """There is no environment until one was created."""
    exists(desk, "new")
    script = desk.stubs / "aws"
    script.write_text(
        script.read_text().replace(
            "for when",
            "made = (folder / 'calls').read_text().count('create-environment')\n"
            "if 'describe-environments' in line and not made:\n"
            "    sys.exit(print('None'))\n"
            "for when",
        )
    )


def test_an_environment_from_nothing(desk, nothing_yet):
    desk.rules["list-available-solution-stacks"] = (0, "64bit X v1 running Docker\n", "")
    code, output = desk.run("create", "staging", "--version", "new")
    assert code == 0, output
    assert len(desk.calls("cloudformation deploy")) == 2
    [made] = desk.calls("create-environment")
    assert f"--environment-name {NAME} --version-label new" in made
    assert "--solution-stack-name 64bit X v1 running Docker" in made
    assert desk.calls(f"put-object.*deployments/{NAME}/.* deploy new")
    assert desk.calls(f"s3 rm.*locks/{NAME}")


def test_an_environment_that_is_there_gets_its_settings(desk):
    code, output = desk.run("create", "staging")
    assert code == 0, output
    [changed] = desk.calls("update-environment")
    assert "--option-settings" in changed
    assert "--version-label" not in changed
    assert not desk.calls("create-environment|docker|eb ")


def test_an_environment_whose_creation_failed_half_way_gets_a_version(desk):
    exists(desk, "new")
    desk.rules["describe-environments"] = (0, ready("None", "Red\tSevere"), "")
    code, output = desk.run("create", "staging", "--version", "new")
    assert desk.calls("update-environment.*--version-label new")
    assert code == 1
    assert "is there, but does not serve as it should" in output
    assert f"eb terminate {NAME}" in output
    assert desk.calls(f"s3 rm.*locks/{NAME}")


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("cloudformation deploy", f"the stack {NAME.removesuffix('staging')}foundation cannot be"),
        ("create-application", "the application cannot be created"),
        ("scripts.environments options", f"the options of {NAME} are not known"),
        ("put-object.*locks", f"the lock of {NAME} cannot be taken"),
        ("create-environment", f"the environment {NAME} cannot be created"),
    ],
)
def test_what_keeps_an_environment_from_being_made(desk, nothing_yet, rule, what):
    desk.rules = first(rule, (255, "", "AccessDenied"), desk.rules)
    output = desk.fails("create", "staging", "--version", "new")
    assert what in output


def test_settings_that_aws_refuses(desk):
    desk.rules["update-environment"] = (255, "", "InvalidParameterValue")
    output = desk.fails("create", "staging")
    assert f"the settings of {NAME} cannot be changed" in output
    assert "it is as it was" in output


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((0, "The environment was reverted\n", ""), f"{NAME} did not take what was set"),
        ((255, "", "AccessDenied"), f"AWS does not say how {NAME} is"),
    ],
)
def test_settings_that_aws_takes_and_takes_back(desk, answer, what):
    """The environment is Ready and healthy afterwards, with the settings that it had."""
    desk.rules = first("describe-events.*--severity ERROR", answer, desk.rules)
    output = desk.fails("create", "staging")
    assert what in output
    assert not desk.calls("put-object.*deployments")
    assert desk.calls(f"s3 rm.*locks/{NAME}")


def test_a_stack_whose_first_try_failed_is_made_anew(desk):
    desk.rules = first("describe-stacks.*StackStatus", (0, "ROLLBACK_COMPLETE\n", ""), desk.rules)
    desk.source("stack some template.yml")
    assert [line.split()[2] for line in desk.calls("cloudformation")] == [
        "describe-stacks", "delete-stack", "wait", "deploy",
    ]  # fmt: skip


def test_a_stack_whose_first_try_cannot_be_removed(desk):
    desk.rules = first("describe-stacks.*StackStatus", (0, "ROLLBACK_COMPLETE\n", ""), desk.rules)
    desk.rules["cloudformation wait"] = (255, "", "Waiter failed")
    code, output = desk.source("stack some template.yml")
    assert code == 1
    assert "what the first try to make the stack some left cannot be removed" in output
    assert not desk.calls("cloudformation deploy")


def test_an_environment_of_which_aws_says_nothing_is_left_alone(desk):
    desk.rules["describe-environments"] = (255, "", "AccessDenied")
    output = desk.fails("create", "staging")
    assert f"AWS does not say how {NAME} is" in output
    assert not desk.calls("update-environment|create-environment")


def test_a_version_for_a_new_environment_that_is_not_there(desk, nothing_yet):
    output = desk.fails("create", "staging", "--version", "other")
    assert "there is no version other" in output
    assert not desk.calls("create-environment")


# --- The pipeline -----------------------------------------------------------------------------

PARAMETERS = "\n".join(["Repository=a/b", "SlackWorkspace=T1234567", "SlackChannel=C1", ""])


@pytest.fixture
def owned(desk):
    desk.rules |= {
        "scripts.owner parameters pipeline": (0, PARAMETERS, ""),
        "scripts.owner parameters foundation": (0, "OperationsEmail=a@b.test\n", ""),
        "describe-slack-workspaces": (0, "T1234567\n", ""),
        "get-connection": (0, "AVAILABLE\n", ""),
    }
    desk.rules = first("describe-stacks.*Connection'", (0, "arn:connection\n", ""), desk.rules)


def test_bootstrap_makes_the_foundation_and_the_pipeline(desk, owned):
    code, output = desk.run("bootstrap")
    assert code == 0, output
    foundation, pipeline = desk.calls("cloudformation deploy")
    assert "birthday-greetings-foundation" in foundation
    assert "OperationsEmail=a@b.test" in foundation
    assert "Connected=true Repository=a/b SlackWorkspace=T1234567" in pipeline
    assert "codepipeline/pipelines/birthday-greetings/view" in output


def test_the_first_bootstrap_asks_for_the_handshake(desk, owned):
    del desk.rules["describe-stacks.*Connection'"]
    code, output = desk.run("bootstrap")
    assert code == 0, output
    assert desk.calls("cloudformation deploy.*Connected=false")
    assert "there is no pipeline yet: complete the connection" in output


def test_a_connection_that_is_pending(desk, owned):
    desk.rules["get-connection"] = (0, "PENDING\n", "")
    code, output = desk.run("bootstrap")
    assert code == 0, output
    assert desk.calls("cloudformation deploy.*Connected=false")


@pytest.mark.parametrize("answer", [(0, "\n", ""), (255, "", "AccessDenied")])
def test_a_workspace_that_nobody_authorised_is_left_out(desk, owned, answer):
    desk.rules["describe-slack-workspaces"] = answer
    code, output = desk.run("bootstrap")
    assert code == 0, output
    assert "the workspace T1234567 is not authorised" in output
    assert desk.calls("cloudformation deploy.* SlackWorkspace= ")


@pytest.mark.parametrize("what", ["scripts.owner", "scripts.release_window"])
def test_bootstrap_refuses_files_that_make_no_sense(desk, owned, what):
    desk.rules = first(what, (1, "", "a mistake"), desk.rules)
    output = desk.fails("bootstrap")
    assert "nothing was changed" in output
    assert not desk.calls("cloudformation deploy")


def test_a_dry_run_of_bootstrap_shows_what_would_change_and_leaves_nothing(desk, owned):
    change_set = "arn:aws:cloudformation:x:1:changeSet/a/b"
    desk.rules |= {
        "cloudformation deploy": (0, f"Run: aws describe-change-set {change_set}\n", ""),
        "describe-change-set": (0, "Modify\tPipeline\tAWS::CodePipeline::Pipeline\tFalse\n", ""),
    }
    code, output = desk.run("--dry-run", "bootstrap")
    assert code == 0, output
    assert "birthday-greetings-pipeline would change:\nModify\tPipeline" in output
    assert len(desk.calls(f"delete-change-set --change-set-name {change_set}")) == 2
    assert all("--no-execute-changeset" in one for one in desk.calls("cloudformation deploy"))


def test_a_dry_run_of_the_first_bootstrap_removes_the_stack_that_it_made(desk, owned):
    desk.rules["cloudformation deploy"] = (0, "arn:aws:cloudformation:x:1:changeSet/a/b\n", "")
    desk.rules = first("describe-stacks", (255, "", "does not exist"), desk.rules)
    code, output = desk.run("--dry-run", "bootstrap")
    assert code == 0, output
    assert desk.calls("delete-stack --stack-name birthday-greetings-foundation")
    assert "can be seen once there is the foundation" in output


def test_a_dry_run_when_nothing_would_change(desk, owned):
    desk.rules["cloudformation deploy"] = (0, "No changes to deploy\n", "")
    code, output = desk.run("--dry-run", "bootstrap")
    assert code == 0, output
    assert output.count("nothing would change") == 2
    assert not desk.calls("delete-")


@pytest.mark.parametrize(
    ("rule", "arguments", "what"),
    [
        ("get-connection", ["bootstrap"], "AWS does not say how the connection arn:connection is"),
        ("cloudformation deploy", ["bootstrap"], "cannot be made"),
        ("cloudformation deploy", ["--dry-run", "bootstrap"], "cannot be found out"),
    ],
)
def test_what_keeps_bootstrap_from_ending(desk, owned, rule, arguments, what):
    desk.rules[rule] = (255, "", "AccessDenied")
    output = desk.fails(*arguments)
    assert what in output


def test_release_is_the_business_of_its_own_program(desk):
    code, _ = desk.run("release")
    assert code == 0
    assert desk.calls("python3 -m scripts.release birthday-greetings")
    desk.rules["scripts.release"] = (1, "", "")
    output = desk.fails("release")
    assert "what waits, waits" in output


# --- Dry run ----------------------------------------------------------------------------------


def test_a_dry_run_changes_nothing(desk):
    desk.rules["get-caller-identity"] = (0, "123456789012\n", "")
    bucket = "elasticbeanstalk-eu-west-1-123456789012"
    published(desk)
    code, output = desk.run("--dry-run")
    assert code == 0, output
    changing = "docker (build|push|login)|eb |make|put-object|s3 rm|sns publish|create-storage"
    assert not desk.calls(changing)
    for command in (
        "make check", "docker build", "docker push", "eb appversion", "eb deploy",
        f"aws s3api put-object --bucket {bucket} --key locks/", "aws s3 rm",
        f"aws s3api put-object --bucket {bucket} --key deployments/{NAME}/",
    ):  # fmt: skip
        assert f"+ {command}" in output
    assert "runs" not in output
    assert "is published" not in output


def test_a_dry_run_of_the_first_create_cannot_know_what_will_be_set(desk):
    desk.rules["describe-stacks"] = (255, "", "does not exist")
    code, output = desk.run("--dry-run", "create", "staging")
    assert code == 0, output
    assert output.count("+ aws cloudformation deploy") == 2
    assert "+ aws elasticbeanstalk create-application" in output
    assert "can be seen once there are the stacks" in output
    assert not desk.calls("cloudformation deploy|create-|docker|eb ")


@pytest.mark.parametrize("exists_already", [True, False])
def test_a_dry_run_of_create_shows_what_would_be_set(desk, exists_already):
    desk.rules["scripts.environments options"] = (0, '[{"OptionName": "MinSize"}]\n', "")
    desk.rules = first("describe-stacks.*'Vpc'", (0, "vpc-1\n", ""), desk.rules)
    if not exists_already:
        desk.rules["describe-environments"] = (0, "None\n", "")
    code, output = desk.run("--dry-run", "create", "staging", "--version", "new")
    assert code == 0, output
    command = "update" if exists_already else "create"
    assert f"+ aws elasticbeanstalk {command}-environment" in output
    assert "MinSize" in output
    assert not desk.calls("cloudformation deploy|create-(app|env)|update-env|put-object|s3 rm")


def test_create_of_an_environment_that_is_not_in_the_file(desk):
    (desk.stubs / "python3").unlink()
    output = desk.fails("create", "production")
    assert "has no 'production'. There are: staging, prod." in output
    assert not desk.calls("cloudformation|create-environment")
