"""The world of the rehearsal: a cloud, a clone of this project, staging and production at one version."""

import functools
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.docker.conftest import engine  # noqa: F401  # a fixture, by its name
from tests.rehearsal import machines
from tests.rehearsal.beanstalk import Beanstalk
from tests.rehearsal.cloud import Cloud
from tests.rehearsal.load import Load
from tests.rehearsal.pipeline import IMAGE, CodeBuild, CodePipeline, Receiver, build_image

# The placeholders of devops/owner.json are refused, and rightly so
OWNER = {
    "team": "greeters",
    "email": "team@greetings.test",
    "escalation": "chief@greetings.test",
    "repository": "greeters/birthday-greetings",
    "slack": {"workspace": "TABCDEF12", "channel": "CABCDEF12", "deployments": "CABCDEF34"},
}
# Waiting times, shortened
TIMES = {
    "POLL_SECONDS": "0.5",
    "HEALTH_TIMEOUT": "30",
    "DEPLOY_TIMEOUT": "3",
    "SMOKE_TIMEOUT": "5",
}
ENVIRONMENTS = ("staging", "prod")
OFFICIAL = ("python:3.13-slim-trixie", "postgres:18-trixie")
ROWS = []  # scenario, outcome, seconds, what was seen
USED = Counter()  # requests by environment and kind, and names, of all scenarios that passed


