"""Write the lock files with hashes from their .in files, or check that they are up to date.

Usage: python -m tools.locks [--check | --upgrade]

Queries the package index for packages that are not in uv's cache; without a network, only the cache
is used. The check needs neither, because each lock ends with a fingerprint of itself and of its .in
files.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path("requirements")
LOCKS = ("build", "main", "run", "deploy", "dev", "checkov")
COMPILE = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-strip-extras",  # otherwise pip before 23.3 takes the newest release
)
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
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder, lock.name)
        if lock.exists():
            shutil.copy(lock, new)
        _compile(source, new, options)
        packages = new.read_text()
        new.write_text(f"{packages}{FINGERPRINT}{_fingerprint(source, packages)}\n")
        shutil.copy(new, lock)


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


def _compile(source: Path, target: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *COMPILE, *options]
    command += ["--custom-compile-command=make lock", str(source), "-o", str(target)]
    online = subprocess.run(command, capture_output=True, text=True)
    if online.returncode and subprocess.run([*command, "--offline"]).returncode:
        raise SystemExit(f"{source} cannot be resolved:\n{online.stderr}")


if __name__ == "__main__":
    main()
