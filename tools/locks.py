"""Write the lock files with hashes from their .in files, or check that they are up to date.

Usage: python -m tools.locks [--check | --upgrade]

Releases younger than a week are not adopted: most malicious ones are found by then. A security fix
is, if the comment of its line in an .in file says "at once", and why: `flask  # at once: CVE-...`.

Needs the package index. The check does not, and its result does not depend on the date: each lock
ends with a fingerprint of itself and of its .in files.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import install, interrupts

FOLDER = Path("requirements")
LOCKS = ("uv", "build", "main", "run", "deploy", "dev", "checkov")
COMPILE = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--exclude-newer=1 week",
)
# A release that one of them offers without its date would hide that of the index
EXTRA_INDEXES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
AT_ONCE = re.compile(r"^([\w.-]+).*#.*\bat once: \S", re.MULTILINE)
FINGERPRINT = "# fingerprint: "


def main() -> None:
    """Exits with a message if a lock file is out of date, or cannot be written."""
    options = sys.argv[1:]
    for name in LOCKS:
        source, lock = FOLDER / f"{name}.in", FOLDER / f"{name}.txt"
        if options == ["--check"]:
            check(source, lock)
        else:
            write(source, lock, options)


def check(source: Path, lock: Path) -> None:
    """Raises SystemExit unless ``lock`` was made from ``source`` and not edited."""
    text = lock.read_text() if lock.exists() else ""
    packages, _, found = text.partition(FINGERPRINT)
    if found.strip() != _fingerprint(source, packages):
        raise SystemExit(f"{lock} is not up to date with {source}: run `make lock`.")


def write(source: Path, lock: Path, options: list[str]) -> None:
    """Resolve ``source`` into ``lock``; pinned versions are kept if they still fit."""
    with tempfile.TemporaryDirectory(dir=lock.parent) as folder:
        new = Path(folder, lock.name)
        if lock.exists():
            shutil.copy(lock, new)
        _compile(source, new, options)
        packages = new.read_text()
        new.write_text(f"{packages}{FINGERPRINT}{_fingerprint(source, packages)}\n")
        new.replace(lock)


def _fingerprint(source: Path, packages: str) -> str:
    wanted = "\n".join(requirements(source))
    return hashlib.sha256(f"{wanted}\n{packages}".encode()).hexdigest()


def requirements(source: Path) -> list[str]:
    """The requirements of ``source`` and of the files that it includes, without comments."""
    found = []
    for line in source.read_text().splitlines():
        wanted = re.sub(r"\s*#.*", "", line)
        if wanted.startswith("-r "):
            found += requirements(source.parent / wanted.removeprefix("-r "))
        elif wanted:
            found.append(wanted)
    return found


def exempt(folder: Path) -> list[str]:
    """The options for the packages whose newest release is adopted within a week."""
    found = [AT_ONCE.findall(source.read_text()) for source in sorted(folder.glob("*.in"))]
    return [f"--exclude-newer-package={name}=2999-01-01" for names in found for name in names]


def _compile(source: Path, target: Path, options: list[str]) -> None:
    command = [str(install.UV / "bin/uv"), "pip", "compile", "--quiet", *COMPILE]
    command += [*exempt(FOLDER), *options]
    command += ["--custom-compile-command=make lock", str(source), "-o", str(target)]
    env = install.uv_environment(install.read_pip_settings(install.find_pip()))
    for name in EXTRA_INDEXES:
        env.pop(name, None)
    ended = subprocess.run(command, capture_output=True, text=True, env=env)
    if ended.returncode:
        raise SystemExit(f"{ended.stderr}make: {source} cannot be resolved; see above why.")


if __name__ == "__main__":
    interrupts.run(main, "each lock file is the old one or the new one; run it again")
