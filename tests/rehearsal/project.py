"""A clone of this project, in which versions are made and from which they are deployed."""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

from alembic.script import ScriptDirectory

from tests.rehearsal.waiting import limit
from tests.support.owner import OWNER

SCRIPT = "scripts/build_and_deploy.sh"
LIMIT = limit(1500)  # seconds, of which a busy machine may take some for the checks and tests
MIGRATION = '''"""A column that the version before does not know."""

import sqlalchemy as sa
from alembic import op

revision = "rehearsal"
down_revision = "{newest}"


def upgrade():
    """Add it."""
    op.add_column("person", sa.Column("note", sa.Text(), nullable=True))
'''


def replace(name, old, new):
    """An edit: ``new`` in place of ``old`` in a file."""

    def edit(folder):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def add_a_column(folder):
    """An edit: a migration that the previous version does not have."""
    migrations = folder / "web/migrations"
    newest = ScriptDirectory(str(migrations)).get_current_head()
    (migrations / "versions/rehearsal.py").write_text(MIGRATION.format(newest=newest))


class Project:
    """A clone of this project, in which versions are made and from which they are deployed."""

    def __init__(self, folder, environment):
        """Make it in ``folder``, as this project is now, committed or not; run it in ``environment``."""
        here = Path.cwd()
        self.folder, self.environment, self._builds = folder, environment, 0
        subprocess.run(["git", "clone", "--quiet", str(here), str(folder)], check=True)
        self.git("checkout", "--quiet", "-B", "main")  # from whatever branch is checked out
        changed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split("\0")[:-1]
        for name in changed:
            (folder / name).unlink(missing_ok=True)
            if (here / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(here / name, folder / name, follow_symlinks=False)
        (folder / "devops/owner.json").write_text(json.dumps(OWNER, indent=2) + "\n")
        # There is no certificate to be had on loopback; a rehearsal in a rehearsal knows that already
        environments = folder / "devops/environments.toml"
        text = environments.read_text().replace("PlainHttp = false", "PlainHttp = true")
        assert "PlainHttp = true" in text
        environments.write_text(text)
        (folder / ".venv").symlink_to(here / ".venv")
        with (folder / ".git/info/exclude").open("a") as excluded:
            excluded.write(".venv\n")
        self.git("config", "user.name", "Rehearsal")
        self.git("config", "user.email", "owner@example.com")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", "As it is")
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *arguments):
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def script(self, *arguments, fails=False, text="", **env):
        """Run the deploy script with ``text`` on its standard input, and return its output with standard error.

        It must exit with code 0, or with 1 if ``fails`` is set.
        """
        with self.begin(*arguments, **env) as process:
            try:
                printed, _ = process.communicate(text, timeout=LIMIT)
            except subprocess.TimeoutExpired:
                process.terminate()  # so that the script releases its lock
                printed, _ = process.communicate()
                raise AssertionError(f"it did not end within {LIMIT:.0f} s:\n{printed}") from None
        print(f"\n$ {SCRIPT} {' '.join(arguments)}\n{printed}")  # noqa: T201
        assert process.returncode == int(fails), printed
        return printed

    def begin(self, *arguments, names=None, **env):
        """Start the deploy script in the background; names are resolved by ``names`` if that is given."""
        command, environment = [SCRIPT, *arguments], self.environment | env
        if names:
            command = names.wrap(command, self.folder, environment)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    @contextlib.contextmanager
    def commit(self, *edits, message="A change"):
        """Within this context, main has a commit with ``edits``."""
        for edit in edits:
            edit(self.folder)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)
        try:
            yield
        finally:
            self.git("reset", "--quiet", "--hard", self.base)

    def build(self, *edits):
        """Publish a version with ``edits``, and return its label."""
        self._builds += 1
        with self.commit(*edits) if edits else contextlib.nullcontext():
            printed = self.script("build", BUILD_NUMBER=str(self._builds))
        return printed.strip().split("\n")[-1]
