"""What docs/adopt.md says to whoever makes this project their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from deploy.base import settings
from tests.support import texts

PATCH = Path("docs/second-resource.patch").resolve()
RENEW = """
docs/second-resource.patch does not fit the code any more. If you have changed the service into your own, delete
it, this test, and the section about it in docs/adopt.md. Otherwise commit your change, since the following
discards what is not committed, and renew the patch:

    git apply --reject docs/second-resource.patch    # then do by hand what is in *.rej, delete those, and run the tests
    git add --all
    git diff --cached -U1 >/tmp/second-resource.patch
    git reset --hard
    mv /tmp/second-resource.patch docs/
    git commit --all --amend --no-edit
"""
# Those that a new resource can break; of schemathesis, what the patch adds
TESTS = (
    "tests/web/test_notes.py",
    "tests/web/test_api.py",
    "tests/web/test_client.py",
    "tests/web/test_docs.py",
    "tests/web/test_migrations.py",
    "tests/web/test_nginx.py",
    "tests/web/test_storage.py",
    "tests/test_adopt.py",
    "tests/test_design.py",
    "tests/test_docs.py",
    "-k",
    "not (schemathesis and hello)",
)


@pytest.fixture
def checkout(tmp_path):
    """A copy of this checkout with the patch, as a repository of its own."""
    copy = tmp_path / "copy"
    shutil.copytree(".", copy, symlinks=True, ignore=shutil.ignore_patterns(*texts.LEFT_OUT))
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    applied = subprocess.run(["git", "apply", PATCH], cwd=copy, capture_output=True, text=True)
    assert applied.returncode == 0, applied.stderr + RENEW
    # Behind the newest migration, as whoever follows the document would number it
    newest = ScriptDirectory("web/migrations").get_current_head()
    [migration] = copy.glob("web/migrations/versions/*_create_the_note_table.py")
    numbered = re.sub(
        r"^revision = .*", f'revision = "{int(newest) + 1:04}"', migration.read_text(), flags=re.M
    )
    migration.write_text(re.sub(r"(?<=down_revision = ).*", f'"{newest}"', numbered))
    return copy


@pytest.mark.process
def test_a_second_resource_is_added_as_documented(checkout, database_url):
    # Nothing else of these tests' environment: it may measure their coverage
    env = {name: os.environ[name] for name in ("PATH", "HOME")} | {
        "TEST_DATABASE_URL": database_url
    }
    command = [sys.executable, "-m", "pytest", "-q", *TESTS]
    ended = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr + RENEW


# Of the domain. The service's name is not, nor are names made of it: the greeters, GREET-12
WORDS = re.compile(
    r"(?i:date_?of_?birth|dates? of birth|birthdays|(next.|happy |your )birthday)|/hello|hello\.py"
    r"|\b[Gg]reet(s|ed|ing)?\b"
)


def covers(entry, name):
    """Whether an entry of the table means the file: by its name, or by that of a folder."""
    return name == entry or (entry.endswith("/") and name.startswith(entry))


def test_the_files_that_contain_the_domain_are_listed():
    section = Path("docs/adopt.md").read_text().split("5. **Remove `hello`.**")[1]
    cells = re.findall(r"^ +\| (`.*?) \|", section, re.MULTILINE)
    listed = re.findall(r"`([^`]+)`", " ".join(cells))
    slug = settings.load({}).application
    service = re.compile(f"{slug}|{slug.replace('-', ' ')}", re.IGNORECASE)
    found = {name for name, text in texts.read().items() if WORDS.search(service.sub("", text))}
    for name in found:
        listed_by = [entry for entry in listed if covers(entry, name)]
        assert listed_by, f"{name} speaks of birthdays: say it without, or list it in docs/adopt.md"
    for entry in listed:
        assert any(covers(entry, name) for name in found), f"{entry} does not speak of birthdays"
