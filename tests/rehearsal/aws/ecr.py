"""ECR: its answers about images are those of the registry, and its repositories are there."""

from base64 import b64encode
from unittest import mock

from moto.ecr.models import Repository
from moto.ecr.responses import ECRResponse

from tests.rehearsal.aws.answers import Refused, answer, from_json
from tests.rehearsal.machines.registry import PASSWORD


class Images:
    """The images of ``registry``; ``password`` is what a login is told, right or wrong."""

    actions = ("describe_images", "describe_image_scan_findings", "get_authorization_token")

    def __init__(self, registry):
        self.password = PASSWORD
        self.findings = []  # of every scan
        self._registry = registry

    def patches(self):
        """What lets moto know the registry: to it, what was pushed does not exist."""
        original, host = Repository.__init__, self._registry.host

        def init(repository, *arguments, **keywords):
            original(repository, *arguments, **keywords)
            repository.uri = f"{host}/{repository.name}"

        return [
            mock.patch.object(Repository, "__init__", init),
            *answer(ECRResponse, self, from_json),
        ]

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
