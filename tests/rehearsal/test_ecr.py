"""The rehearsal's ECR scans an image in steps, and an index not at all, as AWS's does."""

import pytest

from deploy.delivery.image import INDEXES
from tests.rehearsal.aws.answers import Refused
from tests.rehearsal.aws.ecr import Images
from tests.support.aws import IMAGE


class Registry:
    """With one image of a ``kind``."""

    def __init__(self, kind):
        self.kind = kind

    def describe(self, repository, reference):
        return ("sha256:1", self.kind) if reference in ("one", "sha256:1") else (None, None)


def scan(images, digest="sha256:1"):
    """The status, and whether there are findings."""
    try:
        answer = images.describe_image_scan_findings("x", {"imageDigest": digest})
    except Refused as refused:
        return refused.code
    found = answer.get("imageScanFindings", {})
    return answer["imageScanStatus"]["status"], "imageScanCompletedAt" in found


def test_a_scan_passes_through_its_states():
    images = Images(Registry(IMAGE))
    begun = ["ScanNotFoundException", ("PENDING", False), ("IN_PROGRESS", False)]
    done = [("COMPLETE", False), ("COMPLETE", True), ("COMPLETE", True)]
    assert [scan(images) for _ in range(6)] == begun + done
    images.scans = [("FAILED",)]
    assert scan(images) == ("FAILED", False)


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_is_described_as_one_and_never_scanned(kind):
    images = Images(Registry(kind))
    [described] = images.describe_images("x", [{"imageTag": "one"}])["imageDetails"]
    assert described["imageManifestMediaType"] == kind
    assert {scan(images) for _ in range(9)} == {"ScanNotFoundException"}


def test_a_missing_image_is_not_found():
    images = Images(Registry(IMAGE))
    assert scan(images, "sha256:2") == "ImageNotFoundException"
    with pytest.raises(Refused, match="There is no image two in x"):
        images.describe_images("x", [{"imageTag": "two"}])
