"""Rename this checkout: application, stacks, image, database, package metadata...

Usage: python -m tools.rename NAME      such as pet-names (make rename NAME=pet-names)

NAME has 4 to 20 lower-case letters, digits and hyphens. Only files that git tracks are changed, and
only if there are no uncommitted changes. Words about birthdays are kept: the rules, the
API and its tests. docs/adopt.md says what to do next.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools import interrupts

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LENGTHS = range(4, 21)  # see the limits in deploy/config/environments.py
CONFIG, DATABASE = ".elasticbeanstalk/config.yml", ".ebextensions/40-database.config"


class Names(NamedTuple):
    """The names of one service."""

    slug: str  # birthday-greetings
    title: str  # Birthday greetings
    database: str  # the name of the database and of its user, and the prefix of temporary files


def main() -> None:
    """Exits with a message if the name is invalid, or if changes would be lost."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    new = derive(sys.argv[1])
    root = Path.cwd()
    changed = _git(root, "status", "--porcelain")
    if changed:
        raise SystemExit(
            f"commit or remove these changes first, so that nothing is lost:\n{changed}"
        )
    old = read(root)
    count = rename(root, old, new)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", "."], cwd=root, check=True)
    print(f"{old.slug} is {new.slug} now, in {count} files: see `git diff`, and docs/adopt.md")


def derive(slug: str) -> Names:
    """The names that follow from ``slug``. Raises SystemExit if it is invalid."""
    if not NAME.fullmatch(slug) or len(slug) not in LENGTHS:
        raise SystemExit(
            f"{slug!r}: expected 4 to 20 lower-case letters, digits and single hyphens, beginning "
            "with a letter, such as pet-names"
        )
    return Names(slug, slug.replace("-", " ").capitalize(), slug.replace("-", "_"))


def read(root: Path) -> Names:
    """The names that the checkout ``root`` uses now. Raises SystemExit when they cannot be read."""
    slug = re.search(r"application_name: (\S+)", (root / CONFIG).read_text())
    database = re.search(r"RDS_DB_NAME: (\S+)", (root / DATABASE).read_text())
    if not (slug and database):
        raise SystemExit(f"{CONFIG} has no application_name, or {DATABASE} no RDS_DB_NAME")
    return derive(slug[1])._replace(database=database[1])


def rename(root: Path, old: Names, new: Names) -> int:
    """Replace the names in all files that git tracks; returns the number of changed files."""
    count = 0
    for path in _files(root):
        try:
            text = path.read_text()
        except UnicodeDecodeError:  # an image
            continue
        changed = replace(text, old, new)
        if changed != text:
            path.write_text(changed)
            count += 1
    return count


def replace(text: str, old: Names, new: Names) -> str:
    """``text`` with the ``new`` names in place of the ``old`` ones.

    The name of the database may be a word with other uses, so it is replaced in certain contexts
    only.
    """
    text = text.replace(old.slug, new.slug).replace(old.title, new.title)
    word = re.escape(old.database)
    for before, after in (
        (r"(?<=//)", r"(?=[:@])"),  # the user in a URL, then the database
        (r"(postgresql://[^\s\"'/]+/)", r"(?=\b|_test)"),
        (r"((?:RDS_DB_NAME|RDS_USERNAME|MasterUsername|POSTGRES_USER)\"?(?:: ?\"?|=))", r"\b"),
        (r"(\"username\": \"|\buser=|\bdbname=|\"-U\", \"|datname = ')", r"\b"),
        (r"(\b(?:USER|DATABASE|NAME) = \")", r"(?=\")"),
        (r"(?<=f\")", r"(?=_\{)"),  # of a test's process
        (r"(?<=[\"'])", r"(?=-[a-z{])"),  # temporary files and networks
    ):
        text = re.sub(
            f"{before}{word}{after}",
            lambda match: "".join(match.groups()) + new.database,
            text,
        )
    return text


def _files(root: Path) -> Iterator[Path]:
    for name in _git(root, "ls-files", "-z").split("\0"):
        path = root / name
        if name and path.is_file() and not path.is_symlink():
            yield path


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    interrupts.run(main, "some files may have the new name; git checkout . undoes it")
