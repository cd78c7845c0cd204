"""Requirements for devops/foundation.yml that cfn-lint and checkov do not check."""

import json

import pytest

from tests.support import cloudformation

RESOURCES = cloudformation.load("devops/foundation.yml")["Resources"]


def test_deployed_images_are_retained():
    images = RESOURCES["Images"]
    assert images["UpdateReplacePolicy"] == "Retain"
    assert images["Properties"]["ImageTagMutability"] == "IMMUTABLE"
    rules = json.loads(images["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rules
    assert {rule["selection"]["tagStatus"] for rule in rules} == {"untagged"}


@pytest.mark.parametrize("stack", ["foundation", "environment", "pipeline"])
def test_retained_resources_do_not_block_a_second_create(stack):
    """A resource with a fixed name that is left behind would make the second attempt fail."""
    resources = cloudformation.load(f"devops/{stack}.yml")["Resources"].values()
    kept = {one["DeletionPolicy"] for one in resources if "DeletionPolicy" in one}
    assert kept == {"RetainExceptOnCreate"}


def test_images_are_scanned():
    assert RESOURCES["Images"]["Properties"]["ImageScanningConfiguration"] == {"ScanOnPush": True}


@pytest.mark.parametrize(
    ("resource", "policy"), [("TopicKey", "KeyPolicy"), ("OperationsTopicPolicy", "PolicyDocument")]
)
def test_services_publish_for_this_account_only_where_aws_supports_it(resource, policy):
    """The others send no condition keys, or none that AWS documents: a condition would lose their messages."""
    conditions = {}
    for statement in RESOURCES[resource]["Properties"][policy]["Statement"]:
        services = statement["Principal"].get("Service", [])
        for service in [services] if isinstance(services, str) else services:
            conditions[service.partition(".")[0]] = statement.get("Condition")
    ours = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    via_sns = {"StringEquals": {"kms:ViaService": {"Fn::Sub": "sns.${AWS::Region}.amazonaws.com"}}}
    assert conditions == {
        "cloudwatch": ours,
        "codestar-notifications": via_sns if resource == "TopicKey" else None,
        "events": None,
    }


def test_records_are_retained_and_deleted_ones_kept_for_a_while():
    properties = RESOURCES["Records"]["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    [rule] = properties["LifecycleConfiguration"]["Rules"]
    assert {name for name in rule if "Expiration" in name} == {"NoncurrentVersionExpiration"}
