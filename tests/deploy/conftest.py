"""The command line in its own checkout, with an in-memory AWS and fake programs that only record their calls."""

import itertools
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.base import aws as deploy_aws
from deploy.base import settings
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.context import Run
from deploy.base.errors import Unhealthy
from deploy.base.programs import Tools
from deploy.commands.cli import main as cli
from deploy.config import environments
from deploy.delivery import bundle, smoke
from tests.support.aws import ACCOUNT, APPLICATION, REGION, REGISTRY, FakeAws, records
from tests.support.checkout import Checkout
from tests.support.owner import OWNER

FILES = (".elasticbeanstalk", ".ebextensions", ".platform", "devops")
# Commands of the AWS CLI and of the EB CLI, in any text
COMMAND = (
    r"\baws [a-z0-9]+ [a-z]+-[a-z-]+|\beb (appversion|deploy|events|logs|terminate)\b(?! ended)"
)
STAGING, PROD = f"{APPLICATION}-staging", f"{APPLICATION}-prod"
DESTINATIONS = ("eu-central-1", "eu-north-1")  # of the backups of production
# Variables that the commands read, and that a test must not inherit from the caller's environment
ENVIRONMENT = (
    "BUILD_NUMBER",
    "CODEBUILD_BUILD_NUMBER",
    "CODEBUILD_INITIATOR",
    "CODEBUILD_BUILD_URL",
    "BASES",
    "PULL",
    "CODEBUILD_BUILD_ARN",
    "SMOKE_KEY",
    "EXECUTION",
    "VERSION",
    "TEAM_TOPIC",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_EB_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "DEPLOY_TIMEOUT",
    "HEALTH_TIMEOUT",
    "SMOKE_TIMEOUT",
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances only when code sleeps, patched into all modules that wait."""
    seconds = itertools.count()
    now = SimpleNamespace(at=0.0, slept=[])

    def sleep(duration):
        now.slept.append(duration)
        now.at += max(duration, 0.01)
        if next(seconds) > 5000:
            raise AssertionError("the command does not stop waiting")

    fake = SimpleNamespace(monotonic=lambda: now.at, sleep=sleep)
    for name in (
        "base.console",
        "delivery.notify",
        "commands.recovery",
        "delivery.smoke",
        "base.waiting",
    ):
        monkeypatch.setattr(f"deploy.{name}.time", fake)
    return now


@pytest.fixture
def aws():
    return FakeAws()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A checkout with one commit, of the files that the commands read."""
    root = tmp_path_factory.mktemp("checkout") / "project"
    for name in FILES:
        shutil.copytree(name, root / name, symlinks=True)
    shutil.copy("Dockerrun.aws.json", root)
    (root / "requirements").mkdir()
    shutil.copy("requirements/main.txt", root / "requirements")
    (root / "devops/owner.json").write_text(json.dumps(OWNER))
    configured = root / environments.NAME
    if "[prod.backups]" not in configured.read_text():  # they may be left out
        with configured.open("a") as file:
            file.write(f"[prod.backups]\nDestinations = {json.dumps(DESTINATIONS)}\n")
            file.write("HomeDays = 35\nCopyDays = 35\n")
    (root / ".gitignore").write_text("dist\n")
    git(root, "init", "--quiet", "--initial-branch=main", "--template=")
    commit(root, "Something")
    git(root, "repack", "-a", "-d", "--quiet")
    return Checkout(root, root.with_name("original"))


@pytest.fixture
def project(checkout, monkeypatch):
    """A checkout, without the environment variables of whoever runs the tests."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POLL_SECONDS", "10")
    monkeypatch.setenv("BUILD_NUMBER", "7")
    yield Path(checkout.root)
    checkout.restore()


def git(root, *arguments):
    names = ("-c", "user.name=Somebody", "-c", "user.email=owner@example.com")
    ended = subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True)
    return ended.stdout.decode(errors="replace").strip()


def commit(root, message):
    """Commit all changes; returns the prefix of the version labels for that commit."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)
    return git(root, "rev-parse", "--short=12", "HEAD")


class Programs(Tools):
    """Git is real; docker, make and eb are fakes that record their calls and apply their effects to the in-memory AWS."""

    def __init__(self, aws):
        self.aws, self.called, self.codes, self.missing = aws, [], {}, set()
        self.effects = {}  # by a pattern of the call, run before the usual effects
        self.results = {}  # run instead of the usual effects
        self.answers = {  # the output of a program, by a pattern of the call
            "^docker version": "29.1.2",
            "^docker info": '[["Backing Filesystem", "extfs"]]',
            "^make --version": "GNU Make 4.3\nand more",
            "^eb --version": "EB CLI 3.27.5",
            "^aws --version": "aws-cli/2.31.0",
        }
        self.packages = json.dumps(
            [["Flask", "3.1.3", "BSD-3-Clause"], ["odd", "1", "Text\nof it"]]
        )

    def of(self, changes, root):
        """In the form that cli.Options expects."""
        super().__init__(changes, root)
        return self

    def require(self, *names):
        for name in names:
            if name in self.missing:
                raise settings.Failure(f"{name!r} is not installed", next="install it")

    def try_to_ask(self, *command, timeout=60):
        if command[0] == "git" and not self._code(command):
            return super().try_to_ask(*command, timeout=timeout)
        line = shlex.join(command)
        output = next((text for when, text in self.answers.items() if re.search(when, line)), "")
        is_list = command[:2] == ("docker", "run")
        return self._code(command), self.packages if is_list else output, "refused"

    def calls(self, pattern=""):
        return [line for line, _ in self.called if re.search(pattern, line)]

    def _run(self, command, timeout, env):
        line = shlex.join(command)
        self.called.append((line, dict(env)))
        for pattern, effect in self.effects.items():
            if re.search(pattern, line):
                effect()
        if code := self._code(command):
            return code
        for pattern, result in self.results.items():
            if re.search(pattern, line):
                result()
                return 0
        match command:
            case ["docker", "push", _, name]:
                self.aws.images[name.rpartition(":")[2]] = "sha256:" + "a" * 64
            case ["eb", "deploy", name, "--version", label, *_]:
                self.aws.elasticbeanstalk_update_environment(name, label)
        return 0

    def _code(self, command):
        line = shlex.join(command)
        return next((code for when, code in self.codes.items() if re.search(when, line)), 0)


@pytest.fixture
def programs(aws):
    return Programs(aws)


@pytest.fixture
def tested(monkeypatch):
    """The smoke tests that were run: (url, key, label) of each, and the host if it is another one.

    A test may name labels and URLs whose smoke tests fail, and say what DNS lacks.
    """
    seen = SimpleNamespace(calls=[], broken=set(), detour="")

    def check_url(run, url, key="", label=None, host=""):
        seen.calls.append((url, key, label, *([host] if host else [])))
        if label in seen.broken or (url in seen.broken and not host):
            raise Unhealthy("smoke test: a birthday is saved and greeted: FAILED")
        return seen.detour if host else ""

    monkeypatch.setattr(smoke, "check_url", check_url)
    return seen


def refuse_commands_without_region(output):
    """Whatever is printed to be pasted works in the region for which it is printed."""
    for line in output.splitlines():
        for found in re.finditer(COMMAND, line):
            assert "--region " in line[found.end() :], line


@pytest.fixture
def command(aws, programs, project, tested, clock, capfd):
    """Runs the command line; returns the exit code and all output, standard error first."""

    def run(*arguments):
        aws.may_create_buckets = bool({"create", "recover"} & set(arguments))
        options = cli.Options(session=aws, tools=programs.of, root=project)
        try:
            code = cli.start(list(arguments), options)
        except SystemExit as exit_:
            code = exit_.code
        printed = capfd.readouterr()
        refuse_commands_without_region(printed.err)
        return code, printed.err + printed.out

    return run


@pytest.fixture
def fails(command):
    """Runs a command that must report exactly one failure; returns its output."""

    def run(*arguments):
        code, output = command(*arguments)
        assert code == 1, output
        assert output.count("deploy: FAILED: ") == 1, output
        assert output.count("deploy:   next: ") == 1, output
        return output

    return run


@pytest.fixture
def run(aws, programs, project, clock):
    """The context that the steps of a command share."""
    console = Console()
    changes = Changes(console)
    loaded = settings.load(root=project)
    return Run(
        loaded,
        console,
        changes,
        deploy_aws.Aws(loaded.region, changes, aws),
        programs.of(changes, project),
    )


@pytest.fixture
def fresh(aws):
    """An account with an empty image repository, and empty buckets."""
    aws.applications.append(APPLICATION)
    aws.locations.add(REGION)
    made(aws, "foundation")


@pytest.fixture
def staging(aws):
    """An account in which staging and production run the version "old", and "new" is published.

    The backups of production are installed in the other regions.
    """
    aws.applications.append(APPLICATION)
    aws.add_version("older", "old", "new")
    for short in ("staging", "prod"):
        aws.add_environment(short, "old")
        aws.secrets[f"{APPLICATION}-{short}/smoke-test"] = {"user": "smoke test", "key": "K3y"}
    for stack in ("foundation", "staging", "prod"):
        made(aws, stack)
    for region in DESTINATIONS:
        made(aws, "foundation", region)
    return aws.environments[STAGING]


@pytest.fixture
def plain_http(project):
    """Production may serve without a certificate."""
    path = project / environments.NAME
    path.write_text(re.sub("PlainHttp = .*", "PlainHttp = true", path.read_text()))


@pytest.fixture
def certificate(project):
    """Production has a certificate in its home region and a public name, and serves no plain HTTP."""
    path, arn = project / environments.NAME, f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1"
    before, prod, after = path.read_text().partition("[prod.stack]")
    before = re.sub("PlainHttp = .*", "PlainHttp = false", before)
    after = after.replace('Certificate = ""', f'Certificate = "{arn}"', 1)
    after = after.replace('PublicName = ""', 'PublicName = "hello.example.com"', 1)
    path.write_text(before + prod + after)
    return arn


def made(aws, stack, region=REGION):
    """Add a stack to the account."""
    from tests.support.aws import OUTPUTS

    name = f"{APPLICATION}-{stack}"
    key = name if region == REGION else f"{region}/{name}"
    aws.stacks[key] = {"status": "CREATE_COMPLETE", "outputs": dict(OUTPUTS[name])}


def add_bundle(aws, *labels):
    """Let versions have the bundle of this project, not only some bytes."""
    packed = bundle.make(f"{REGISTRY}/{APPLICATION}@sha256:{'0' * 64}", Path())
    aws.add_version(*labels, bundle=packed)


def add_history(aws, *entries, name=STAGING):
    """Add earlier deployments, such as "deploy old"."""
    for number, entry in enumerate(entries):
        aws.s3_put_object(records(), f"deployments/{name}/20260101T0000{number:02}000000Z {entry}")
