"""ECR: its answers about images are those of a registry, and its repositories are there."""

from base64 import b64encode
from collections import Counter
from unittest import mock

from moto.ecr.models import Repository, ecr_backends

from deploy.delivery.image import INDEXES
from tests.rehearsal.aws.answers import Refused
from tests.rehearsal.machines.registry import PASSWORD
from tests.support.aws import ACCOUNT, SCANS


def patches(find):
    """Patches that make moto use the registries, by ``find(region)``: moto does not see images pushed to them."""
    original = Repository.__init__

    def init(repository, *arguments, **keywords):
        original(repository, *arguments, **keywords)
        repository.uri = f"{find(repository.region_name).host}/{repository.name}"

    return [mock.patch.object(Repository, "__init__", init)]


def replicate(repository, tag, region, find):
    """Replicate the images just pushed, to the regions in the replication configuration of ``region``."""
    for rule in ecr_backends[ACCOUNT][region].replication_config["rules"]:
        filters = [one["filter"] for one in rule.get("repositoryFilters", [])]
        if filters and not any(repository.startswith(one) for one in filters):
            continue
        for destination in rule["destinations"]:
            there = find(destination["region"])
            if (
                there is not None
                and repository in ecr_backends[ACCOUNT][destination["region"]].repositories
            ):
                find(region).copy(repository, tag, there)


class Images:
    """The images of ``registry``; ``password`` is the one handed out for a login, right or wrong."""

    actions = ("describe_images", "describe_image_scan_findings", "get_authorization_token")

    def __init__(self, registry):
        self.password = PASSWORD
        self.scans = SCANS  # the answers about each image, one after the other
        self._asked = Counter()  # by digest
        self._registry = registry

    # --- The API -------------------------------------------------------------------------------

    def describe_images(self, repositoryName, imageIds):
        tag = imageIds[0]["imageTag"]
        digest, kind = self._find(repositoryName, tag)
        detail = {
            "repositoryName": repositoryName,
            "imageDigest": digest,
            "imageTags": [tag],
            "imageManifestMediaType": kind,
        }
        return {"imageDetails": [detail]}

    def describe_image_scan_findings(self, repositoryName, imageId, **_):
        """An index is not scanned: https://github.com/alexjurkiewicz/ecr-scan-image/issues/43"""
        digest, kind = self._find(repositoryName, imageId["imageDigest"])
        status, *findings = self.scans[min(self._asked[digest], len(self.scans) - 1)]
        self._asked[digest] += 1
        if kind in INDEXES or status == "ScanNotFoundException":
            raise Refused("ScanNotFoundException", f"There is no scan of {digest}.")
        answer = {"imageScanStatus": {"status": status}}
        return answer | ({"imageScanFindings": findings[0]} if findings else {})

    def get_authorization_token(self, **_):
        token = b64encode(f"AWS:{self.password}".encode()).decode()
        proxy = f"http://{self._registry.host}"
        return {"authorizationData": [{"authorizationToken": token, "proxyEndpoint": proxy}]}

    def _find(self, repository, reference):
        digest, kind = self._registry.describe(repository, reference)
        if not digest:
            raise Refused(
                "ImageNotFoundException", f"There is no image {reference} in {repository}."
            )
        return digest, kind
