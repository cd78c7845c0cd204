"""What must hold of devops/foundation.yml beyond what cfn-lint and checkov know."""

import json

from tests import cloudformation

RESOURCES = cloudformation.load("devops/foundation.yml")["Resources"]


def test_an_image_that_is_deployed_stays():
    images = RESOURCES["Images"]
    assert images["DeletionPolicy"] == images["UpdateReplacePolicy"] == "Retain"
    assert images["Properties"]["ImageTagMutability"] == "IMMUTABLE"
    rules = json.loads(images["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rules
    assert {rule["selection"]["tagStatus"] for rule in rules} == {"untagged"}


def test_images_are_scanned():
    assert RESOURCES["Images"]["Properties"]["ImageScanningConfiguration"] == {"ScanOnPush": True}
