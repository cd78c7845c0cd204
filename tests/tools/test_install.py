"""Lock files are installed with progress, and their programs start in every folder."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools import install


@pytest.fixture
def environment(tmp_path):
    """A virtual environment whose path has blanks and letters of other scripts."""
    return make_environment(tmp_path / "a földer", "--without-pip")


@pytest.fixture(scope="module")
def with_pip(tmp_path_factory):
    """The Python of a virtual environment with pip; no test leaves something in it that others need."""
    return make_environment(tmp_path_factory.mktemp("with-pip")) / "python"


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
def test_scripts_that_start_anyway_are_left_unchanged(environment, interpreter):
    tool = script(environment, interpreter=interpreter)
    before = tool.read_bytes()
    install.repair(tool)
    assert tool.read_bytes() == before


def test_python_interpreters_are_left_unchanged(environment):
    for path in environment.iterdir():
        install.repair(path)
    subprocess.run([environment / "python", "-c", ""], check=True)


def test_a_lock_file_that_cannot_be_installed_says_why(tmp_path, with_pip):
    lock = tmp_path / "lock.txt"
    lock.write_text("flask==0.0.0 --hash=sha256:" + "0" * 64 + "\n")
    shutil.copy("tools/install.py", tmp_path)
    ended = subprocess.run(
        [with_pip, tmp_path / "install.py", lock],
        env={"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Installing the 1 packages of" in ended.stdout
    assert "No matching distribution found for flask==0.0.0" in ended.stderr
    assert "lock.txt cannot be installed" in ended.stderr


@pytest.fixture
def without_network(tmp_path):
    """The variables that let pip find packages in a folder only, and a folder with build tools."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "requirements").mkdir()
    shutil.copy("tools/install.py", tmp_path / "tools")
    (tmp_path / "requirements/build.txt").write_text("")
    tools = tmp_path / "build-tools"
    tools.mkdir()
    for pattern in ("setuptools*", "_distutils_hack"):
        for path in Path(sysconfig.get_path("purelib")).glob(pattern):
            (tools / path.name).symlink_to(path)
    return {
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": str(tmp_path / "sources"),
        "PIP_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(tools),
        "PATH": os.environ["PATH"],
    }


def source_package(folder, name, text):
    """A source distribution with one module, in ``folder``/sources; its line in a lock."""
    path = folder / f"sources/{name}-1.0.tar.gz"
    path.parent.mkdir(exist_ok=True)
    setup = (
        f"import setuptools\nsetuptools.setup(name={name!r}, version='1.0', py_modules=[{name!r}])"
    )
    with tarfile.open(path, "w:gz") as packed:
        for file, content in (("setup.py", setup), (f"{name}.py", text)):
            entry = tarfile.TarInfo(f"{name}-1.0/{file}")
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content.encode()))
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_a_cached_build_of_pip_is_not_installed(tmp_path, with_pip, without_network):
    """Its hash covers the source, and not what somebody put into the cache."""
    lock = tmp_path / "lock.txt"
    lock.write_text("# A lock\n" + source_package(tmp_path, "awsebcli", "WHAT = 'the source'"))
    subprocess.run(
        [with_pip, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--use-pep517",
         "--wheel-dir", tmp_path / "wheels", "awsebcli"],
        env=without_network, check=True,
    )  # fmt: skip
    [cached] = (tmp_path / "cache").glob("wheels/**/awsebcli-*.whl")
    with zipfile.ZipFile(cached) as wheel:
        content = {name: wheel.read(name) for name in wheel.namelist()}
    content["awsebcli.py"] = b"WHAT = 'something else'"
    with zipfile.ZipFile(cached, "w") as wheel:
        for name, data in content.items():
            wheel.writestr(name, data)
    subprocess.run([with_pip, tmp_path / "tools/install.py", lock], env=without_network, check=True)
    found = subprocess.run(
        [with_pip, "-c", "import awsebcli; print(awsebcli.WHAT)"], capture_output=True, text=True
    )
    assert found.stdout == "the source\n"


def test_no_other_package_is_built_from_source(tmp_path, with_pip, without_network):
    lock = tmp_path / "lock.txt"
    lock.write_text("# A lock\n" + source_package(tmp_path, "another", ""))
    ended = subprocess.run(
        [with_pip, tmp_path / "tools/install.py", lock],
        env=without_network, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 1
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
