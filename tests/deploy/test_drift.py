"""What somebody changed in the console: noticed where it can be told, and no false alarm where it cannot."""

import json
import re

import pytest

from deploy.config import environments
from deploy.config.environments import SECRETS
from deploy.delivery import history
from tests.support import ebextensions
from tests.support.account import add_bundle, add_history, changes, made
from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, STAGING, records
from tests.support.environments import direct

SCRIPT = "scripts/build_and_deploy.sh"
TRIGGER, GROUP = "aws:autoscaling:trigger", "aws:autoscaling:asg"
VARIABLES = "aws:elasticbeanstalk:application:environment"
LAUNCH = "aws:autoscaling:launchconfiguration"
KNOWN = f"databases/{STAGING}"


@pytest.fixture
def settled(aws, staging, project):
    """Staging as the files configure it, with what Beanstalk adds and how it writes values."""
    add_bundle(aws, "old")
    made(aws, "staging-operations")
    shared = ebextensions.merge(ebextensions.read(project / ".ebextensions").values())
    options = shared | direct("staging")
    options |= {
        ("aws:ec2:vpc", "Subnets"): "subnet-2, subnet-1",
        (
            LAUNCH,
            "IamInstanceProfile",
        ): f"arn:aws:iam::{ACCOUNT}:instance-profile/{APPLICATION}-instance",
        ("aws:cloudformation:template:parameter", "InstancePort"): "80",
        (LAUNCH, "ImageId"): "ami-1",
        ("aws:elasticbeanstalk:customoption", "DatabaseSnapshot"): "kept",
        ("aws:autoscaling:asg", "Availability Zones"): "Any",
        (SECRETS, "API_KEYS"): "x",
        (VARIABLES, "RDS_HOSTNAME"): "database.example.com",
    }
    staging["options"] = as_settings(options)
    return options


def as_settings(options):
    return [
        {"Namespace": namespace, "OptionName": name, "Value": value}
        for (namespace, name), value in options.items()
    ]


def by_hand(command):
    """What `status` says, and that `doctor` says the same."""
    shown = re.findall(r"^  BY HAND +(.*)", command("status", "staging")[1], re.MULTILINE)
    _, found = command("doctor", "staging")
    told = re.findall(r"^  NOT READY  by hand +(.*)\n +next: (.*)", found, re.MULTILINE)
    assert [": ".join(one) for one in told] == shown
    return shown


def test_configured_settings_are_not_reported(settled, command):
    assert not by_hand(command)
    assert "by hand        nothing that AWS shows" in command("doctor", "staging")[1]


@pytest.mark.parametrize(
    ("option", "value", "what", "remedy"),
    [
        (
            (GROUP, "MinSize"),
            "4",
            f"{GROUP} MinSize is 4, and devops/environments.toml says otherwise",
            f"{SCRIPT} create staging",
        ),
        (
            (GROUP, "MinSize"),
            "1",
            f"{GROUP} MinSize is 1, and devops/environments.toml",
            f"{SCRIPT} create staging",
        ),
        (
            (SECRETS, "RDS_PASSWORD"),
            "arn:aws:secretsmanager:x:secret:other",
            f"{SECRETS} RDS_PASSWORD is another one",
            f"{SCRIPT} create staging",
        ),
        (
            (TRIGGER, "UpperThreshold"),
            "90",
            f"{TRIGGER} UpperThreshold is 90, and .ebextensions cannot change it",
            f"aws elasticbeanstalk update-environment --environment-name {STAGING} --options-to-remove "
            f"'Namespace={TRIGGER},OptionName=UpperThreshold' --region {REGION}",
        ),
        (
            (VARIABLES, "LOG_LEVEL"),
            "DEBUG",
            f"{VARIABLES} LOG_LEVEL is another one, and .ebextensions cannot",
            f"OptionName=LOG_LEVEL' --region {REGION}",
        ),
        (
            (VARIABLES, "MORE"),
            "s3cr3t",
            f"{VARIABLES} MORE is not in any file",
            f"OptionName=MORE' --region {REGION}",
        ),
        (
            (SECRETS, "MORE"),
            "x",
            f"{SECRETS} MORE is not in any file",
            f"OptionName=MORE' --region {REGION}",
        ),
        (
            (LAUNCH, "EC2KeyName"),
            "mine",
            f"{LAUNCH} EC2KeyName is not in any file",
            "OptionName=EC2KeyName'",
        ),
    ],
)
def test_a_setting_that_was_changed_by_hand_is_reported_with_a_remedy(
    settled, staging, command, option, value, what, remedy
):
    staging["options"] = as_settings(settled | {option: value})
    [found] = by_hand(command)
    assert found.startswith(what)
    assert remedy in found
    assert "s3cr3t" not in found
    assert "DEBUG" not in found


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (
            (TRIGGER, "UpperThreshold"),
            "6000000",
        ),  # Beanstalk's default, also where a file is not seen
        ((GROUP, "EnableCapacityRebalancing"), "true"),  # in no file, and has a default
    ],
)
def test_differences_of_unknown_origin_are_not_reported(settled, staging, command, option, value):
    staging["options"] = as_settings(settled | {option: value})
    assert not by_hand(command)


def test_nothing_is_reported_during_an_update(settled, staging, command):
    staging |= {"status": "Updating", "options": as_settings(settled | {(GROUP, "MinSize"): "4"})}
    assert not by_hand(command)


