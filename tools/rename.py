"""Give this checkout another name: ``make rename NAME=your-service``.

Usage: python -m tools.rename NAME [--keep]

Deployments and tests read the name from .elasticbeanstalk/config.yml. What cannot read it there has
a copy: PLACES says in which files, and between which characters. Nothing else is changed, so the
name may be a word that code and documents also use.

Refused before anything is written: a checkout with uncommitted changes, a name that means something
else here, and texts that may be a name or not. These are listed; --keep leaves them as they are.
"""

import argparse
import keyword
import re
import subprocess
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import yaml
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from tools import interrupts

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LENGTHS = range(4, 21)  # see the limits in deploy/config/names.py
# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
OF_S3 = re.compile(r"(sthree|amzn-s3-demo)(-|$)")
CONFIG = ".elasticbeanstalk/config.yml"
# What follows it in the names of environments, stacks, buckets and roles
SUFFIX = (
    r"-(?:(?:staging|prod|before|exercise|foundation|pipeline|records|break-glass|window)\b|\*)"
)
PLACES = {
    CONFIG: [r"(?<=application_name: )SLUG$"],
    ".github/ISSUE_TEMPLATE/config.yml": [r"(?<=/example/)SLUG(?=/)"],
    "Dockerfile": [r'(?<=image\.title=")SLUG(?=")'],
    "README.md": [r"(?<=\A# )HEADING$"],
    "devops/owner.json": [r'(?<=: ")SLUG(?=")', r'(?<="#)SLUG(?=")', r'(?<="example/)SLUG(?=")'],
    "pyproject.toml": [r'(?<=^name = ")SLUG(?="$)'],
    "web/openapi.py": [r'(?<=^TITLE = ")HEADING(?="$)'],
    "*.md": [
        rf"(?<![\w.#-])SLUG(?={SUFFIX})",
        r"(?<=`/)SLUG(?=/(?:pipeline|pull-requests)`)",  # log groups
        r"(?<=`)SLUG(?=/(?:Source|DIGEST)/`)",  # folders of buckets
        r"(?<=/_embedded_extensions/)SLUG(?=/)",
    ],
}
# Here names are examples; the license is that of the original
LEFT_OUT = (".ci/run", "tests/tools/test_rename.py", "LICENSE")


class Names(NamedTuple):
    """The ways in which a name is written."""

    slug: str  # your-service
    title: str  # Your service


def main() -> None:
    """Rename the checkout in the current folder. Exits with a message if that is refused."""
    parser = argparse.ArgumentParser(prog="tools.rename", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="such as your-service")
    parser.add_argument("--keep", action="store_true", help="leave uncertain texts as they are")
    given, root = parser.parse_args(), Path.cwd()
    new = derive(given.name)
    if changed := _git(root, "status", "--porcelain"):
        raise SystemExit(
            f"commit or remove these changes first, so that nothing is lost:\n{changed}"
        )
    texts = dict(read(root))
    old = find(texts)
    changes = plan(texts, old, new, keep=given.keep)
    write(root, changes)
    print(
        f"Renamed {old.slug} to {new.slug} in {len(changes)} files: see `git diff`, and "
        "docs/adopt.md. `git checkout -- .` undoes it."
    )


def derive(slug: str) -> Names:
    """How ``slug`` is written. Raises SystemExit if AWS would refuse it."""
    if not NAME.fullmatch(slug) or len(slug) not in LENGTHS or OF_S3.match(slug):
        raise SystemExit(
            f"{slug!r}: expected 4 to 20 lower-case letters, digits and single hyphens, beginning "
            "with a letter, such as your-service; S3 refuses sthree and amzn-s3-demo in front. "
            "Nothing was changed."
        )
    return Names(slug, slug.replace("-", " ").capitalize())


def find(texts: Mapping[str, str]) -> Names:
    """The names that a checkout has now. Raises SystemExit when they cannot be read."""
    found = re.search(r"application_name: (\S+)", texts.get(CONFIG, ""))
    if not found:
        raise SystemExit(f"{CONFIG} has no application_name. Nothing was changed.")
    return derive(found[1])


