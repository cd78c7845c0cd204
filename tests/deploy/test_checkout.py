"""The checkout that all tests of the deploy tool share: each finds it as the first one did."""

import shutil
from pathlib import Path

import pytest

from tests.support.checkout import commit, git

CONFIG, OWNER = ".elasticbeanstalk/config.yml", "devops/owner.json"


def rewrite(root):
    (root / OWNER).write_text((root / OWNER).read_text().replace("a", "b"))


def append(root):
    with (root / OWNER).open("a") as file:
        file.write("x")


def replace_by_link(root):
    (root / CONFIG).unlink()
    (root / CONFIG).symlink_to("/etc/hostname")


def replace_folder_by_file(root):
    shutil.rmtree(root / "devops")
    (root / "devops").write_text("x")


def replace_file_by_folder(root):
    (root / CONFIG).unlink()
    (root / CONFIG).mkdir()


def commit_a_change(root):
    rewrite(root)
    commit(root, "Another")


CHANGES = {
    "rewrite": rewrite,
    "append": append,
    "remove": lambda root: (root / OWNER).unlink(),
    "remove a folder": lambda root: shutil.rmtree(root / ".ebextensions"),
    "add": lambda root: (root / "dist/templates").mkdir(parents=True),
    "mode": lambda root: (root / CONFIG).chmod(0o600),
    "mode of a folder": lambda root: (root / "devops").chmod(0o700),
    "link": replace_by_link,
    "file for folder": replace_folder_by_file,
    "folder for file": replace_file_by_folder,
    "commit": commit_a_change,
    "branch": lambda root: git(root, "switch", "--quiet", "--create", "another"),
}


def content(root):
    """Everything below a folder, by path."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes(),
        )
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_test_changed_is_restored(checkout, change):
    root = Path(checkout.root)
    before = content(root)
    CHANGES[change](root)
    assert content(root) != before
    checkout.restore()
    assert content(root) == before
    assert git(root, "status", "--porcelain") == ""
    checkout.restore()  # git may have updated its index


def test_nothing_that_a_test_writes_reaches_the_files_of_this_project(project):
    """No file is shared, as hard or symbolic link."""
    files = [path for path in project.rglob("*") if not path.is_dir()]
    assert len(files) > 40
    for path in files:
        assert path.lstat().st_nlink == 1, path
        assert not path.is_symlink() or path.resolve().is_relative_to(project), path