@pytest.mark.parametrize(
    ("hide", "what"),
    [
        (lambda aws: aws.fail("elasticbeanstalk:DescribeConfigurationSettings"), "settings"),
        (lambda aws: aws.environments[STAGING].update(hidden=True), "settings"),
        (lambda aws: aws.fail("s3:GetObject"), "settings"),
        (lambda aws: aws.fail("s3:GetObject"), "database"),
        (lambda aws: aws.fail("s3:ListObjectsV2"), "version"),
        (lambda aws: aws.fail("rds:DescribeDBInstances"), "database"),
    ],
)
def test_settings_that_cannot_be_read_are_unknown(aws, settled, command, hide, what):
    aws.s3_put_object(records(), KNOWN, b"db-FIRST")
    hide(aws)
    code, output = command("status", "staging")
    assert code == 1
    assert re.search(rf"unknown +changes by hand, {what}: ", output), output
    code, output = command("doctor", "staging")
    assert code == 1
    assert re.search(r"unknown    by hand ", output), output


def test_a_version_that_was_deployed_in_the_console_is_reported(aws, settled, run, command):
    assert not by_hand(command)  # nothing is recorded
    history.record(run, environments.find(run.settings, "staging"), "deploy", "older")
    [found] = by_hand(command)
    assert found == (
        "version old was deployed by other means; the last one here was older: "
        f"{SCRIPT} deploy staging --version older; or, to keep it, --version old"
    )


def test_a_version_whose_deployment_and_rollback_failed_is_not_reported(aws, settled, command):
    aws.s3_put_object(records(), f"deployments/{STAGING}/20260101T000000000000Z deploy older")
    body = b'{"who": "", "detail": "", "image": "", "bundle": ""}'
    aws.s3_put_object(records(), f"deployments/{STAGING}/20260101T000001000000Z failed old", body)
    assert not by_hand(command)


# --- Swapped addresses


SWAP = (
    f"aws elasticbeanstalk swap-environment-cnames --source-environment-name {PROD} "
    f"--destination-environment-name {STAGING} --region {REGION}"
)


def swap(aws):
    prod, staging = (aws.environments[name] for name in (PROD, STAGING))
    prod["cname"], staging["cname"] = (
        f"{name}.eba-1.{REGION}.elasticbeanstalk.com" for name in (STAGING, PROD)
    )


def test_swapped_addresses_are_refused_before_anything_is_deployed(aws, staging, fails, command):
    swap(aws)
    add_history(aws, "deploy older", "deploy old", name=PROD)
    for arguments in (("deploy", "prod", "--version", "new"), ("rollback", "prod")):
        output = fails(*arguments)
        assert f"{PROD} has the address of {STAGING}: somebody swapped them" in output
        assert f"next: {SWAP}; then run it again" in output
    assert not aws.asked("elasticbeanstalk:UpdateEnvironment")
    _, shown = command("status", "prod")
    assert f"BY HAND      it has the address {STAGING}.eba-1" in shown
    assert SWAP in shown


@pytest.mark.parametrize(
    "cname",
    [
        f"{PROD}.eba-1.x.elasticbeanstalk.com",
        f"{PROD}-1.eba-1.x.elasticbeanstalk.com",
        "127.0.0.1:80",
        "",
    ],
)
def test_an_address_of_its_own_is_accepted(aws, staging, command, cname):
    aws.environments[PROD]["cname"] = cname
    code, output = command("deploy", "prod", "--version", "new")
    assert "has the address" not in output
    assert (code == 0) is bool(cname)


# --- A rebuilt environment


def test_the_first_creation_records_the_database(aws, fresh, command):
    aws.add_version("new")
    aws.secrets[f"{STAGING}/smoke-test"] = {"user": "smoke test", "key": "K3y"}
    assert command("create", "staging", "--version", "new")[0] == 0
    assert aws.objects[KNOWN]["content"] == b"db-FIRST"


def test_the_next_create_records_the_database_of_an_older_environment(aws, settled, command):
    assert command("create", "staging")[0] == 0
    assert aws.objects[KNOWN]["content"] == b"db-FIRST"


def test_another_database_is_reported_until_somebody_accepts_it(aws, settled, command):
    command("create", "staging")
    aws.database_ids[STAGING] = "db-SECOND"
    assert command("create", "staging")[0] == 0  # which does not accept it
    [found] = [one for one in by_hand(command) if "db-SECOND" in one]
    assert found.startswith(
        "db-FIRST had the data, and now db-SECOND, created 2026-11-01 00:00 UTC"
    )
    assert f"{SCRIPT} recover staging --region {REGION} --as NAME --to-snapshot ID" in found
    accept = f"aws s3 rm s3://{records()}/{KNOWN} --region {REGION}"
    assert f"{accept}; {SCRIPT} create staging" in found
    del aws.objects[KNOWN]
    command("create", "staging")
    assert not [one for one in by_hand(command) if "db-SECOND" in one]


def test_a_lost_database_is_reported(aws, settled, command):
    aws.s3_put_object(records(), KNOWN, b"db-FIRST")
    aws.fail("rds:DescribeDBInstances", "DBInstanceNotFound")
    [found] = by_hand(command)
    assert "db-FIRST had the data, and now there is none" in found


def test_json_contains_what_was_changed_by_hand(aws, settled, staging, command):
    staging["options"] = as_settings(settled | {(GROUP, "MinSize"): "4"})
    _, output = command("status", "staging", "--json")
    [found] = json.loads(output[output.index("{\n") :])["environments"][0]["by_hand"]
    assert "MinSize is 4" in found["what"]
    assert found["next"] == f"{SCRIPT} create staging"


def test_a_dry_run_records_nothing(aws, settled, command):
    command("create", "staging", "--dry-run")
    assert not changes(aws)
