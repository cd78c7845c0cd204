"""Everything a scenario needs: a cloud, a project, and assertions about both."""

import contextlib
import fcntl
import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.rehearsal.aws.codebuild import IMAGE, build_image
from tests.rehearsal.load import Load
from tests.rehearsal.machines import docker
from tests.rehearsal.machines.registry import Mirror
from tests.rehearsal.project import Project, add_a_column
from tests.rehearsal.waiting import limit, wait_for
from tests.support.aws import APPLICATION

ENVIRONMENTS = ("staging", "prod")
# The recipients of notifications, as in tests/support/owner.py
TEAM, CHIEF = "/email/team@greetings.test", "/email/chief@greetings.test"
CHANNEL, DEPLOYMENTS = "/slack/CABCDEF12", "/slack/CABCDEF34"
# Waiting times of the deploy script: short pauses, and limits for a machine instead of for AWS
TIMES = {
    "POLL_SECONDS": "0.2",
    "HEALTH_TIMEOUT": f"{limit(180):.0f}",
    "DEPLOY_TIMEOUT": f"{limit(10):.0f}",
    "SMOKE_TIMEOUT": f"{limit(10):.0f}",
}
# The images that builds pull: from a local mirror, in place of the one named in the buildspecs
OFFICIAL = ("python:3.13-slim-trixie", "postgres:18-trixie")


class World:
    """A cloud and a project, in a folder of their own."""

    def __init__(self):
        from tests.rehearsal.aws.cloud import Cloud  # imports moto, which takes two seconds

        self._images, self._made = Images(), {}
        self.folder = Path(tempfile.mkdtemp(prefix="service-rehearsal-"))
        try:
            self.cloud = Cloud(
                self.folder / "cloud", lambda: TIMES | {"BASES": f"{self.mirror.host}/"}
            )
            self.project = Project(self.folder / "a project", self.cloud.environment() | TIMES)
        except BaseException:
            self.stop()
            raise

    @functools.cached_property
    def mirror(self):
        """The official images, from the first build that pulls them."""
        mirror = Mirror()
        mirror.offer(*OFFICIAL)
        return mirror

    def once(self, make):
        """What ``make(world)`` returns, made at the first call; if that failed, it fails in the same way again."""
        if make not in self._made:
            try:
                self._made[make] = make(self), None
            except Exception as error:  # nobody waits for the same failure in each scenario
                self._made[make] = None, error
        made, error = self._made[make]
        if error:
            raise error
        return made

    @property
    def beanstalk(self):
        """Its Beanstalk, which scenarios use most."""
        return self.cloud.beanstalk

    def environment(self, name):
        """An environment by its short name."""
        return self.beanstalk.environments[f"{APPLICATION}-{name}"]

    def runs(self, name):
        """The version of an environment, after asserting that all of its instances run it and serve."""
        environment = self.beanstalk.wait(f"{APPLICATION}-{name}")
        assert {one.version for one in environment.instances} == {environment.label}
        assert environment.colour() == ("Green", "Ok")
        assert len(environment.instances) == 2
        return environment.label

    def return_to(self, label):
        """Let both environments run ``label``."""
        for name in ENVIRONMENTS:
            environment = self.beanstalk.wait(f"{APPLICATION}-{name}")
            if {one.version for one in environment.instances} != {label}:
                self.beanstalk.update_environment(environment.name, VersionLabel=label)
        for name in ENVIRONMENTS:
            assert self.runs(name) == label
        self.beanstalk.calls.clear()

    @contextlib.contextmanager
    def stalled(self, beanstalk=None):
        """Within this context, AWS starts deployments but never completes them."""
        deployments = (beanstalk or self.beanstalk).deployments
        deployments.stalled = True
        try:
            yield
        finally:
            deployments.stalled = False

    @contextlib.contextmanager
    def denied(self, *actions):
        """Within this context, the permission for ``actions`` of Beanstalk is missing."""
        self.beanstalk.denied = set(actions)
        try:
            yield
        finally:
            self.beanstalk.denied = set()

    def stop(self):
        """Remove everything, whatever state it is in."""
        with contextlib.ExitStack() as ending:
            ending.callback(self._images.leave)
            ending.callback(shutil.rmtree, self.folder, ignore_errors=True)
            # Files left by builds belong to root, whoever runs the rehearsal
            ending.callback(_empty, self.folder / "cloud/builds")
            ending.callback(docker.remove_all)
            if "mirror" in vars(self):
                ending.callback(self.mirror.stop)
            if hasattr(self, "cloud"):
                ending.callback(self.cloud.stop)


