"""The dev container: what an editor would start, with docker-compose.yml and its database."""

import json
import os
import re
import secrets
import subprocess

import pytest

from tests.support.containers import docker

pytestmark = pytest.mark.usefixtures("compose")


@pytest.fixture
def workspace(tmp_path):
    """A copy of the files that git tracks in this project, since a dev container writes to its workspace."""
    folder = tmp_path / "workspace"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    copied = subprocess.run(
        ["xargs", "-0", "cp", "--parents", "--no-dereference", "-t", str(folder)], input=listed
    )
    assert copied.returncode == 0
    return folder


def test_a_dev_container_can_install_and_test(workspace):
    text = (workspace / ".devcontainer/devcontainer.json").read_text()
    described = json.loads(text)
    files = [
        part
        for name in described["dockerComposeFile"]
        for part in ("--file", str((workspace / ".devcontainer" / name).resolve()))
    ]
    project = f"service-{secrets.token_hex(4)}"
    compose = ("compose", "--project-name", project, *files)
    command = (
        f"{described['postCreateCommand']} && make test ARGS=tests/web/test_storage.py"
        " && make clean && ls -A .venv"
    )
    user = described["remoteUser"]
    as_root = (*compose, "run", "--rm", "--no-deps", "--user", "root", described["service"])
    try:
        # The reverse of what the editor does: it gives the container's user the UID of the files' owner
        docker(*as_root, "chown", "-R", user, "/workspace")
        ended = docker(
            *compose,
            "run",
            "--rm",
            "--user",
            user,
            described["service"],
            "sh",
            "-c",
            command,
            check=False,
            timeout=1800,
        )
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        assert re.search(r"\d+ passed", ended.stdout)
        assert ended.stdout.splitlines()[-1].startswith("rm -rf")  # .venv is empty afterwards
        assert (workspace / ".git/hooks/pre-commit").exists()
    finally:
        docker(*as_root, "chown", "-R", str(os.getuid()), "/workspace")
        docker(*compose, "down", "--volumes", "--rmi", "local", "--timeout", "2")
