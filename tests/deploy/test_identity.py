"""boto3, the EB CLI and what is printed for the AWS CLI act in one account, in one region."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from deploy.base import settings
from deploy.base.errors import InvalidConfig
from deploy.base.settings import InvalidSetting
from tests.support.aws import STAGING

KEYS = {"AWS_ACCESS_KEY_ID": "of the environment", "AWS_SECRET_ACCESS_KEY": "x"}
# Prints whose keys boto3 and the EB CLI take, which is called as its own hooks do before a command
WHO = """
import json, sys
import boto3
from ebcli.core import hooks
from ebcli.lib import aws
hooks.set_profile(sys.argv[sys.argv.index("--profile") + 1] if "--profile" in sys.argv else None)
hooks.set_region(sys.argv[sys.argv.index("--region") + 1])
eb = aws._get_botocore_session()
sessions = (boto3.Session(), eb)
print(json.dumps([one.get_credentials().access_key for one in sessions] + [aws.get_region_name()]))
"""


@pytest.fixture
def clean(project, tmp_path):
    """An environment with two profiles, and nothing of whoever runs the tests."""
    config = tmp_path / "config"
    config.write_text(
        "".join(
            f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = x\n"
            for name, key in (("default", "of default"), ('profile "some one"', "of some one"))
        )
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@pytest.mark.process
@pytest.mark.parametrize(
    ("own", "who"),
    [
        ({}, "of default"),
        ({"AWS_PROFILE": "some one"}, "of some one"),
        ({"AWS_DEFAULT_PROFILE": "some one"}, "of some one"),
        ({"AWS_PROFILE": "some one", "AWS_EB_PROFILE": "some one"}, "of some one"),
        (KEYS, "of the environment"),
        (KEYS | {"AWS_PROFILE": "some one"}, "of the environment"),
    ],
)
def test_boto3_and_eb_use_the_same_identity(project, clean, own, who):
    env = clean | own | {"AWS_REGION": "eu-north-1"}
    options = settings.load(env, project).eb_options
    ended = subprocess.run(
        [sys.executable, "-c", WHO, *options],
        cwd=project,
        env=env,
        check=True,
        capture_output=True,
    )
    assert json.loads(ended.stdout) == [who, who, "eu-north-1"]


@pytest.mark.parametrize(
    ("own", "name", "profile"),
    [
        ({"AWS_EB_PROFILE": "one"}, "AWS_EB_PROFILE", "default"),
        ({"AWS_PROFILE": "two", "AWS_EB_PROFILE": "one"}, "AWS_EB_PROFILE", "two"),
        ({"AWS_DEFAULT_PROFILE": "two", "AWS_EB_PROFILE": "one"}, "AWS_EB_PROFILE", "two"),
        ({"AWS_PROFILE": "two", "AWS_DEFAULT_PROFILE": "one"}, "AWS_DEFAULT_PROFILE", "two"),
    ],
)
def test_two_profiles_are_refused(project, clean, own, name, profile):
    """boto3 and the AWS CLI read the first two in different orders, and eb only its own one."""
    with pytest.raises(InvalidSetting, match=f"{name} 'one', but the profile is '{profile}'"):
        settings.load(clean | own, project)


@pytest.mark.parametrize(
    ("file", "table"),
    [
        ("config.yml", "global"),
        ("config.yml", "branch-defaults:\n  main"),
        ("config.global.yml", "global"),
    ],
)
def test_a_profile_for_eb_alone_is_refused(project, clean, file, table):
    """As `eb init` writes it. It wins over keys in the environment, too."""
    path = project / ".elasticbeanstalk" / file
    content = path.read_text() if path.exists() else ""
    if table in content:
        content = content.replace("  profile: null\n", "  profile: eb-cli\n")
    else:
        content += f"{table}:\n{' ' * 4}profile: eb-cli\n"
    path.write_text(content)
    with pytest.raises(InvalidConfig, match=f"{file}: profile 'eb-cli' would be that of eb only"):
        settings.load(clean, project)


def test_calls_of_eb_contain_the_profile(staging, programs, fails, tested, clean, monkeypatch):
    monkeypatch.setenv("AWS_CONFIG_FILE", clean["AWS_CONFIG_FILE"])
    monkeypatch.setenv("AWS_PROFILE", "some one")
    tested.broken = {"new", "old"}
    output = fails("deploy", "staging", "--version", "new")
    own = shlex.join(["--profile", "some one", "--region", "eu-west-1"])
    calls = programs.calls("^eb deploy")
    assert len(calls) == 2
    assert all(one.endswith(own) for one in calls)
    assert f"eb events {STAGING} {own}" in output
