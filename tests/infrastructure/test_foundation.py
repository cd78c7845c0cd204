"""What must hold of devops/foundation.yml beyond what cfn-lint and checkov know."""

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
    """What has a name of its own and stays behind would stand in the way of the second try."""
    resources = cloudformation.load(f"devops/{stack}.yml")["Resources"].values()
    kept = {one["DeletionPolicy"] for one in resources if "DeletionPolicy" in one}
    assert kept == {"RetainExceptOnCreate"}


def test_images_are_scanned():
    assert RESOURCES["Images"]["Properties"]["ImageScanningConfiguration"] == {"ScanOnPush": True}
