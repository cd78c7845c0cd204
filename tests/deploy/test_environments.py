"""devops/environments.toml, and the parameters and settings derived from it."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.base import settings, template_parameters
from deploy.base.errors import InvalidConfig
from deploy.config import environments
from tests.support import cloudformation
from tests.support.environments import OUTPUTS

SETTINGS = settings.load({})
CERTIFICATE = f"arn:aws:acm:{SETTINGS.home}:123456789012:certificate/1"
PUBLIC = "hello.example.com"


def find(short):
    return environments.find(SETTINGS, short)


@pytest.mark.parametrize("short", ["all", "certificate", "production", ""])
def test_an_environment_that_is_not_in_the_file_is_refused(short):
    with pytest.raises(InvalidConfig, match="There are: staging, prod"):
        find(short)


def test_an_option_with_a_missing_output_is_refused():
    with pytest.raises(InvalidConfig, match=r"\{Key\} is not an output of a stack"):
        find("prod").options(OUTPUTS | {"Key": ""})


def test_every_output_of_the_tests_is_declared_in_a_template():
    found = set()
    for name in ("foundation", "environment"):
        found |= set(cloudformation.load(f"devops/{name}.yml")["Outputs"])
    assert set(OUTPUTS) <= found


@pytest.mark.parametrize("short", ["staging", "prod"])
def test_the_parameters_are_those_of_the_template(short):
    declared = set(cloudformation.load("devops/environment.yml")["Parameters"])
    given = {name for name in declared if name in template_parameters.GIVEN}
    assert set(find(short).parameters()) | given == declared


def test_parameters_are_read_identically_without_libyaml(monkeypatch):
    names = (environments.OPERATIONS, environments.FOUNDATION)
    read = [template_parameters.read_parameters(Path(), name) for name in names]
    assert all(read)
    monkeypatch.delattr("yaml.CSafeLoader")
    monkeypatch.setattr(settings, "SafeLoader", yaml.SafeLoader)
    assert runpy.run_path("deploy/base/settings.py")["SafeLoader"] is yaml.SafeLoader
    slow = runpy.run_path("deploy/base/template_parameters.py")["read_parameters"]
    assert [slow(Path(), name) for name in names] == read


def test_the_values_of_options_are_strings():
    options = find("staging").options(OUTPUTS)
    values = {(one["Namespace"], one["OptionName"]): one["Value"] for one in options}
    assert values["aws:autoscaling:asg", "MinSize"] == "2"
    assert values["aws:ec2:vpc", "AssociatePublicIpAddress"] == "true"
    assert values["aws:ec2:vpc", "VPCId"] == OUTPUTS["Vpc"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[staging", "invalid TOML"),
        ("[Staging.stack]", "'Staging': expected 2 to 20 lower-case letters or digits"),
        ("[staging]", r"\[staging\] stack is missing: expected a table"),
        ("staging = 1", r"staging 1: expected a table, .* such as \[staging\]"),
        ("all = []", r"all \[\]: expected a table"),
        ("", "there is no environment"),
        ("[prod]\nPlainHttp = 'yes'\n[prod.stack]", r"\[prod\] PlainHttp 'yes': expected true"),
        ("[prod]\nPlainHtp = true\n[prod.stack]", r"\[prod\] PlainHtp: unknown key; expected"),
        ("[prod]\nstack = 1", r"\[prod\] stack 1: expected a table"),
    ],
)
def test_an_invalid_file_is_refused(run, project, text, what):
    (project / environments.NAME).write_text(text)
    with pytest.raises(InvalidConfig, match=what):
        environments.read(run.settings)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (
            "ErrorPercent = 2",
            "ErrorPercent = 200",
            r"\[staging.alarms\] ErrorPercent 200: expected 0.1 to 100",
        ),
        (
            "ErrorPercent = 2",
            "ErrorPercent = '2'",
            r"\[staging.alarms\] ErrorPercent '2': expected 0.1 to 100",
        ),
        ("ErrorPercent = 2", "ErrorPercent = true", r"ErrorPercent True: expected 0.1 to 100"),
        (
            "ErrorPercent = 2",
            "",
            r"\[staging.alarms\] ErrorPercent is missing: expected 0.1 to 100",
        ),
        (
            "ErrorPercent = 2",
            "ErorPercent = 2",
            r"\[staging.alarms\] ErorPercent: unknown key; expected ErrorPercent",
        ),
        (
            "DatabaseConnections = 120",
            "DatabaseConnections = 0",
            r"\[prod.alarms\] DatabaseConnections 0",
        ),
        (
            'Network = "10.20"',
            'Network = "192.168"',
            r"\[staging.stack\] Network '192.168': must be 10",
        ),
        (
            'PublicName = ""',
            'PublicNam = ""',
            r"\[staging.stack\] PublicNam: unknown key; expected Network",
        ),
        ('Network = "10.20"', "", r"\[staging.stack\] Network is missing: must be 10"),
        (
            "MonthlyBudget = 350",
            "MonthlyBudget = -1",
            r"\[account\] MonthlyBudget -1: expected a whole number, 0 to",
        ),
        (
            "MonthlyBudget = 350",
            "Budget = 1",
            r"\[account\] Budget: unknown key; expected MonthlyBudget",
        ),
        (
            "[account]",
            "[account.alarms]",
            r"\[account\] alarms: unknown key; expected MonthlyBudget",
        ),
        ("[all.alarms]", "[all.alarm]", r"\[all\] alarm: unknown key; expected alarms, aws:\*"),
        ("[prod.alarms]", "[prod.stack.alarms]", "alarms: unknown key; expected Network"),
        (
            "MinSize = 2\nMaxSize = 3",
            "MinSize = 4\nMaxSize = 3",
            "MinSize 4 is more than MaxSize 3",
        ),
        (
            "MaxSize = 3",
            "MaxSize = 2",
            "MaxSize 2 is not more than MinInstancesInService, which is 2",
        ),
        ("MinSize = 2", "MinSzie = 2", r"\[staging\] aws:autoscaling:asg has no option MinSzie"),
        ("MaxSize = 3", "MaxSize = 20000", r"MaxSize is '20000', and may be \[1, 10000\]"),
        ("aws:ec2:vpc", "aws:ec2:vcp", r"\[all\] there is no namespace aws:ec2:vcp"),
        ("DatabaseClass", "DatabaseClas", r"no file of .ebextensions uses DatabaseClas$"),
        ("MinSize = 2", 'MinSize = "5"', "MinSize 5 is more than MaxSize 3"),
        (
            "MaxSize = 3",
            'MaxSize = "2"',
            "MaxSize 2 is not more than MinInstancesInService, which is 2",
        ),
        ("MinSize = 2\nMaxSize = 3", "MinSize = 5", "MinSize 5 is more than MaxSize 4"),
        ("MinSize = 2", "MinSize = {x = 1}", "asg MinSize: expected text, a number, true or false"),
        ('"t3.micro"', '["t3.micro"]', "InstanceTypes: expected text, a number, true or false"),
        ("MinSize = 2", 'MinSzie = "{Vpc}"', "aws:autoscaling:asg has no option MinSzie"),
        ("MinSize = 2", 'MinSize = "{Vpc}"', r"MinSize is '\{Vpc\}', and may be \[1, 10000\]"),
        (
            "{InstanceProfile}",
            "{InstanceProfil}",
            r"\[all\] IamInstanceProfile: \{InstanceProfil\} is not an output",
        ),
        ('"{Key}"', '"{PublicName}"', r"\[all\] DatabaseKey: \{PublicName\} is not an output"),
        (
            'PublicName = ""',
            f'PublicName = "{PUBLIC}"',
            "give both Certificate and PublicName, or neither",
        ),
        (
            'Certificate = ""',
            f'Certificate = "{CERTIFICATE}"',
            "give both Certificate and PublicName, or neither",
        ),
        (
            'Certificate = ""\nPublicName = ""',
            f'Certificate = "{CERTIFICATE.replace("eu-west-1", "us-east-1")}"\nPublicName = "{PUBLIC}"',
            "Certificate is in us-east-1: expected one in eu-west-1",
        ),
        ('Network = "10.20"', 'Network = "10.300"', "Network '10.300': must be 10"),
        ("HomeDays = 35", "HomeDays = 35.5", "HomeDays 35.5: expected a whole number, 7 to 3650"),
        (
            "DatabaseMultiAZ = false",
            'DatabaseMultiAZ = "yes"',
            "DatabaseMultiAZ is 'yes', and may be one of",
        ),
        ('"db.t4g.micro"', '"t4g.micro"', "DatabaseClass: expected a class such as db.t4g.small"),
        (
            "DatabaseMultiAZ = false",
            "DatabaseMultiAZ = false\nDatabaseStorage = 5",
            "DatabaseStorage is '5'",
        ),
        (
            "DatabaseMultiAZ = false",
            "DatabaseMultiAZ = false\nDatabaseStorage = 95",
            "DatabaseStorageLimit 100 is less than 10 % above DatabaseStorage, which is 95",
        ),
        (
            "RDS_PASSWORD",
            'SENTRY_DSN = "https://example.com/1"\nRDS_PASSWORD',
            "SENTRY_DSN: expected a secret and its key",
        ),
    ],
)
def test_a_value_that_a_template_does_not_allow_is_refused(run, project, before, after, what):
    """It is refused before it is sent to AWS, with the wording of the template."""
    path = project / environments.NAME
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(InvalidConfig, match=what):
        environments.read(run.settings)


@pytest.mark.parametrize(
    ("size", "kept"), [("2", "1"), ("2", "0"), ("1", "0"), ('"1"', '"0"'), ('"3"', '"2"')]
)
def test_a_small_group_may_keep_fewer_instances_in_service(run, project, size, kept):
    path = project / environments.NAME
    own = (
        f'[staging."aws:autoscaling:updatepolicy:rollingupdate"]\nMinInstancesInService = {kept}\n'
    )
    sizes = f"MinSize = 1\nMaxSize = {size}\n\n{own}"
    path.write_text(path.read_text().replace("MinSize = 2\nMaxSize = 3", sizes))
    assert "staging" in environments.read(run.settings)


@pytest.mark.parametrize(
    ("letters", "what"),
    [
        (16, "the name of a backup vault at most 50"),
        (17, "38 characters, and the name of an environment at most 37"),
        (25, "the name of the stack of devops/foundation.yml at most 35"),
    ],
)
def test_a_name_that_aws_would_refuse_later_is_refused_at_once(run, project, letters, what):
    path = project / environments.NAME
    text = path.read_text().replace("[prod", "[abcdefghijklmnopqrst")
    path.write_text(text.replace("eu-north-1", "ap-southeast-2"))
    with pytest.raises(InvalidConfig, match=what):
        environments.read(replace(run.settings, application="x" * letters))


def test_a_renamed_environment_is_checked_too(run):
    prod = environments.find(run.settings, "prod")
    assert prod.renamed("prod2", "pets").name == "pets-prod2"
    with pytest.raises(InvalidConfig, match="use a shorter name"):
        prod.renamed("abcdefghijklmnopqrst", "x" * 19)


def test_an_environment_may_override_the_common_thresholds():
    assert find("staging").thresholds()["DatabaseConnections"] == "60"
    prod = find("prod").thresholds()
    assert prod["DatabaseConnections"] == "120"
    assert prod["ErrorPercent"] == "2"


@pytest.mark.parametrize("short", ["staging", "prod"])
def test_the_thresholds_are_those_of_the_template(short):
    declared = set(cloudformation.load(environments.OPERATIONS)["Parameters"])
    assert set(find(short).thresholds()) == declared - template_parameters.GIVEN


def test_a_template_whose_parameters_cannot_be_read_is_refused(run, project):
    (project / environments.OPERATIONS).write_text("Parameters: [\n")
    with pytest.raises(InvalidConfig, match="its Parameters cannot be read"):
        environments.read(run.settings)
