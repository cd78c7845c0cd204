"""Install a lock file into the virtual environment that runs this program, and show the progress.

Usage: .venv/bin/python tools/install.py LOCK

Needs only pip. If pip fails, prints its output and exits with 1.

Every package is verified by its hash. Packages come as wheels; one without a wheel is built here,
with the build tools of requirements/build.txt. It is built each time, because pip's cache of an
earlier build is not covered by a hash.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = ["-m", "pip", "install", "--disable-pip-version-check", "--require-hashes"]
WITHOUT_WHEEL = ("awsebcli",)
BUILD = ("--no-cache-dir", "--no-deps", "--no-build-isolation", "--use-pep517")
BUILD_TOOLS = Path(__file__).parent.parent / "requirements/build.txt"
ONE_BY_ONE = re.MULTILINE | re.DOTALL
LONGEST_SHEBANG = 127  # bytes; the limit of older Linux kernels


def main() -> None:
    """Exits with a message if a package cannot be installed."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    lock = Path(sys.argv[1])
    text = lock.read_text()
    built = [re.search(rf"^{name}==.*?(?=^\S|\Z)", text, ONE_BY_ONE) for name in WITHOUT_WHEEL]
    if any(built):
        install(BUILD_TOOLS)
        build("".join(found[0] for found in built if found))
    install(lock)
    for script in Path(sys.executable).parent.iterdir():
        repair(script)


def install(lock: Path) -> None:
    """Install the wheels of ``lock``. Raises SystemExit with pip's output."""
    wanted = len(re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==", lock.read_text(), re.MULTILINE))
    name, where = os.path.relpath(lock), os.path.relpath(sys.prefix)
    print(f"Installing the {wanted} packages of {name} into {where} (once)...", flush=True)
    pip = subprocess.Popen(
        [sys.executable, *COMMAND, "--only-binary=:all:", "-r", str(lock)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    with pip:
        for line in pip.stdout or ():
            said.append(line)
            _show(said, wanted)
    if pip.returncode:
        raise SystemExit(f"{''.join(said[-20:])}make: {name} cannot be installed; see above why.")


def build(requirements: str) -> None:
    """Build and install the packages without a wheel. Raises SystemExit with pip's output."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "lock.txt")
        lock.write_text(requirements)
        pip = subprocess.run(
            [sys.executable, *COMMAND, *BUILD, "-r", str(lock)], capture_output=True, text=True
        )
    if pip.returncode:
        raise SystemExit(
            f"{pip.stdout}{pip.stderr}make: these cannot be built; see above why.\n{requirements}"
        )


def repair(script: Path) -> None:
    """Make ``script`` work if the path of its interpreter contains blanks or is too long.

    pip does this for the start scripts that it generates, but not for those that a package
    ships, such as that of the AWS CLI.
    """
    if script.is_symlink() or not script.is_file():
        return
    first, line_break, rest = script.read_bytes().partition(b"\n")
    interpreter = first.removeprefix(b"#!")
    if not first.startswith(b"#!/") or not interpreter.endswith(b"/python"):
        return
    if b" " in interpreter or len(first) > LONGEST_SHEBANG:
        start = b"#!/bin/sh\n'''exec' \"" + interpreter + b'" "$0" "$@"\n' + b"' '''"
        script.write_bytes(start + line_break + rest)


def _show(said: list[str], wanted: int) -> None:
    """On a terminal, one line that is updated; nothing in a file."""
    if not sys.stdout.isatty():
        return
    seen = sum(
        line.startswith(("Collecting ", "Requirement already", "Ignoring ")) for line in said
    )
    step = "installing" if said[-1].startswith("Installing collected") else "downloading"
    print(f"\r  {step}: {min(seen, wanted)} of {wanted}  ", end="", flush=True)
    if said[-1].startswith("Successfully installed"):
        print()


if __name__ == "__main__":
    main()
