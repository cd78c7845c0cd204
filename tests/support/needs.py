"""What a machine lacks: its tests are skipped, or fail where they are required."""

import os
import shutil
import subprocess
from typing import NoReturn

import pytest


def refuse(reason: str, kind: str) -> NoReturn:
    """Skip the test because of ``reason``, or fail it where the variable REQUIRE_``kind`` is 1."""
    variable = f"REQUIRE_{kind}"
    if os.environ.get(variable) == "1":
        pytest.fail(f"{reason}, and {variable}=1")
    pytest.skip(f"{reason}; {variable}=1 makes this a failure")


def lacks(what: str) -> NoReturn:
    """Refuse a test that injects faults, since this machine has no ``what``."""
    refuse(f"this machine has no {what}", "FAULTS")


def why_no_docker() -> str | None:
    """Why tests that need a Docker engine cannot run here; None if they can."""
    if not shutil.which("docker"):
        return "there is no docker command"
    if subprocess.run(["docker", "info"], capture_output=True, timeout=900).returncode:
        return "the Docker engine does not respond"
    return None