def plan(texts: Mapping[str, str], old: Names, new: Names, *, keep: bool = False) -> dict[str, str]:
    """The texts that change, with the ``new`` names. Raises SystemExit if something is uncertain.

    Afterwards, none but these places has the ``new`` names, so the way back leads here.
    """
    if reason := "this checkout's name already" if new == old else find_meaning(texts, new.slug):
        raise SystemExit(f"{new.slug} is {reason}: choose another name. Nothing was changed.")
    found = (one for path in texts for one in _doubts(path, texts[path], old, new))
    doubts = list(dict.fromkeys(found))  # a line may have it twice
    if doubts and not keep:
        raise SystemExit(
            f"here, {old.slug} or {new.slug} may or may not be the name of the service:\n  "
            + "\n  ".join(doubts)
            + "\nNothing was changed. Choose another name, or change and commit these first; or "
            "leave them as they are, with KEEP=yes."
        )
    changed = {path: replace(path, text, old, new) for path, text in texts.items()}
    return {path: text for path, text in changed.items() if text != texts[path]}


def find_meaning(texts: Mapping[str, str], word: str) -> str:
    """What else ``word`` means, so that it cannot be a name; empty if it means nothing."""
    parts = {part.split(".")[0]: path for path in texts for part in path.split("/")}
    if keyword.iskeyword(word) or keyword.issoftkeyword(word):
        return "a keyword of Python"
    if word in RESERVED_WORDS:
        return "a reserved word of PostgreSQL"
    if not isinstance(yaml.safe_load(word), str):
        return "not text in YAML"
    if word in parts:
        return f"a part of the name of {parts[word]}"
    for path, text in texts.items():
        # A target of make, an environment, a folder in a bucket
        if (path == "Makefile" or path.startswith("devops/")) and re.search(
            rf"^\[?{word}[\].:]|(?<![\w-]){word}/", text, re.MULTILINE
        ):
            return f"in {path} with another meaning"
    return ""


def replace(path: str, text: str, old: Names, new: Names) -> str:
    """``text`` of the file ``path`` with the ``new`` names in place of the ``old`` ones."""
    places = _places(path, old)
    return places.sub(lambda found: new[old.index(found[0])], text) if places else text


def write(root: Path, changes: Mapping[str, str]) -> None:
    """Write the texts by their paths. Raises SystemExit, which says how to undo it."""
    try:
        for path, text in changes.items():
            (root / path).write_bytes(text.encode())
    except (OSError, KeyboardInterrupt) as error:
        raise SystemExit(
            f"interrupted: {error!r}. Some files have the new name, others still the old one. "
            "Undo it with: git checkout -- ."
        ) from None


def _places(path: str, names: Names) -> re.Pattern[str] | None:
    """Where a file has the name for certain, or None if it has it nowhere."""
    found = [one for glob in PLACES if fnmatch(path, glob) for one in PLACES[glob]]
    text = "|".join(found).replace("SLUG", names.slug).replace("HEADING", names.title)
    return re.compile(text, re.MULTILINE) if found else None


def _doubts(path: str, text: str, *names: Names) -> Iterator[str]:
    """The lines that may have the name of the service, other than those that have the first one."""
    places = _places(path, names[0])
    certain = {found.start() for found in places.finditer(text)} if places else set()
    for one in names:
        words = one.slug.split("-")
        if len(words) > 1:
            pattern = rf"(?i)(?<![a-z0-9]){'[ _-]?'.join(words)}(?![a-z0-9])"
        else:  # it may be in use as a word: only what looks like the name of something on AWS
            more = r"|[-/]\w" if path.endswith(".md") else ""
            pattern = rf"(?<![\w.#-]){one.slug}(?={SUFFIX}{more})"
        for found in re.finditer(pattern, text):
            if found.start() not in certain:
                number = text.count("\n", 0, found.start())
                yield f"{path}:{number + 1}: {text.splitlines()[number].strip()[:100]}"


def read(root: Path) -> Iterator[tuple[str, str]]:
    """The path and text of each file that git tracks, but for pictures and links."""
    for path in _git(root, "ls-files", "-z").split("\0"):
        file = root / path
        if path and path not in LEFT_OUT and file.is_file() and not file.is_symlink():
            try:
                yield path, file.read_bytes().decode()
            except UnicodeDecodeError:
                continue


def _git(root: Path, *arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"git {arguments[0]}: {ended.stderr.strip()}. Nothing was changed.")
    return ended.stdout


if __name__ == "__main__":
    interrupts.run(main, "some files may have the new name; git checkout . undoes it")
