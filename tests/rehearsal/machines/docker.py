"""Docker's command, and the containers that a rehearsal started."""

import os
import subprocess
from pathlib import Path

from tests.rehearsal.waiting import limit
from tests.support.aws import APPLICATION

MACHINE = f"{APPLICATION}-machine"
HOSTS = {}  # addresses by name, which every container of an instance can resolve
LABEL = f"{APPLICATION}.rehearsal={os.getpid()}"


class Failed(Exception):
    """A command on a machine failed; the text says how."""


def docker(*arguments, check=True, seconds=300, **more):
    """Run docker, at most for ``seconds``; raises Failed with its output unless it succeeds."""
    ended = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=limit(seconds), **more
    )
    if check and ended.returncode:
        raise Failed(f"docker {arguments[0]}: {(ended.stdout + ended.stderr).strip()[-1500:]}")
    return ended


def start(*arguments):
    """The id of a new container."""
    return docker("run", "--detach", "--label", LABEL, *arguments).stdout.strip()


def address(container):
    return docker(
        "inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", container
    ).stdout.strip()


def hosts():
    """The arguments with which a new container can resolve all names."""
    return [word for name, ip in HOSTS.items() for word in ("--add-host", f"{name}:{ip}")]


def remove(*containers):
    if containers:
        docker("rm", "--force", "--volumes", *containers, check=False)


def path_and_home():
    """What docker's command needs of the environment, where all else of it is a container's."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def build_machine():
    """Build the image of instances and load balancers."""
    folder = Path(__file__).parent / "image"
    docker("build", "--quiet", "--tag", MACHINE, str(folder), seconds=600)


def remove_all():
    """Remove all containers that this process has started and not yet removed."""
    left = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}")
    remove(*left.stdout.split())