class Images:
    """The images that rehearsals need: built by the first concurrent rehearsal, and removed by the last."""

    def __init__(self):
        folder = Path(tempfile.gettempdir())
        self._made = folder / "service-rehearsal-images"  # names, of all that are at work
        self._used = (folder / "service-rehearsal-images.used").open("a")
        with self._one_by_one():
            fcntl.flock(self._used, fcntl.LOCK_SH)
            new = {f"{docker.MACHINE}:latest", f"{IMAGE}:latest"} - _images()
            docker.build_machine()
            build_image()
            with self._made.open("a") as made:
                made.writelines(f"{name}\n" for name in new)

    def leave(self):
        """Remove the images that were not there before, if no other rehearsal uses them."""
        with self._one_by_one(), self._used as used:
            try:
                fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
            for name in self._made.read_text().split():
                docker.docker("rmi", name, check=False)
            self._made.unlink()

    @contextlib.contextmanager
    def _one_by_one(self):
        with self._made.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Traffic:
    """Clients of both environments, while a scenario does something to them."""

    def __init__(self, world):
        self._world = world
        self._loads = {name: Load(world.environment(name)) for name in ENVIRONMENTS}

    def stop(self):
        """Stop the clients."""
        for load in self._loads.values():
            load.stop()

    def counts(self):
        """The numbers of requests by kind, of failed requests, and of acknowledged and lost names."""
        found = Counter()
        for load in self._loads.values():
            found.update(load.counts)
            found["failed"] += len(load.failures)
            found["names"] += len(load.acknowledged)
            found["lost"] += len(load.lost())
        return found

    def check(self):
        """Stop the clients, assert that none noticed anything, and return a note for the report."""
        from tests.rehearsal.aws.answers import Answer

        self.stop()
        wrong = Answer.wrong.copy()
        Answer.wrong.clear()  # the next scenario has its own clients
        assert not wrong, wrong
        for load in self._loads.values():
            assert not load.failures, load.failures[:5]
            assert not load.lost()
            assert load.counts["PUT 204"]
            assert load.counts["GET 200"]
        return "; ".join(
            f"{name}: {load.counts['PUT 204']} PUT and {load.counts['GET 200']} GET"
            for name, load in self._loads.items()
        )


def told(world, path, *words, within=180):
    """Wait until ``path`` has received a message with all of ``words``."""
    receiver = world.cloud.receiver

    def find():
        return next((text for text in receiver.told(path) if all(w in text for w in words)), None)

    return wait_for(find, within, lambda: (words, receiver.messages))


class Present:
    """The world in which this process is; it leaves one before it enters another."""

    def __init__(self):
        self._name, self._world = None, None

    def enter(self, name):
        """The world ``name``."""
        if name != self._name:
            self.leave()
            self._name, self._world = name, World()
        return self._world

    def leave(self):
        if self._world:
            self._world.stop()
        self._name, self._world = None, None


def create(world):
    """Create both environments from nothing with the script; returns the label, the output and the seconds."""
    began = time.monotonic()
    staging = world.project.script("create", "staging", BUILD_NUMBER="0")
    label = re.search(r"version (\S+) is published", staging)[1]
    prod = world.project.script("create", "prod", "--version", label)
    return label, staging, prod, time.monotonic() - began


def build_second(world):
    """Build a version with a migration that the first version does not have; returns its label."""
    return world.project.build(add_a_column)


def bootstrap(world):
    """Create the pipeline; returns what was printed without the handshakes, in a dry run, and with them."""
    shown = world.project.script("bootstrap", "--dry-run")
    made = world.cloud.cloudformation.resources
    assert not made["AWS::CodeBuild::Project"]
    before = world.project.script("bootstrap", "--token", text="github_pat_rehearsal")
    assert not made["AWS::CodePipeline::Pipeline"]
    world.cloud.receiver.connection = "AVAILABLE"
    world.project.script("bootstrap", fails=True)  # until somebody confirms that main is protected
    assert not made["AWS::CodePipeline::Pipeline"]
    after = world.project.script("bootstrap", "--main-is-protected")
    return before, shown, after


def in_the_container(instance, name):
    """An environment variable of the application."""
    ended = subprocess.run(
        ["docker", "exec", instance.application, "printenv", name],
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


def no_checks(folder):
    """The environment variables with which a fake `make` always succeeds, for scenarios not about the checks."""
    (folder / "make").write_text("#!/bin/sh\n")
    (folder / "make").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def _images():
    """The names of all images in this Docker engine."""
    return set(docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())


def _empty(folder):
    if folder.exists():
        subprocess.run(
            [
                "docker",
                "run",
                "--rm",
                "--volume",
                f"{folder}:/left",
                IMAGE,
                "find",
                "/left",
                "-mindepth",
                "1",
                "-delete",
            ],
            capture_output=True,
        )
