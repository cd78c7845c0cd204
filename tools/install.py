"""Install a lock into the virtual environment that runs this, and show how far it is.

Usage: .venv/bin/python tools/install.py LOCK

Needs nothing but pip. Says what pip said where that fails, with exit code 1.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

COMMAND = ["-m", "pip", "install", "--disable-pip-version-check", "--require-hashes", "-r"]
LONGEST_SHEBANG = 127  # bytes, of older Linux kernels


def main() -> None:
    """Exits with a sentence when something cannot be installed."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    lock = Path(sys.argv[1])
    wanted = len(re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==", lock.read_text(), re.MULTILINE))
    where = os.path.relpath(sys.prefix)
    print(f"Installing the {wanted} packages of {lock} into {where} (once)...", flush=True)
    pip = subprocess.Popen(
        [sys.executable, *COMMAND, lock],
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
        raise SystemExit(f"{''.join(said[-20:])}make: {lock} cannot be installed; see above why.")
    for script in Path(sys.executable).parent.iterdir():
        repair(script)


def repair(script: Path) -> None:
    """Make ``script`` start where the path of its interpreter has blanks or is too long.

    pip does so for the start scripts that it writes itself, but not for those that a package
    brings, such as the one of the AWS CLI.
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
    """One line on a terminal, which changes; nothing in a file."""
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
