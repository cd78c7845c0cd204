"""Generating a migration, in a clone."""

import shutil
import subprocess
import sys

import pytest

from tests.support import texts


def migration(clone, *words):
    """Exit code and output of the program in ``clone``."""
    ended = subprocess.run(
        [sys.executable, "-m", "tools.migration", *words],
        cwd=clone,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return ended.returncode, ended.stdout


@pytest.mark.process
def test_a_generated_migration_passes_the_checks_and_what_it_lacks_is_named(tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(".", clone, symlinks=True, ignore=shutil.ignore_patterns(*texts.LEFT_OUT))
    storage = clone / "web/storage.py"
    original = storage.read_text()
    constraints = [
        f'CheckConstraint("zeal {rule}", "person_zeal_{name}"),'
        for name, rule in (("high", "< 9"), ("low", "> 1"), ("odd", "% 2 = 1"))
    ]
    lines = ["zeal: Mapped[int | None]", "__table_args__ = (", *constraints]
    storage.write_text(original.replace("__table_args__ = (", "\n    ".join(lines), 1))
    code, output = migration(clone, "Add zeal")
    assert code == 1, output
    for name in ("high", "low", "odd"):
        assert f"person: person_zeal_{name}" in output
    assert "op.create_check_constraint" in output
    (path,) = clone.glob("web/migrations/versions/*_add_zeal.py")
    assert (
        'op.add_column("person", sa.Column("zeal", sa.Integer(), nullable=True))'
        in path.read_text()
    )
    for command in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, str(path)], cwd=clone, check=True)
    path.unlink()
    storage.write_text(original)
    code, output = migration(clone, "Change nothing")
    assert (code, "Nothing to migrate" in output) == (1, True), output
    assert not list(clone.glob("web/migrations/versions/*_change_nothing.py"))


def test_a_migration_says_what_it_changes():
    assert migration(".") == (1, 'Describe the change: make migration MESSAGE="Add a column"\n')
