"""Generate the migration that web/storage.py's models need, and check it.

Usage: python -m tools.migration "Add a column"      (make migration MESSAGE="Add a column")

Alembic compares the models with the schema of the newest migration, on a temporary PostgreSQL. It
sees no CHECK constraint of a table that exists: what it leaves out, the tests of migrations name,
which run on the result.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import flask_migrate
from alembic.script import ScriptDirectory

from tools import interrupts
from tools.postgres import Server, ensure_database
from web import create_app

FOLDER = Path("web/migrations")
DATABASE = "birthday"
TESTS = ["tests/web/test_migrations.py", "-k", "drift or downgrade_and_upgrade"]
BRIEF = ["-q", "--tb=line", "--show-capture=no", "-p", "no:cacheprovider"]


def main() -> None:
    """Exits with a message if there is nothing to migrate, or if the migration is incomplete."""
    message = " ".join(sys.argv[1:]).strip().rstrip(".")
    if not message or '"""' in message:
        raise SystemExit('Describe the change: make migration MESSAGE="Add a column"')
    path = generate(message)
    path.write_text(re.sub(r" *# ###.*\n", "", path.read_text()))  # Alembic's comments
    for command in (["check", "--fix"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, "--quiet", str(path)], check=True)
    env = {name: text for name, text in os.environ.items() if name != "TEST_DATABASE_URL"}
    tests = [sys.executable, "-m", "pytest", *BRIEF, *TESTS]
    is_complete = not subprocess.run(tests, env=env).returncode
    if "    pass\n" in path.read_text() and is_complete:
        path.unlink()
        raise SystemExit("Nothing to migrate: the models are what the newest migration creates.")
    if not is_complete:
        raise SystemExit(
            f"{path} is generated, and incomplete: see above what it lacks. A CHECK constraint of "
            f"an existing table needs op.create_check_constraint. Then: make test ARGS={TESTS[0]}"
        )
    print(f"Edit {path}: explain why, and how the previous version works with it.")


def generate(message: str) -> Path:
    """The file of the next revision. Raises PostgresError if the server cannot start."""
    home = Path(tempfile.mkdtemp(prefix="birthday-migration-"))
    home.chmod(0o711)  # root's server runs as another user
    server = Server(home / "postgres", durable=False, temporary=home)
    try:
        server.start()
        ensure_database(server.url("postgres"), DATABASE)
        app = create_app({"DATABASE_URL": server.url(DATABASE), "LOG_LEVEL": "WARNING"})
        with app.app_context():
            flask_migrate.upgrade()
            flask_migrate.migrate(message=message, rev_id=find_next_revision())
    finally:
        server.destroy()
    script = ScriptDirectory(str(FOLDER)).get_revision("head")
    return Path(script.path).relative_to(Path.cwd())


def find_next_revision() -> str:
    """One more than the newest, such as 0002."""
    return f"{int(ScriptDirectory(str(FOLDER)).get_current_head() or 0) + 1:04}"


if __name__ == "__main__":
    interrupts.run(main, "web/migrations/versions may have an incomplete file; git status names it")
