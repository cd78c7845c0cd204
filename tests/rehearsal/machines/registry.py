"""Image registries (registry:2): with ECR's user, and without authentication."""

import socket
import subprocess
import tempfile
import urllib.request
from base64 import b64encode

import bcrypt

from tests.rehearsal.machines.docker import docker, path_and_home, remove, start
from tests.rehearsal.waiting import limit, wait_for
from tests.support.aws import ACCOUNT

PASSWORD = f"{ACCOUNT}-auth-token"  # the password that moto returns for a login to ECR
KINDS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json"
)


class Mirror:
    """A container on a port of its own from which anybody can pull official images."""

    def __init__(self, *arguments):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.container = start("--publish", f"{self.host}:5000", *arguments, "registry:2")
        wait_for(lambda: self._get("/v2/"), why=lambda: docker("logs", self.container).stderr)

    def offer(self, *names):
        """Push the local images ``names``, under the same names."""
        for name in names:
            docker("tag", name, f"{self.host}/{name}")
            docker("push", "--quiet", f"{self.host}/{name}")

    def stop(self):
        """Remove it, and what the engine keeps of its images."""
        remove(self.container)
        if images := self._list_images():
            docker("rmi", "--force", *images)

    def _list_images(self):
        """The names of its images; those that instances pulled, by digest, have no tag."""
        name = '{{.Repository}}{{if eq .Tag "<none>"}}@{{.Digest}}{{else}}:{{.Tag}}{{end}}'
        which = ("--filter", f"reference={self.host}/*")
        return docker("images", "--digests", "--format", name, *which).stdout.split()

    def _get(self, path, method="GET"):
        request = urllib.request.Request(
            f"http://{self.host}{path}", headers={"Accept": KINDS} | self._headers(), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=limit(5)) as response:
                return response
        except OSError:
            return None

    def _headers(self):
        return {}


class Registry(Mirror):
    """A container on a port of its own, whose images are removed with it; ECR's user may log in."""

    def __init__(self, folder):
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
        (folder / "htpasswd").write_text(f"AWS:{hashed}\n")
        super().__init__(
            "--volume",
            f"{folder}:/auth:ro",
            "--env=REGISTRY_AUTH=htpasswd",
            "--env=REGISTRY_AUTH_HTPASSWD_REALM=rehearsal",
            "--env=REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd",
            "--env=REGISTRY_STORAGE_DELETE_ENABLED=true",
        )

    def digest(self, repository, tag):
        """The digest of an image, or None."""
        return self.describe(repository, tag)[0]

    def describe(self, repository, reference):
        """The digest and the media type of an image, by its tag or its digest; None twice if there is none."""
        found = self._get(f"/v2/{repository}/manifests/{reference}")
        headers = found.headers if found else {}
        return headers.get("Docker-Content-Digest"), headers.get("Content-Type")

    def remove(self, repository, tag):
        """Delete an image."""
        digest = self.digest(repository, tag)
        assert self._get(f"/v2/{repository}/manifests/{digest}", "DELETE")

    def copy(self, repository, tag, other):
        """Copy an image unchanged to ``other``, a registry of the same kind."""
        login = "docker login --username AWS --password-stdin"
        names = " ".join(f"{one.host}/{repository}:{tag}" for one in (other, self))
        command = (
            f"echo {PASSWORD} | {login} {self.host} && echo {PASSWORD} | {login} {other.host} && "
            f"docker buildx imagetools create --prefer-index=false --tag {names}"
        )
        with tempfile.TemporaryDirectory() as folder:
            ended = subprocess.run(
                ["bash", "-c", command],
                capture_output=True,
                text=True,
                timeout=limit(300),
                env=path_and_home() | {"DOCKER_CONFIG": folder},
            )
        assert ended.returncode == 0, ended.stderr

    def _headers(self):
        login = b64encode(f"AWS:{PASSWORD}".encode()).decode()
        return {"Authorization": f"Basic {login}"}
