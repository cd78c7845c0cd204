"""The two buckets: their names, their owner, and a region that has none."""

import pytest

from deploy.resources import bucket
from tests.support import cloudformation
from tests.support.account import add_history
from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, STAGING, bundles, records

FOUNDATION = f"{APPLICATION}-foundation"
LONGEST = "x" * 24, "ap-southeast-1"  # names that tools/rename.py and AWS give


def test_the_bucket_has_the_name_that_its_template_declares(run):
    stack = cloudformation.Stack("devops/foundation.yml", FOUNDATION, {})
    named = stack.template["Resources"]["Records"]["Properties"]["BucketName"]
    assert bucket.find_records(run).name == stack.resolve(named) == records()


def test_the_longest_bucket_name_is_valid_in_s3():
    application, region = LONGEST
    assert len(records(region).replace(APPLICATION, application)) <= 63


@pytest.fixture
def without(aws, staging):
    """The foundation is older than this checkout: it has no bucket."""
    del aws.stacks[FOUNDATION]
    return aws


@pytest.mark.parametrize(
    ("command_", "short"),
    [
        (("deploy", "prod", "--version", "new"), "prod"),
        (("rollback", "prod"), "prod"),
        (("versions", "prune", "--yes"), "staging"),
        (("build",), "staging"),
    ],
)
def test_a_missing_bucket_of_records_is_explained(without, fails, command_, short):
    output = fails(*command_)
    assert f"there is no bucket {records()}: the stack {FOUNDATION} in {REGION} is" in output
    assert f"  next: scripts/build_and_deploy.sh create {short}\n" in output
    assert without.environments[PROD]["label"] == "old"


def test_in_another_region_the_suggested_command_names_the_region(aws, staging, fails, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-south-1")
    aws.region = "eu-south-1"
    aws.add_environment("prod", "old")
    output = fails("rollback", "prod")
    there = "AWS_REGION=eu-south-1 scripts/build_and_deploy.sh create prod"
    assert f"next: unset AWS_REGION; or, to stay in eu-south-1: {there}\n" in output


def test_a_missing_bucket_of_beanstalk_is_explained(aws, fresh, fails):
    aws.locations.clear()
    output = fails("build")
    assert f"there is no bucket {bundles()}: no environment was created in {REGION}" in output
    assert "next: scripts/build_and_deploy.sh create staging; then run it again with" in output


def test_the_first_environment_creates_both_buckets(aws, command):
    aws.secrets[f"{STAGING}/smoke-test"] = {"key": "K3y"}
    code, output = command("create", "staging")
    assert code == 0, output
    assert {key.split("/")[0] for key in aws.objects} == {"databases", "deployments", APPLICATION}
    assert len(aws.bundles) == 1


def test_every_request_names_the_account_that_owns_the_bucket(aws, staging, command):
    add_history(aws, "deploy older", "deploy old")
    assert command()[0] == 0
    assert command("rollback", "staging")[0] == 0
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:ListObjectsV2"):
        assert aws.asked(action)
        assert {one.get("ExpectedBucketOwner") for one in aws.asked(action)} == {ACCOUNT}
