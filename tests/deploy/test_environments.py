"""devops/environments.toml, and what is made of it."""

import pytest

from deploy import environments, settings
from deploy.errors import InvalidConfig
from tests.infrastructure.conftest import OUTPUTS
from tests.support import cloudformation

SETTINGS = settings.load({})


def find(short):
    return environments.find(SETTINGS, short)


@pytest.mark.parametrize("short", ["all", "certificate", "production", ""])
def test_an_environment_that_is_not_in_the_file(short):
    with pytest.raises(InvalidConfig, match="There are: staging, prod"):
        find(short)


def test_an_output_that_is_missing():
    with pytest.raises(InvalidConfig, match=r"\{Key\} is an output of no stack"):
        find("prod").options(OUTPUTS | {"Key": ""})


def test_every_output_that_is_named_is_one_of_a_stack():
    found = set()
    for name in ("foundation", "environment"):
        found |= set(cloudformation.load(f"devops/{name}.yml")["Outputs"])
    assert set(OUTPUTS) <= found


@pytest.mark.parametrize("short", ["staging", "prod"])
def test_the_parameters_are_those_of_the_stack(short):
    declared = set(cloudformation.load("devops/environment.yml")["Parameters"])
    assert set(find(short).parameters()) | {"Environment", "Foundation"} == declared


def test_values_are_text():
    options = find("staging").options(OUTPUTS)
    values = {(one["Namespace"], one["OptionName"]): one["Value"] for one in options}
    assert values["aws:autoscaling:asg", "MinSize"] == "2"
    assert values["aws:ec2:vpc", "AssociatePublicIpAddress"] == "true"
    assert values["aws:ec2:vpc", "VPCId"] == OUTPUTS["Vpc"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[staging", "invalid TOML"),
        ("[Staging.stack]", "'Staging': expected 2 to 20 small letters or digits"),
        ("[staging]", r"\[staging.stack\] is missing"),
        ("staging = 1", r"\[staging.stack\] is missing"),
        ("[prod]\nPlainHttp = 'yes'\n[prod.stack]", r"\[prod\] PlainHttp: expected true or false"),
        ("[prod]\nPlainHtp = true\n[prod.stack]", r"\[prod\] has 'PlainHtp': expected PlainHttp"),
        ("[prod.stack]\n[prod.stak]", r"\[prod\] has 'stak': expected PlainHttp"),
        ("[prod]\nstack = 1", r"\[prod\] has 'stack': expected PlainHttp"),
    ],
)
def test_a_file_that_cannot_be_used(run, project, text, what):
    (project / environments.NAME).write_text(text)
    with pytest.raises(InvalidConfig, match=what):
        environments.read(run.settings)
