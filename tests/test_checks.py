"""The list of static checks: there is only one, and the checks find what they should."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

HOOKS = {
    hook["id"]: hook
    for hook in yaml.safe_load(Path(".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
}
KEY = "AKIA" + "IOSFODNN7" + "REALKEY"
MIXTURE = "u8XvQ2" + "pL9sRt4W"


def encoded(value):
    """A part of a JSON Web Token."""
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_ci_runs_the_tests_of_every_marker_and_those_without():
    targets = re.findall(r"^part .*\bmake ([a-z-]+)", Path(".ci/run").read_text(), re.MULTILINE)
    commands = subprocess.run(
        ["make", "--dry-run", *targets], capture_output=True, text=True
    ).stdout
    selections = re.findall(r"pytest\b.* -m (?:'(.+?)'|(\w+))", commands)
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    names = [marker.partition(":")[0] for marker in settings["markers"]]
    for marker in [*names, "none"]:
        given = {name: name == marker for name in names}
        assert any(eval("".join(one), given) for one in selections), marker


def test_every_check_is_run_from_this_checkout():
    for name, hook in HOOKS.items():
        assert hook["language"] == "system"
        if name == "packages":  # which installs them
            continue
        words = hook["entry"].split()
        program = next(word for word in words if "=" not in word and word != "env")
        assert program.startswith((".venv/bin/", "scripts/")), hook["entry"]


def test_a_worktree_gets_its_packages_at_the_first_commit(tmp_path):
    """Its hooks are those of the checkout that it belongs to, but its .venv does not exist."""
    (tmp_path / "Makefile").write_text(".venv/%:\n\t@echo installing $@\n")
    first = next(iter(HOOKS))
    entry = shlex.split(HOOKS[first]["entry"])
    alone = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    made = subprocess.run(
        entry, cwd=tmp_path, env=alone, capture_output=True, text=True, check=True
    )
    assert made.stdout == "installing .venv/installed\ninstalling .venv/checkov/installed\n"
    assert subprocess.run(entry, capture_output=True, text=True, check=True).stdout == ""
    assert HOOKS[first]["fail_fast"]  # the others could only say that their program is not found


# By the detector of .ci/secrets.baseline: what it reports, of which line; in parts, to be no finding
PLANTED = {
    "AWSKeyDetector": ("AWS Access Key", f"the key is {KEY}"),
    "Base64HighEntropyString": (
        "Base64 High Entropy String",
        f"session = '{b64encode(sha256(b'a key').digest()).decode()}'",
    ),
    "BasicAuthDetector": (
        "Basic Auth Credentials",
        f"postgresql://app:{MIXTURE}@host/app",
    ),
    "GitHubTokenDetector": ("GitHub Token", "gh" + "p_" + f"{MIXTURE}{MIXTURE}Zk7mWq3x"),
    "HexHighEntropyString": (
        "Hex High Entropy String",
        f"digest = '{sha256(b'a key').hexdigest()}'",
    ),
    "JwtTokenDetector": (
        "JSON Web Token",
        ".".join(map(encoded, ({"alg": "HS256"}, {"sub": "somebody"}, "signature"))),
    ),
    "KeywordDetector": ("Secret Keyword", f"password = '{MIXTURE}'"),
    "SlackDetector": ("Slack Token", "xo" + "xb-123456789012-210987654321-" + MIXTURE),
}
SURROUNDED = {
    "name-of-a-key": f"aws_key = '{KEY}'",
    "name-of-a-service": f"secretsmanager: {KEY}",
    "comment-about-a-key": f"environmentsecrets = '{KEY}'  # for-development",
    "comment-about-a-password": f"password = '{MIXTURE}'  # old-one",
    "call": f"connect(password='{MIXTURE}')",
}
PLACEHOLDERS = 'url = "postgresql://app:for-development@db/app"'
PRIVATE_KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----"


def run(hook, folder):
    """The exit code and output of a check, in this environment, of all files in ``folder``."""
    command = [sys.executable, *HOOKS[hook]["entry"].split()[1:], *map(str, folder.iterdir())]
    ended = subprocess.run(command, capture_output=True, text=True)
    return ended.returncode, ended.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the check for secrets finds in files that each have one: the types by file."""
    folder = tmp_path_factory.mktemp("secrets")
    lines = {detector: line for detector, (_, line) in PLANTED.items()}
    for name, line in (lines | SURROUNDED | {"placeholder": PLACEHOLDERS}).items():
        (folder / f"{name}.py").write_text(f"{line}\n")
    code, output = run("secrets", folder)
    assert code == 1, output
    types = {}
    for kind, file in re.findall(r"^Secret Type: (.*)\nLocation: +(.*):\d+$", output, re.MULTILINE):
        types.setdefault(Path(file).stem, set()).add(kind)
    return types


@pytest.mark.parametrize("detector", PLANTED)
def test_a_secret_of_each_kind_is_found(found, detector):
    assert PLANTED[detector][0] in found[detector]


def test_every_detector_has_its_planted_secret():
    baseline = json.loads(Path(".ci/secrets.baseline").read_text())
    assert {one["name"] for one in baseline["plugins_used"]} == set(PLANTED)


@pytest.mark.parametrize("surroundings", SURROUNDED)
def test_a_secret_is_found_whatever_surrounds_it(found, surroundings):
    assert surroundings in found


def test_placeholders_are_not_secrets(found):
    assert "placeholder" not in found


def test_private_keys_are_found(tmp_path):
    """By a check of their own, which is why no detector looks for them."""
    (tmp_path / "id_ed25519").write_text(f"{PRIVATE_KEY}\n")
    code, output = run("private-keys", tmp_path)
    assert code == 1
    assert "Private key found" in output


@pytest.mark.parametrize("change", ["source", "lock"])
def test_a_lock_file_that_is_out_of_date_is_found(tmp_path, change):
    """Without a network: by a fingerprint."""
    from tools import locks

    source, lock = tmp_path / "deploy.in", tmp_path / "deploy.txt"
    source.write_bytes(Path("requirements/deploy.in").read_bytes())
    lock.write_bytes(Path("requirements/deploy.txt").read_bytes())
    locks.check(source, lock)
    if change == "source":
        source.write_text(source.read_text() + "requests\n")
    else:
        lock.write_text(lock.read_text().replace("click==", "click==0."))
    with pytest.raises(SystemExit, match="is not up to date"):
        locks.check(source, lock)


def test_every_kind_of_dependency_is_updated_a_week_after_its_release():
    updates = yaml.safe_load(Path(".github/dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"pip", "docker", "docker-compose"}
    for one in updates:
        assert one["cooldown"]["default-days"] >= 7
        assert Path(one["directory"].lstrip("/") or ".").is_dir()
