"""devops/environments.toml, and what is made of it."""

import pytest

from scripts import environments
from tests import cloudformation
from tests.infrastructure.conftest import OUTPUTS


def test_an_environment_that_is_not_in_the_file():
    with pytest.raises(SystemExit, match="There are: staging, prod"):
        environments.options("all", OUTPUTS)
    with pytest.raises(SystemExit, match="There are: staging, prod"):
        environments.parameters("production")


def test_an_output_that_is_missing():
    with pytest.raises(SystemExit, match="'Key', which no stack has"):
        environments.options("prod", OUTPUTS | {"Key": ""})


def test_every_output_that_is_named_is_one_of_a_stack():
    found = set()
    for name in ("foundation", "environment"):
        found |= set(cloudformation.load(f"devops/{name}.yml")["Outputs"])
    assert set(OUTPUTS) <= found


def test_every_parameter_is_one_of_the_stack():
    text = environments.FILE.with_name("environment.yml").read_text()
    declared = text.split("\nResources:")[0]
    for environment in ("staging", "prod"):
        parameters = environments.parameters(environment)
        assert parameters["Network"]
        for name in parameters:
            assert f"\n  {name}:\n" in declared


def test_values_are_text():
    options = environments.options("staging", OUTPUTS)
    values = {(one["Namespace"], one["OptionName"]): one["Value"] for one in options}
    assert values["aws:autoscaling:asg", "MinSize"] == "2"
    assert values["aws:ec2:vpc", "AssociatePublicIpAddress"] == "true"
    assert values["aws:ec2:vpc", "VPCId"] == OUTPUTS["Vpc"]
