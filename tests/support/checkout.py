"""A checkout that tests may write to: one for all tests of a worker, restored after each."""

import os
import shutil
import subprocess
from pathlib import Path
from stat import S_ISDIR


class Checkout:
    """The folder ``root`` as it is now; it is copied to ``original``, from which it is restored."""

    def __init__(self, root: Path, original: Path) -> None:
        shutil.copytree(root, original, symlinks=True)
        self.root, self._original = str(root), str(original)
        self._state = self._read()

    def restore(self) -> None:
        """Undo what was added, changed or removed."""
        different = {path for path, _ in self._state.items() ^ self._read().items()}
        for path in sorted(different):  # folders before what they contain
            here, there = self.root + path, self._original + path
            if os.path.lexists(here):
                shutil.rmtree(here) if _is_folder(here) else Path(here).unlink()
            if os.path.lexists(there) and _is_folder(there):
                shutil.copytree(there, here, symlinks=True)
            elif os.path.lexists(there):
                shutil.copy2(there, here, follow_symlinks=False)
        if different:
            self._state = self._read()

    def _read(self) -> dict[str, tuple[int, ...]]:
        """What identifies the content of each file, by its path; of folders only the mode."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                path = f"{folder}/{name}"
                stat = os.lstat(path)
                file = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                content = () if S_ISDIR(stat.st_mode) else file
                found[path.removeprefix(self.root)] = (stat.st_mode, *content)
        return found


def git(root: Path, *arguments: str) -> str:
    """The output of a git command in ``root``."""
    names = ("-c", "user.name=Somebody", "-c", "user.email=owner@example.com")
    ended = subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True)
    return ended.stdout.decode(errors="replace").strip()


def commit(root: Path, message: str) -> str:
    """Commit all changes; returns the prefix of the version labels for that commit."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)
    return git(root, "rev-parse", "--short=12", "HEAD")


def _is_folder(path: str) -> bool:
    return S_ISDIR(os.lstat(path).st_mode)
