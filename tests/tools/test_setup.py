"""Setting up a clone, on machines with and without the prerequisites."""

import os
import re
import shutil
import subprocess

import pytest

STUB = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
*"$FAILS"*) exit 1 ;;
"python3 -c"*) exit "$UNFIT" ;;
"pyenv latest"*) echo 3.13.9 ;;
"pyenv prefix"*) echo /pyenv/versions/$2 ;;
*.venv/installed*) mkdir -p .venv/bin && cp "$0" .venv/bin/pre-commit ;;
esac
"""
TOOLS = ("git", "make", "docker", "pyenv", "python3")


class Machine:
    """A machine with some commands, and a repository that can be cloned."""

    def __init__(self, folder):
        self.folder, self.bin, self.log = folder / "work", folder / "bin", folder / "calls"
        self.repository = folder / "repository"
        self.folder.mkdir()
        self.bin.mkdir()
        for name in (
            "bash",
            "sh",
            "basename",
            "dirname",
            "uname",
            "mkdir",
            "cp",
            "cat",
            "sed",
            "git",
        ):
            (self.bin / name).symlink_to(shutil.which(name))
        for name in TOOLS[1:]:
            (self.bin / name).write_text(STUB)
            (self.bin / name).chmod(0o755)
        (self.repository / "scripts").mkdir(parents=True)
        shutil.copy("scripts/setup.sh", self.repository / "scripts")
        (self.repository / ".gitignore").write_text(".venv\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Something")

    def git(self, *arguments, folder=None):
        command = [
            "git",
            "-c",
            "user.name=Somebody",
            "-c",
            "user.email=owner@example.com",
            *arguments,
        ]
        return subprocess.run(
            command, cwd=folder or self.repository, check=True, capture_output=True, text=True
        ).stdout.strip()

    def run(self, *arguments, script="scripts/setup.sh", fails="nothing at all", unfit=0):
        """Exit code and output; ``unfit`` is the exit code of Python when asked whether it fits."""
        path = self.repository / script if script == "scripts/setup.sh" else script
        ended = subprocess.run(
            [path, *arguments],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            env={
                "PATH": str(self.bin),
                "CALLS": str(self.log),
                "FAILS": fails,
                "UNFIT": str(unfit),
                "HOME": str(self.folder),
                "LANG": os.environ.get("LANG", "C"),
            },
        )
        return ended.returncode, ended.stdout

    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_clone_is_set_up(machine):
    code, output = machine.run("GREET-12", str(machine.repository))
    assert code == 0, output
    assert "GREET-12 is ready" in output
    assert machine.git("branch", "--show-current", folder=machine.folder / "GREET-12") == "GREET-12"
    assert machine.calls()[-3:] == [
        f"make PYTHON={machine.bin}/python3 .venv/installed",
        "pre-commit install",
        "make test",
    ]


def test_without_a_fitting_python_pyenv_installs_one(machine):
    code, output = machine.run("GREET-12", str(machine.repository), unfit=1)
    assert code == 0, output
    assert "make PYTHON=/pyenv/versions/3.13.9/bin/python3 .venv/installed" in machine.calls()


def test_a_repeated_set_up_does_not_change_any_work(machine):
    machine.run("GREET-12", str(machine.repository))
    clone = machine.folder / "GREET-12"
    (clone / "mine").write_text("unfinished")
    machine.git("switch", "--quiet", "main", folder=clone)
    code, output = machine.run("GREET-12", str(machine.repository))
    assert code == 0, output
    assert (clone / "mine").read_text() == "unfinished"
    assert machine.git("branch", "--show-current", folder=clone) == "GREET-12"


def test_a_branch_that_was_pushed_is_continued(machine):
    machine.git("branch", "GREET-12")
    machine.git("switch", "--quiet", "GREET-12")
    machine.git("commit", "--quiet", "--allow-empty", "--message", "Begun")
    machine.git("switch", "--quiet", "main")
    code, output = machine.run("GREET-12", str(machine.repository))
    assert code == 0, output
    assert machine.git("log", "-1", "--format=%s", folder=machine.folder / "GREET-12") == "Begun"


def test_the_default_repository_is_that_of_the_scripts_own_clone(machine):
    machine.run("GREET-1", str(machine.repository))
    script = machine.folder / "GREET-1/scripts/setup.sh"
    code, output = machine.run("GREET-2", script=script)
    assert code == 0, output
    assert (machine.folder / "GREET-2/.git").is_dir()


def test_a_script_outside_a_clone_needs_a_repository(machine, tmp_path):
    shutil.copy("scripts/setup.sh", tmp_path / "setup.sh")
    code, output = machine.run("GREET-2", script=tmp_path / "setup.sh")
    assert code == 1
    assert "pass the repository: setup.sh TICKET REPOSITORY" in output


@pytest.mark.parametrize("tool", ["git", "make", "pyenv"])
def test_a_missing_tool_is_named_with_the_way_to_get_it(machine, tool):
    (machine.bin / tool).unlink()
    code, output = machine.run("GREET-12", str(machine.repository), unfit=1)
    assert code == 1
    assert "install it and run this again" in output
    assert re.search(rf"{tool}\b.*: .*(install|https:)", output)
    assert "nothing was changed" in output
    assert not (machine.folder / "GREET-12").exists()


def test_all_missing_tools_are_named_at_once(machine):
    for tool in ("make", "pyenv", "python3"):
        (machine.bin / tool).unlink()
    _, output = machine.run("GREET-12", str(machine.repository))
    assert "make is not installed" in output
    assert "https://github.com/pyenv/pyenv#installation" in output


@pytest.mark.parametrize("fails", ["docker compose version", "docker info"])
def test_docker_is_optional_and_its_purpose_is_named(machine, fails):
    code, output = machine.run("GREET-12", str(machine.repository), fails=fails)
    assert code == 0, output
    assert "docker compose up, make test-docker and make cloud" in output
    assert "https://docs.docker.com/" in output


@pytest.mark.parametrize(
    ("fails", "what"),
    [
        ("pyenv install", "pyenv cannot install Python 3.13"),
        ("pyenv latest", "pyenv does not find Python 3.13"),
        ("pyenv prefix", "pyenv does not find Python 3.13"),
        (".venv/installed", "the development dependencies cannot be installed"),
        ("pre-commit install", "the checks before each commit cannot be installed"),
        ("make test", "the tests fail on this machine"),
    ],
)
def test_each_step_that_fails_says_what_to_do(machine, fails, what):
    code, output = machine.run("GREET-12", str(machine.repository), fails=fails, unfit=1)
    assert code == 1
    assert what in output
    assert "  next: " in output


def test_a_repository_that_cannot_be_cloned_is_a_failure(machine):
    code, output = machine.run("GREET-12", str(machine.folder / "nowhere"))
    assert code == 1
    assert "cannot be cloned" in output


def test_a_folder_that_is_not_a_clone_is_unchanged(machine):
    (machine.folder / "GREET-12").mkdir()
    code, output = machine.run("GREET-12", str(machine.repository))
    assert code == 1
    assert "is not a clone; it was left unchanged" in output


@pytest.mark.parametrize(
    "arguments", [[], ["12"], ["GREET"], ["GREET-1;rm"], ["../A-1"], ["A-1", "b", "c"]]
)
def test_wrong_usage_is_refused(machine, arguments):
    code, output = machine.run(*arguments)
    assert code == 2
    assert "scripts/setup.sh --help" in output
    assert not machine.calls()


def test_help_is_printed_and_nothing_else_is_done(machine):
    code, output = machine.run("--help")
    assert code == 0
    assert output.startswith("Set up a clone for one ticket")
    assert "Exit codes: 0" in output
    assert not machine.calls()
