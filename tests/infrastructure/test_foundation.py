"""Requirements for devops/foundation.yml that cfn-lint and checkov do not check."""

import json

import pytest

from tests.support import cloudformation

RESOURCES = cloudformation.load("devops/foundation.yml")["Resources"]


def test_an_image_that_is_deployed_stays():
    images = RESOURCES["Images"]
    assert images["UpdateReplacePolicy"] == "Retain"
    assert images["Properties"]["ImageTagMutability"] == "IMMUTABLE"
    rules = json.loads(images["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rules
    assert {rule["selection"]["tagStatus"] for rule in rules} == {"untagged"}


@pytest.mark.parametrize("stack", ["foundation", "environment", "pipeline"])
def test_what_is_kept_does_not_keep_a_first_try_that_failed_from_being_repeated(stack):
    """A resource with a fixed name that is left behind would make the second attempt fail."""
    resources = cloudformation.load(f"devops/{stack}.yml")["Resources"].values()
    kept = {one["DeletionPolicy"] for one in resources if "DeletionPolicy" in one}
    assert kept == {"RetainExceptOnCreate"}


def test_images_are_scanned():
    assert RESOURCES["Images"]["Properties"]["ImageScanningConfiguration"] == {"ScanOnPush": True}


@pytest.mark.parametrize(
    ("resource", "policy"), [("TopicKey", "KeyPolicy"), ("OperationsTopicPolicy", "PolicyDocument")]
)
def test_each_service_writes_for_this_account_only_as_far_as_it_can_say_so(resource, policy):
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


def test_what_is_recorded_is_kept_and_a_copy_of_what_was_deleted_for_a_while():
    properties = RESOURCES["Records"]["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    [rule] = properties["LifecycleConfiguration"]["Rules"]
    assert {name for name in rule if "Expiration" in name} == {"NoncurrentVersionExpiration"}