def pytest_collection_modifyitems(items):
    for item in items:
        if "rehearsal" in item.path.parts:
            item.add_marker(pytest.mark.docker)
            item.add_marker(pytest.mark.xdist_group("docker"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Whatever a scenario does to an environment: those who use it must not notice."""
    result = yield
    for name, load in getattr(item, "people", {}).items():
        load.check()
        note(item, f"{name}: {load.counts['PUT 204']} PUT and {load.counts['GET 200']} GET")
        USED.update(load.counts | {"names": len(load.acknowledged)})
    return result


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and "rehearsal" in item.path.parts:
        name = item.name.removeprefix("test_").replace("_", " ")
        ROWS.append((name, report.outcome, report.duration, getattr(item, "seen", [])))


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    terminalreporter.section("the rehearsal")
    for name, outcome, seconds, seen in ROWS:
        terminalreporter.write_line(f"{outcome:7} {seconds:5.0f} s  {name}")
        if seen:
            terminalreporter.write_line(f"{'':17}{'; '.join(seen)}")
    terminalreporter.write_line(
        f"While all that passed was done: {USED['PUT 204']} PUT and {USED['GET 200']} GET, of which 0 failed; "
        f"{USED['names']} names were acknowledged, of which 0 are lost."
    )


def note(item, text):
    item.seen = [*getattr(item, "seen", []), text]


@pytest.fixture
def seen(request):
    """Notes what a scenario saw, for the table at the end."""
    return functools.partial(note, request.node)


class Project:
    """A clone of this project, in which versions are made and from which they are deployed."""

    def __init__(self, folder, cloud):
        here = Path.cwd()
        self.folder, self._cloud, self._builds = folder, cloud, 0
        subprocess.run(["git", "clone", "--quiet", str(here), str(folder)], check=True)
        # As it is here, whether it has been committed or not
        changed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, check=True, text=True,
        ).stdout.split("\0")[:-1]  # fmt: skip
        for name in changed:
            if (here / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).unlink(missing_ok=True)
                shutil.copy2(here / name, folder / name, follow_symlinks=False)
        (folder / "devops/owner.json").write_text(json.dumps(OWNER, indent=2) + "\n")
        (folder / ".venv").symlink_to(here / ".venv")
        with (folder / ".git/info/exclude").open("a") as excluded:
            excluded.write(".venv\n")
        self.git("config", "user.name", "Rehearsal")
        self.git("config", "user.email", "owner@example.com")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", "As it is")
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *arguments):
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def script(self, *arguments, check=True, **env):
        """Run the deploy script; what it printed, standard error included."""
        ended = subprocess.run(
            ["scripts/build_and_deploy.sh", *arguments], cwd=self.folder, timeout=420,
            env=self.environment() | env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        print(f"\n$ scripts/build_and_deploy.sh {' '.join(arguments)}\n{ended.stdout}")  # noqa: T201
        if check is True:
            assert ended.returncode == 0, ended.stdout
        elif check is False:
            assert ended.returncode == 1, ended.stdout
        return ended.stdout

    def environment(self):
        return self._cloud.environment() | TIMES

    def build(self, edit=None):
        """Publish a version, after ``edit(folder)`` if given; returns its label."""
        self._builds += 1
        if edit:
            edit(self.folder)
            self.git("commit", "--quiet", "--all", "--no-verify", "--message", "Something else")
        try:
            printed = self.script("build", BUILD_NUMBER=str(self._builds))
            return printed.strip().split("\n")[-1]
        finally:
            self.git("reset", "--quiet", "--hard", self.base)


class World:
    """Everything a scenario needs."""

    def __init__(self, folder):
        self.beanstalk = Beanstalk(folder / "instances")
        self.receiver = Receiver()
        self.cloud = Cloud(folder / "registry", self.beanstalk, self.receiver)
        self.project = Project(folder / "a project", self.cloud)
        self.build = CodeBuild(folder / "builds", self.cloud.credentials() | TIMES)
        self.pipeline = CodePipeline(
            folder / "sources",
            self.build,
            lambda **message: self.cloud.client("sns").publish(**message),
        )
        self.cloud.pipeline = self.pipeline

    def environment(self, name):
        return self.beanstalk.environments[f"birthday-greetings-{name}"]

    def runs(self, name):
        """The version of an environment, all of whose instances run it and serve."""
        environment = self.beanstalk.wait(f"birthday-greetings-{name}")
        assert {one.version for one in environment.instances} == {environment.label}
        assert environment.colour() == ("Green", "Ok")
        assert len(environment.instances) == 2
        return environment.label


@pytest.fixture(scope="session")
def world(engine):  # noqa: F811
    machines.build_machine(Path(__file__).parent / "machine")
    build_image()
    folder = Path(tempfile.mkdtemp(prefix="birthday-rehearsal-"))
    world = None
    try:
        world = World(folder)
        yield world
    finally:
        if world:
            world.beanstalk.stop()
            world.build.stop()
            world.cloud.stop()
            world.receiver.stop()
        left = machines.docker("ps", "--all", "--quiet", "--filter", f"label={machines.LABEL}")
        machines.remove(*left.stdout.split())
        # What builds leave belongs to root, whoever we are
        machines.docker(
            "run", "--rm", "--volume", f"{folder}:/left", IMAGE, "rm", "-rf", "/left/builds"
        )
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def created(world):
    """Both environments, made from nothing by the script; the output of both runs, and the version."""
    began = time.monotonic()
    # The same images by the names that CodeBuild uses, so that they need not be pulled twice
    for name in OFFICIAL:
        machines.docker("tag", name, f"public.ecr.aws/docker/library/{name}")
    staging = world.project.script("create", "staging", BUILD_NUMBER="0")
    label = re.search(r"version (\S+) is published", staging)[1]
    prod = world.project.script("create", "prod", "--version", label)
    return label, staging, prod, time.monotonic() - began


@pytest.fixture
def base(world, created, request):
    """The first version, which both environments run when a scenario begins; people use it."""
    label = created[0]
    people = {name: Load(world.environment(name)) for name in ENVIRONMENTS}
    request.node.people = people
    try:
        return_to(world, label)
        yield label
    finally:
        for load in people.values():
            load.stop()


def return_to(world, label):
    """Let both environments run ``label``."""
    for name in ENVIRONMENTS:
        environment = world.beanstalk.wait(f"birthday-greetings-{name}")
        if {one.version for one in environment.instances} != {label}:
            world.beanstalk.update_environment(environment.name, VersionLabel=label)
    for name in ENVIRONMENTS:
        assert world.runs(name) == label
    world.beanstalk.calls.clear()
