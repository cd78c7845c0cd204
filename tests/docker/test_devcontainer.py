"""The dev container: what an editor would start, with docker-compose.yml and its database."""

import json
import re
import secrets
import subprocess

import pytest

from tests.docker.conftest import docker


@pytest.fixture
def workspace(tmp_path):
    """A copy of this project as git knows it, since a dev container writes into it."""
    folder = tmp_path / "workspace"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
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
    compose = ("compose", "--project-name", f"birthday-{secrets.token_hex(4)}", *files)
    command = (
        f"{described['postCreateCommand']} && make test ARGS='--no-cov tests/web/test_storage.py'"
    )
    try:
        ended = docker(
            *compose, "run", "--rm", "--build", described["service"], "sh", "-c", command,
            check=False, timeout=600,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        assert re.search(r"\d+ passed", ended.stdout)
        assert (workspace / ".git/hooks/pre-commit").exists()
    finally:
        docker(*compose, "down", "--volumes", "--timeout", "2")
        # What it wrote belongs to root, whoever we are
        docker(
            "run", "--rm", "--volume", f"{workspace}:/workspace", "birthday-greetings-development",
            "find", "/workspace", "-mindepth", "1", "-delete",
        )  # fmt: skip
