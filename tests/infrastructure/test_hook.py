"""The hook that migrates the database, with fakes for the commands that it uses."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.aws import APPLICATION

HOOK = Path(".platform/hooks/predeploy/10_migrate.sh").absolute()
AT_ECR = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{APPLICATION}@sha256:{'a' * 64}"
ELSEWHERE = f"registry.example.com/{APPLICATION}@sha256:{'a' * 64}"
VALUE = "not to be shown"
STUB = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
    "image inspect "*) exit "${NOT_PULLED:-0}" ;;
    "login "*) cat >/dev/null; exit "${REFUSED:-0}" ;;
    "run "*) exit "${FAILS:-0}" ;;
esac
"""


class Machine:
    """An instance with a bundle in its staging folder."""

    def __init__(self, folder):
        self.folder, self._calls = folder / "staging", folder / "calls"
        self.folder.mkdir()
        self._commands = folder / "commands"
        self._commands.mkdir()
        for name in ("docker", "aws"):
            (self._commands / name).write_text(STUB)
            (self._commands / name).chmod(0o755)

    def run(self, image=AT_ECR, **env):
        """Runs the hook; returns its exit code and messages."""
        bundle = {"Image": {"Name": image}} if image else {}
        (self.folder / "Dockerrun.aws.json").write_text(json.dumps(bundle))
        ended = subprocess.run(
            [HOOK],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            env={
                "PATH": f"{self._commands}:{os.environ['PATH']}",
                "CALLS": str(self._calls),
                "RDS_PASSWORD": VALUE,
            }
            | env,
        )
        return ended.returncode, ended.stdout + ended.stderr

    def calls(self, prefix):
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line for line in lines if line.startswith(prefix)]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_hook_migrates_with_the_new_image(machine):
    code, output = machine.run()
    assert code == 0, output
    [migration] = machine.calls("docker run")
    assert migration.endswith(f"{AT_ECR} flask db upgrade")
    assert "--env RDS_PASSWORD " in migration
    assert VALUE not in migration + output
    assert not machine.calls("aws")


def test_a_missing_image_is_pulled_with_a_new_login(machine):
    code, output = machine.run(NOT_PULLED="1")
    assert code == 0, output
    assert machine.calls("aws ecr get-login-password --region eu-west-1")
    host = AT_ECR.partition("/")[0]
    assert machine.calls(f"docker login --username AWS --password-stdin {host}")
    assert machine.calls("docker run")


def test_another_registry_gets_no_login(machine):
    code, output = machine.run(ELSEWHERE, NOT_PULLED="1")
    assert code == 0, output
    assert not machine.calls("aws")


def test_a_refused_login_fails_the_hook(machine):
    code, output = machine.run(NOT_PULLED="1", REFUSED="1")
    assert code == 1
    assert "must allow ecr:GetAuthorizationToken" in output
    assert not machine.calls("docker run")


def test_a_failed_migration_fails_the_hook(machine):
    code, output = machine.run(FAILS="3")
    assert code == 1
    assert "the database is not migrated (exit code 3)" in output


def test_a_bundle_without_an_image_fails_the_hook(machine):
    code, output = machine.run(None)
    assert code == 1
    assert "no image is named" in output
    assert not machine.calls("docker")
