"""The command line in its own checkout, with an in-memory AWS and fake programs that only record their calls."""

import itertools
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.base import aws as deploy_aws
from deploy.base import settings
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.context import Run
from deploy.base.errors import Unhealthy
from deploy.commands.cli import main as cli
from deploy.config import environments
from deploy.delivery import smoke
from tests.support.account import DESTINATIONS, add_history, made
from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, STAGING, FakeAws, records
from tests.support.checkout import Checkout, commit, git
from tests.support.owner import OWNER
from tests.support.programs import Programs

FILES = (".elasticbeanstalk", ".ebextensions", ".platform", "devops")
# What a command prints to be pasted: of the AWS CLI or the EB CLI, without the region for which it is printed
WITHOUT_REGION = (
    r"(\baws [a-z0-9]+ [a-z]+-[a-z-]+|\beb (appversion|deploy|events|logs|terminate)\b(?! ended))"
    r"(?!.*--region )"
)
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
        assert not re.search(WITHOUT_REGION, printed.err)
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
def running(aws, staging):
    """Both environments, with their alarms; production with backups, locked in the vaults."""
    for name in (STAGING, PROD):
        made(aws, f"{name.removeprefix(f'{APPLICATION}-')}-operations")
        aws.add_key(REGION, f"Database of {name}")
        for kind in ("database", "application", "smoke-test"):
            aws.secrets.setdefault(f"{name}/{kind}", {})
        aws.logs |= {f"/aws/elasticbeanstalk/{name}/web": 90, f"/aws/rds/instance/{name}/log": 0}
        add_history(aws, "deploy old", name=name)
        aws.s3_put_object(records(), f"databases/{name}", b"db-FIRST")
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{PROD}-probe-1"
    for stack, outputs in ((f"{PROD}-backups", {}), (f"us-east-1/{PROD}-probe", {"Topic": topic})):
        aws.stacks[stack] = {"status": "CREATE_COMPLETE", "outputs": outputs}
    aws.protected = {PROD}
    for region in (REGION, *DESTINATIONS):
        key = f"{PROD}-vault" if region == REGION else f"{region}/{PROD}-vault"
        aws.stacks[key] = {"status": "CREATE_COMPLETE", "outputs": {}}
        aws.vaults[f"{PROD}-{region}"] = {f"awsbackup:job-{region}": ("COMPLETED", aws.now())}
        aws.add_key(region, f"Backups of {PROD} in {region}")
    for region in DESTINATIONS:
        add_history(aws, "deploy old", name=PROD, region=region)
        for kind in ("application", "smoke-test"):
            aws.at(region, "secrets")[f"{PROD}/{kind}"] = {}
            aws.replicas.add((region, f"{PROD}/{kind}"))
    aws.region = REGION
    return aws


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
