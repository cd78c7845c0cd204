"""ECR: its answers about images are those of a registry, and its repositories are there."""

from base64 import b64encode
from unittest import mock

from moto.ecr.models import Repository, ecr_backends

from tests.rehearsal.aws.answers import Refused
from tests.rehearsal.machines.registry import PASSWORD
from tests.support.aws import ACCOUNT


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
        self.findings = []  # of every scan
        self._registry = registry

    # --- The API -------------------------------------------------------------------------------

    def describe_images(self, repositoryName, imageIds):
        tag = imageIds[0]["imageTag"]
        digest = self._registry.digest(repositoryName, tag)
        if not digest:
            raise Refused("ImageNotFoundException", f"There is no image {tag} in {repositoryName}.")
        detail = {"repositoryName": repositoryName, "imageDigest": digest, "imageTags": [tag]}
        return {"imageDetails": [detail]}

    def describe_image_scan_findings(self, repositoryName, imageId, **_):
        return {
            "imageScanStatus": {"status": "COMPLETE"},
            "imageScanFindings": {"findings": self.findings},
        }

    def get_authorization_token(self, **_):
        token = b64encode(f"AWS:{self.password}".encode()).decode()
        proxy = f"http://{self._registry.host}"
        return {"authorizationData": [{"authorizationToken": token, "proxyEndpoint": proxy}]}
