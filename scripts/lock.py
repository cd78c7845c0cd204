"""Write the hashed lock files from their .in files, or check that they are what would be written.

Usage: python -m scripts.lock [--check | --upgrade]

Asks the package index for what is not in uv's cache; without a network, the cache alone serves.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = tuple(f"requirements{part}" for part in ("", "-run", "-deploy", "-dev", "-checkov"))
COMPILE = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-strip-extras",  # pip before 23.3 goes for the newest release otherwise
)


def main() -> None:
    """Exits with a sentence when a lock is out of date, or cannot be made."""
    options = sys.argv[1:]
    for name in LOCKS:
        current = Path(f"{name}.txt")
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder, current.name)
            if current.exists():
                shutil.copy(current, new)  # what is pinned stays so where it still fits
            _compile(Path(f"{name}.in"), new, [option for option in options if option != "--check"])
            if "--check" not in options:
                shutil.copy(new, current)
            elif not current.exists() or new.read_text() != current.read_text():
                raise SystemExit(f"{current} is not up to date with {name}.in: run `make lock`.")


def _compile(source: Path, target: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *COMPILE, *options]
    command += ["--custom-compile-command=make lock", str(source), "-o", str(target)]
    online = subprocess.run(command, capture_output=True, text=True)
    if online.returncode and subprocess.run([*command, "--offline"]).returncode:
        raise SystemExit(f"{source} cannot be resolved:\n{online.stderr}")


if __name__ == "__main__":
    main()
