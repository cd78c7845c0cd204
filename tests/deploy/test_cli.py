"""Usage, exit codes, and the ways in which a command can end."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import click
import pytest

from deploy.base import settings
from deploy.base.errors import Interrupted
from deploy.commands.cli import main as cli
from tests.support.aws import REGION, STAGING
from tests.support.owner import OWNER

COMMANDS = sorted(cli.main.commands)
SCRIPT = "scripts/build_and_deploy.sh"


def test_help_lists_every_command_variable_and_exit_code(command):
    code, output = command("--help")
    assert code == 0
    for name in (*COMMANDS, "BUILD_NUMBER", "DEPLOY_TIMEOUT", "SMOKE_TIMEOUT", "130", "--dry-run"):
        assert name in output


def leaves(group, *path):
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from leaves(found, *path, name)
        else:
            yield (*path, name)


def test_no_description_is_cut_off_on_a_terminal_of_80_columns(command):
    for group in ("", "secrets", "writes", "backups", "sentry", "versions"):
        _, output = command(*group.split(), "--help")
        assert "..." not in output.partition("Commands:")[2]


@pytest.mark.parametrize("path", list(leaves(cli.main)), ids=" ".join)
def test_every_command_has_help_without_any_prerequisites(aws, command, path):
    code, output = command(*path, "--help")
    assert code == 0
    assert output.startswith(f"Usage: {SCRIPT} {' '.join(path)}")
    assert not aws.calls


def test_every_command_that_changes_something_has_a_dry_run():
    harmless = {("doctor",), ("status",), ("logs",), ("window",), ("check",)}
    harmless |= {("secrets", "list"), ("backups", "list")}
    for path in leaves(cli.main):
        found = cli.main
        for name in path:
            found = found.commands[name]
        options = {option for one in found.params for option in one.opts}
        assert ("--dry-run" in options) is (path not in harmless), path


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["bild"], "No such command 'bild'"),
        (["--force"], "No such option"),
        (["deploy"], "Missing argument 'ENV'"),
        (["status", "nowhere"], "'nowhere': expected staging, prod (devops/environments.toml)"),
        (["smoke", "staging.example"], "expected staging, prod, or a URL with http:// (devops"),
        (["deploy", "stagin", "--version", "new"], "'stagin': expected staging, prod"),
        (["build", "staging"], "unexpected extra argument"),
        (["deploy", "staging", "prod"], "unexpected extra argument"),
        (["deploy", "staging", "--version"], "requires an argument"),
        (["secrets", "show"], "No such command 'show'"),
        (["secrets", "set", "staging", "TOKEN", "a value"], "unexpected extra argument"),
        (["status", "--json", "--watch"], "do not go together"),
        (["--dry-run", "build"], "the options of build go after build"),
        (["--quiet", "build"], "the options of build go after build"),
        (["build", "--quiet", "--dry-run"], "--dry-run and --quiet do not go together"),
        (["--forward", "deploy", "staging"], "the options of deploy go after deploy"),
    ],
)
def test_wrong_usage_exits_with_2(aws, programs, command, arguments, what):
    code, output = command(*arguments)
    assert code == 2
    assert what in output
    assert not aws.calls
    assert not programs.calls()


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("DEPLOY_TIMEOUT", ("soon", "0"), "a number of minutes"),
        ("HEALTH_TIMEOUT", ("-1",), "a number of seconds"),
        ("SMOKE_TIMEOUT", ("1.5",), "a number of seconds"),
        ("POLL_SECONDS", ("x", "1e3"), "a number of seconds"),
        (
            "AWS_REGION",
            ("Ireland", "EU-WEST-1", "eu_west_1", "eu-west-1 ", "eu-west-1a", "eu-west", "eu"),
            "a region such as eu-west-1",
        ),
    ],
)
def test_invalid_variables_are_refused(aws, command, monkeypatch, name, values, expected):
    for value in values:
        monkeypatch.setenv(name, value)
        code, output = command("status")
        assert code == 2
        assert f"{name} '{value}': expected {expected}" in output
    assert not aws.calls


def test_the_region_comes_from_environment_variables_or_the_file(aws, command, monkeypatch):
    assert "the home region" not in command("status")[1]
    for name, region in (("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_REGION", "eu-north-1")):
        monkeypatch.setenv(name, region)
        code, output = command("status")
        assert code == 0
        assert aws.region == region
        first = f"deploy: in {region}, not in the home region {REGION} ({name})\n"
        assert output == f"{first}there is no environment in {region}\n"
    monkeypatch.setenv("AWS_REGION", REGION)
    assert "the home region" not in command("status")[1]


@pytest.mark.parametrize("arguments", [["create", "staging"], ["bootstrap"]])
@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_nothing_is_created_in_a_region_that_is_not_configured(
    aws, fails, monkeypatch, arguments, dry_run
):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    output = fails(*arguments, *dry_run)
    assert "us-east-1 (AWS_REGION) is not a region of this service" in output
    assert "which has eu-west-1, eu-central-1, eu-north-1" in output
    assert "now: nothing was changed\ndeploy:   next: unset AWS_REGION" in output
    assert not aws.calls


@pytest.mark.parametrize("words", ["backups install", "backups list", "recover"])
def test_commands_for_other_regions_do_not_mention_the_current_one(
    aws, command, monkeypatch, words
):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    output = command(*words.split(), "prod")[1]
    assert "eu-central-1" in output
    assert "in us-east-1, not in" not in output


def test_all_regions_are_accepted():
    session = boto3.Session()
    known = [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("ec2", partition)
    ]
    assert "eu-west-1" in known
    assert [region for region in known if not settings.REGION.fullmatch(region)] == []


@pytest.mark.parametrize("content", [None, "global: [", "global: {}\n"])
def test_an_invalid_configuration_of_eb_is_refused(project, fails, content):
    path = project / ".elasticbeanstalk/config.yml"
    path.write_text(content) if content else path.unlink()
    assert ".elasticbeanstalk/config.yml cannot be used" in fails("status")


# --- How a command can end -----------------------------------------------------------------------------------


def interrupt():
    raise Interrupted


def test_an_interrupted_deployment_releases_its_lock_and_reports(aws, staging, programs, command):
    programs.effects["eb deploy"] = interrupt
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 130
    assert "interrupted. What was started on AWS continues there" in output
    assert f"next: see {SCRIPT} status; run the same command again" in output
    assert not [key for key in aws.objects if key.startswith("locks/")]
    assert "the run was interrupted" in aws.published[0]["Message"]


def test_an_interrupt_before_any_change_says_that_nothing_was_changed(
    aws, staging, tested, command, monkeypatch
):
    monkeypatch.setattr("deploy.delivery.smoke.check_url", lambda *_: interrupt())
    code, output = command("smoke", "http://127.0.0.1:1")
    assert (code, output) == (130, "deploy: interrupted; nothing was changed\n")


def test_a_closed_output_is_not_reported_as_a_bug(aws, staging, command, monkeypatch):
    """As `status | head -1` does."""
    monkeypatch.setattr("deploy.base.console.Console.result", lambda *_: leave())
    code, output = command("status")
    assert (code, output) == (1, "")


def leave():
    raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_quiet_hides_only_the_commands(aws, staging, command):
    code, output = command("deploy", "staging", "--version", "new", "--quiet")
    assert code == 0
    assert "+ " not in output
    assert f"{STAGING} runs new" in output


def test_a_signal_between_the_lock_and_its_confirmation_releases_it(aws, staging, command):
    put = aws.s3_put_object

    def interrupted(**parameters):
        put(**parameters)
        if parameters["Key"].startswith("locks/"):
            raise Interrupted

    aws.s3_put_object = interrupted
    assert command("deploy", "staging", "--version", "new")[0] == 130
    assert not [key for key in aws.objects if key.startswith("locks/")]


def test_a_bug_in_this_program_releases_the_lock_and_shows_where(aws, staging, programs, command):
    def fault():
        raise ZeroDivisionError("here")

    programs.effects["eb deploy"] = fault
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 1
    assert "Traceback" in output
    assert "FAILED: unexpected error: ZeroDivisionError('here')" in output
    assert (
        f"report it with the lines above at https://github.com/{OWNER['repository']}/issues\n"
        in output
    )
    assert not [key for key in aws.objects if key.startswith("locks/")]
    assert "unexpected error" in aws.published[0]["Message"]


def test_a_bug_is_reported_where_the_owner_is_known(aws, command, project):
    def fault(**_):
        raise ZeroDivisionError

    aws.elasticbeanstalk_describe_environments = fault
    (project / "devops/owner.json").unlink()
    output = command("status")[1]
    assert f"next: see {SCRIPT} status; this is a bug in this program\n" in output


# --- The script ---------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path):
    """Runs the script in a copy of the project, whose environment has this ``python``."""
    folder = tmp_path / "a project"
    for name in ("scripts", "deploy", ".elasticbeanstalk", "devops"):
        shutil.copytree(name, folder / name)

    def run(*arguments, python=sys.executable):
        if python:
            path = folder / ".venv/bin/python"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
            path.chmod(0o755)
        ended = subprocess.run(
            [folder / SCRIPT, *arguments],
            cwd="/",
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return ended.returncode, ended.stdout

    return run


@pytest.mark.process
def test_the_script_hands_over_from_any_folder(script):
    code, output = script("window", "--at", "2026-11-24T12:00+01:00")
    assert (code, output[:26]) == (0, "The release window is open")
    assert script("bild")[0] == 2


@pytest.mark.parametrize("python", [None, f"{sys.executable} -S"])
def test_missing_packages_are_reported_with_the_command_that_installs_them(script, python):
    code, output = script("status", python=python)
    assert code == 1
    command = "python3 tools/install.py .venv requirements/deploy.txt"
    assert "make .venv/installed" in output
    assert command in output
    assert all(Path(name).exists() for name in command.split() if "/" in name)
    assert "Traceback" not in output
