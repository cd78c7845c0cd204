"""The programs on this machine: whether they are there, and Docker's image store."""

import json
from collections.abc import Callable
from functools import partial

from deploy.base.context import Run
from deploy.base.findings import UNKNOWN, Finding, not_ready, ready

VERSIONS = {
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),  # needs its engine
    "git": ("git", "--version"),
    "make": ("make", "--version"),
    "eb": ("eb", "--version"),
    "aws": ("aws", "--version"),  # for the printed commands
}
# docs.docker.com/engine/storage/containerd: what `docker info` says where it is in use
CONTAINERD = "io.containerd.snapshotter.v1"


def check_program(run: Run, name: str) -> list[Finding]:
    """Whether ``name`` is installed, and answers."""
    run.tools.require(name)
    code, output, reason = run.tools.try_to_ask(*VERSIONS[name])
    if code:
        what = f"{name} does not work: {reason or f'exit code {code}'}"
        return not_ready(what, "start Docker" if name == "docker" else f"install {name} again")
    first = (output or reason).partition("\n")[0]
    return ready(first if name in first.lower() else f"{name} {first}")


def check_store(run: Run) -> list[Finding]:
    """How images are stored: containerd's store would publish an index, which ECR does not scan.

    The build switches off what would make it one; see delivery/image.py.
    """
    code, output, reason = run.tools.try_to_ask(
        "docker", "info", "--format", "{{json .DriverStatus}}"
    )
    try:
        status = None if code else json.loads(output)
    except ValueError:
        status = None
    if not isinstance(status, list):
        what = f"Docker does not say how it stores images: {reason or output}"
        return [Finding(UNKNOWN, what, "docker info")]
    if ["driver-type", CONTAINERD] in status:
        return ready("containerd's image store; builds switch attestations off, so that ECR scans")
    return ready("Docker's own image store")


CHECKS: list[tuple[str, Callable[[Run], list[Finding]]]] = [
    *((name, partial(check_program, name=name)) for name in VERSIONS),
    ("image store", check_store),
]
