"""Locks are installed with progress, and what they bring starts in every folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tools import install


@pytest.fixture
def environment(tmp_path):
    """A virtual environment whose path has blanks and letters of other scripts."""
    return make_environment(tmp_path / "a földer", "--without-pip")


def make_environment(folder, *options):
    subprocess.run([sys.executable, "-m", "venv", *options, folder / ".venv"], check=True)
    return folder / ".venv/bin"


def script(folder, name="tool", interpreter=None):
    path = folder / name
    path.write_text(f"#!{interpreter or folder / 'python'}\nimport sys\nprint(sys.argv[1:])\n")
    path.chmod(0o755)
    return path


def test_a_start_script_works_in_a_folder_with_blanks(environment):
    tool = script(environment)
    with pytest.raises((FileNotFoundError, PermissionError, OSError)):
        subprocess.run([tool])
    for _ in range(2):  # also where that was done before
        install.repair(tool)
        said = subprocess.run([tool, "a b", "'"], capture_output=True, text=True, check=True).stdout
        assert said == "['a b', \"'\"]\n"


@pytest.mark.parametrize("interpreter", ["/usr/bin/env python3", "/bin/sh", "/usr/bin/python"])
def test_what_starts_anyway_is_left_as_it_is(environment, interpreter):
    tool = script(environment, interpreter=interpreter)
    before = tool.read_bytes()
    install.repair(tool)
    assert tool.read_bytes() == before


def test_pythons_themselves_are_left_as_they_are(environment):
    for path in environment.iterdir():
        install.repair(path)
    subprocess.run([environment / "python", "-c", ""], check=True)


def test_a_lock_that_cannot_be_installed_says_why(tmp_path):
    environment = make_environment(tmp_path)
    lock = tmp_path / "lock.txt"
    lock.write_text("flask==0.0.0 --hash=sha256:" + "0" * 64 + "\n")
    shutil.copy("tools/install.py", tmp_path)
    ended = subprocess.run(
        [environment / "python", tmp_path / "install.py", lock],
        env={"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Installing the 1 packages of" in ended.stdout
    assert "No matching distribution found for flask==0.0.0" in ended.stderr
    assert "lock.txt cannot be installed" in ended.stderr


def called_by_name():
    """The Python programs that the checks, the set-up and the deploy tool start by name."""
    files = ("Makefile", "scripts/setup.sh", ".pre-commit-config.yaml")
    text = "".join(Path(name).read_text() for name in files)
    named = set(re.findall(r"\.venv/bin/([\w-]+)", text)) | {"cfn-lint", "eb"}
    here = {name: Path(sys.prefix, "bin", name) for name in named - {"python"}}
    return {
        name: path for name, path in here.items()
        if path.exists() and path.read_bytes()[:2] == b"#!"
    }  # fmt: skip


def test_every_program_starts_in_a_folder_with_blanks(environment):
    programs = called_by_name()
    assert {"eb", "cfn-lint", "pre-commit"} <= set(programs)
    packages = sysconfig.get_path("purelib")
    for name, path in programs.items():
        _, _, rest = path.read_text().partition("\nimport ")
        tool = environment / name
        tool.write_text(f"#!{environment / 'python'}\nimport {rest}")  # as pip may write it
        tool.chmod(0o755)
        install.repair(tool)
        ended = subprocess.run(
            [tool, "--version"],
            env=os.environ | {"PYTHONPATH": packages},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, f"{name}: {ended.stderr}"
        assert re.search(r"\d+\.\d+", ended.stdout + ended.stderr), name
