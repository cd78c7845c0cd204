"""Renaming: no name is forgotten, nothing else changes, and nothing is lost."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import texts
from tools import rename

HERE = rename.read(Path())
OTHER = rename.derive("-".join(("quite", "another", "1")))  # which occurs nowhere
TEXTS = texts.read()
# Where the database's word can mean nothing else
MEANT = (
    "docker-compose.yml", ".devcontainer/docker-compose.yml", ".ebextensions/40-database.config",
    "devops/environment.yml", "tools/postgres.py", "tools/run.py", "tests/docker/conftest.py",
    "tests/rehearsal/machines/database.py", "tests/infrastructure/test_database.py",
)  # fmt: skip


def test_all_names_are_derived_from_one():
    assert rename.derive("pet-names") == ("pet-names", "Pet names", "pet_names")


@pytest.mark.parametrize(
    "name",
    ["", "pet", "Pet-names", "pet_names", "1-pet", "pet--names", "pet-", "a" * 21, "pet names"],
)
def test_an_invalid_name_is_refused(name):
    with pytest.raises(SystemExit, match="expected 4 to 20"):
        rename.derive(name)


def test_no_name_is_forgotten():
    assert len(TEXTS) > 200
    for name, text in TEXTS.items():
        changed = rename.replace(text, HERE, OTHER)
        assert HERE.slug not in changed, name
        assert HERE.title not in changed, name
    for name in MEANT:
        changed = rename.replace(TEXTS[name], HERE, OTHER)
        assert not re.search(rf"\b{HERE.database}(\b|_test)", changed), name


def test_words_about_birthdays_are_kept():
    for name in ("web/birthday.py", "web/hello.py", "web/storage.py", "tests/web/test_birthday.py"):
        assert rename.replace(TEXTS[name], HERE, OTHER) == TEXTS[name]


def test_renaming_back_restores_every_file():
    for name, text in TEXTS.items():
        there = rename.replace(text, HERE, OTHER)
        assert rename.replace(there, OTHER, HERE) == text, name


@pytest.fixture
def checkout(tmp_path):
    """A repository with the two files that have the names."""
    for name in (rename.CONFIG, rename.DATABASE):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(TEXTS[name])
    for command in (
        ("init", "--quiet"), ("config", "user.name", "Somebody"),
        ("config", "user.email", "owner@example.com"), ("add", "--all"),
        ("commit", "--quiet", "--message", "All"),
    ):  # fmt: skip
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def run(folder, name):
    return subprocess.run(
        [sys.executable, "-c", "from tools import rename; rename.main()", name], cwd=folder,
        env={"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip


def test_a_checkout_is_renamed(checkout):
    ended = run(checkout, OTHER.slug)
    assert ended.returncode == 0, ended.stderr
    assert f"{HERE.slug} is {OTHER.slug} now, in 2 files" in ended.stdout
    assert rename.read(checkout) == OTHER


def test_a_checkout_with_uncommitted_changes_is_refused(checkout):
    (checkout / "new").write_text("x")
    ended = run(checkout, "pet-names")
    assert ended.returncode == 1
    assert "commit or remove these changes first" in ended.stderr
    assert rename.read(checkout) == HERE
