"""The texts that people read in this checkout, with or without git."""

import os
from pathlib import Path

# As in .gitignore and .dockerignore
LEFT_OUT = {
    ".git",
    ".venv",
    ".local",
    "dist",
    "__pycache__",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
}


def read() -> dict[str, str]:
    """The text of each file by its name; without pictures, links and what a run left."""
    found = {}
    for folder, folders, names in os.walk("."):
        folders[:] = [one for one in folders if one not in LEFT_OUT]
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or name.startswith(".coverage") or name == ".env":
                continue
            try:
                found[str(path)] = path.read_text()
            except UnicodeDecodeError:
                continue
    return found
