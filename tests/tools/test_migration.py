"""Generating a migration, in a clone."""

import re
import subprocess
import sys

import pytest


def migration(clone, *words):
    """Exit code and output of the program in ``clone``."""
    ended = subprocess.run(
        [sys.executable, "-m", "tools.migration", *words],
        cwd=clone, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return ended.returncode, ended.stdout


@pytest.mark.process
def test_a_generated_migration_passes_the_checks_and_what_it_lacks_is_named(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
    storage = clone / "web/storage.py"
    constraint = 'CheckConstraint("nickname <> \'\'", "person_nickname_not_empty"),'
    column = "nickname: Mapped[str | None] = mapped_column(Text)"
    text = storage.read_text().replace(
        "__table_args__ = (", f"__table_args__ = (\n        {constraint}"
    )
    storage.write_text(re.sub(r"(    date_of_birth: Mapped\[date\]\n)", rf"\1    {column}\n", text))
    code, output = migration(clone, "Add a nickname")
    assert code == 1, output
    assert "person_nickname_not_empty" in output
    assert "op.create_check_constraint" in output
    (path,) = clone.glob("web/migrations/versions/*_add_a_nickname.py")
    assert (
        'op.add_column("person", sa.Column("nickname", sa.Text(), nullable=True))'
        in path.read_text()
    )
    for command in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, str(path)], cwd=clone, check=True)
    path.unlink()
    storage.write_text(re.sub("    .*nickname.*\n", "", storage.read_text()))
    code, output = migration(clone, "Change nothing")
    assert (code, "Nothing to migrate" in output) == (1, True), output
    assert not list(clone.glob("web/migrations/versions/*_change_nothing.py"))


def test_a_migration_says_what_it_changes():
    assert migration(".") == (1, 'Say what changes: make migration MESSAGE="Add a column"\n')
