"""The list of static checks: there is only one, and the checks find what they should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HOOKS = {
    hook["id"]: hook
    for hook in yaml.safe_load(Path(".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
}
MAKEFILE = Path("Makefile").read_text()
KEY = "AKIA" + "IOSFODNN7" + "REALKEY"
MIXTURE = "u8XvQ2" + "pL9sRt4W"


def recipe(target):
    """The commands of a target."""
    return re.search(rf"^{target}:.*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)[1]


def test_a_commit_runs_only_static_checks():
    for hook in HOOKS.values():
        assert "pytest" not in hook["entry"] or hook["id"] == "design"


def test_every_check_is_run_from_this_checkout():
    for hook in HOOKS.values():
        assert hook["language"] == "system"
        words = hook["entry"].split()
        program = next(word for word in words if "=" not in word and word != "env")
        assert program.startswith((".venv/bin/", "scripts/")), hook["entry"]


@pytest.mark.parametrize(
    "line",
    [
        f"aws_key = '{KEY}'",
        f"secretsmanager: {KEY}",
        f"environmentsecrets = '{KEY}'  # for-development",
        f"url = 'postgresql://birthday:{MIXTURE}@host/birthday'",
        f"password = '{MIXTURE}'  # old-one",
    ],
)
def test_a_secret_is_found_whatever_surrounds_it(tmp_path, line):
    path = tmp_path / "settings.py"
    path.write_text(f"{line}\n")
    command = HOOKS["secrets"]["entry"].split()
    ended = subprocess.run(
        [sys.executable, *command[1:], str(path)], capture_output=True, text=True
    )
    assert ended.returncode == 1, ended.stdout
    assert "Potential secrets" in ended.stdout


def test_placeholders_are_not_secrets(tmp_path):
    path = tmp_path / "settings.py"
    path.write_text('url = "postgresql://birthday:for-development@db/birthday"\n')
    command = HOOKS["secrets"]["entry"].split()
    ended = subprocess.run(
        [sys.executable, *command[1:], str(path)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("change", ["source", "lock"])
def test_a_lock_file_that_is_out_of_date_is_found(tmp_path, change):
    """Without a network: by a fingerprint."""
    from tools import locks

    source, lock = tmp_path / "deploy.in", tmp_path / "deploy.txt"
    source.write_bytes(Path("requirements/deploy.in").read_bytes())
    lock.write_bytes(Path("requirements/deploy.txt").read_bytes())
    locks.check(source, lock)
    if change == "source":
        source.write_text(source.read_text() + "requests\n")
    else:
        lock.write_text(lock.read_text().replace("click==", "click==0."))
    with pytest.raises(SystemExit, match="is not up to date"):
        locks.check(source, lock)


def test_every_kind_of_dependency_is_updated_a_week_after_its_release():
    updates = yaml.safe_load(Path(".github/dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"pip", "docker", "docker-compose"}
    for one in updates:
        assert one["cooldown"]["default-days"] >= 7
        assert Path(one["directory"].lstrip("/") or ".").is_dir()
