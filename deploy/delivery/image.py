"""The image, which is built locally and published to ECR under a tag that is never reused."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound

PLATFORM = "linux/amd64"
# Else an image store of containerd, the default since Docker 29, adds a provenance, which makes the
# image an index; ECR does not scan those (github.com/moby/buildkit/issues/3499)
BUILD_ENV = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
LIST_PACKAGES = """
import importlib.metadata, json
def terms(package):  # older packages name their licence in a classifier only
    classifiers = package.get_all("Classifier") or []
    named = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    return package["License-Expression"] or package["License"] or " OR ".join(named)

found = {(one.name, one.version, terms(one.metadata)) for one in importlib.metadata.distributions()}
print(json.dumps(sorted(found)))
"""
# Debian's packages of which its archive has a newer version: binary and source package, version.
# Those that would be added have no installed version, in brackets. No failure may pass for nothing
LIST_UPGRADES = r"""
apt-get -qq -o APT::Update::Error-Mode=any update || exit
newer=$(apt-get -qqs dist-upgrade) || exit
echo "$newer" | sed -n 's/^Inst \([^ ]*\) \[[^]]*\] (\([^ ]*\) .*/\1 \2/p' |
while read -r name version; do
    dpkg-query --show --showformat "\${Package} \${source:Package} $version\n" "$name" || exit
done
"""
UNKNOWN = "sha256:" + 64 * "0"  # stands for the digest of an image that a dry run did not push


def find_digest(run: Run, label: str) -> str | None:
    """The digest of the image ``label`` in the registry, or None. Raises AwsFailure."""
    found = _describe(run, label)
    return None if found is None else str(found["imageDigest"])


def refuse_index(run: Run, label: str) -> None:
    """Raise Failure if the image ``label`` is a list of images, of which ECR scans none."""
    found = _describe(run, label) or {}
    if found.get("imageManifestMediaType") in INDEXES:
        raise Failure(
            f"the image {label} is an index, which ECR does not scan",
            next="build it with another BUILD_NUMBER, and a builder that does not add "
            "attestations: docker buildx use default",
        )


def _describe(run: Run, label: str) -> dict[str, Any] | None:
    try:
        found = run.aws.ask(
            "ecr",
            "describe_images",
            repositoryName=run.settings.application,
            imageIds=[{"imageTag": label}],
        )
    except AwsFailure as failure:
        if failure.code == "ImageNotFoundException":
            return None
        raise
    described: dict[str, Any] = found["imageDetails"][0]
    return described


def repository(run: Run) -> str:
    """The URI of the repository. Raises NotFound when there is none."""
    try:
        found = run.aws.ask(
            "ecr", "describe_repositories", repositoryNames=[run.settings.application]
        )
    except AwsFailure as failure:
        if failure.code != "RepositoryNotFoundException":
            raise
        raise NotFound(
            "there is no repository for images yet",
            next=run.settings.elsewhere("create staging") + ", which creates it",
        ) from failure
    return str(found["repositories"][0]["repositoryUri"])


def build(run: Run, name: str, label: str) -> None:
    """Build the image ``name``, which reports ``label`` as its version. Raises Failure."""
    bases = run.settings.env.get("BASES")
    arguments = [f"APP_VERSION={label}", *([f"BASES={bases}"] if bases else [])]
    # Outside CI, local images will do, and there may be no network
    newest = ["--pull"] if run.settings.env.get("PULL") == "true" else []
    _change(
        run,
        "the image cannot be built",
        BUILD_ENV,
        # --load: another builder than Docker's own would keep the image to itself
        "build",
        "--load",
        *newest,
        "--platform",
        PLATFORM,
        *(word for one in arguments for word in ("--build-arg", one)),
        "--tag",
        name,
        ".",
    )


def push(run: Run, name: str) -> None:
    """Publish the image ``name``; its tag exists only once all of it is pushed. Raises Failure."""
    with _logged_in({name: run}) as env:
        _change(run, "the image cannot be pushed", env, "push", "--quiet", name)


def pull(run: Run, name: str) -> None:
    """Pull the image ``name``, which was published earlier. Raises Failure."""
    with _logged_in({name: run}) as env:
        _change(run, "the image cannot be pulled", env, "pull", "--quiet", name)


def copy(run: Run, there: Run, label: str) -> None:
    """Copy the image ``label`` to the registry in another region, with the same digest.

    Does nothing if it is there already. Raises Failure.
    """
    digest = find_digest(run, label)
    found = find_digest(there, label)
    if found == digest:
        return
    if found or digest is None:
        raise Failure(
            f"the image {label} is {digest or 'missing'} in {run.settings.region}, and "
            f"{found or 'missing'} in {there.settings.region}",
            next="find out which one is right; a tag is never reused",
        )
    source, target = f"{repository(run)}@{digest}", f"{repository(there)}:{label}"
    cannot = (
        f"the image {label} cannot be copied to {there.settings.region}, which needs buildx 0.12"
    )
    with _logged_in({source: run, target: there}) as env:
        # Not by pull and push, which could change the manifest and therefore the digest
        command = ("buildx", "imagetools", "create", "--prefer-index=false")
        _change(run, cannot, env, *command, "--tag", target, source)


def _change(run: Run, cannot: str, env: dict[str, str], *arguments: str) -> None:
    """Run docker. Raises Failure, which says ``cannot``."""
    if run.tools.change("docker", *arguments, env=env):
        raise Failure(cannot, next="see the output of docker above, then run it again")


def list_packages(run: Run, name: str) -> str:
    """The Python packages in the image ``name``: JSON lists of name, version and licence."""
    return run.tools.ask(
        "docker", "run", "--rm", "--network=none", "--entrypoint=python", name, "-c", LIST_PACKAGES
    )


def list_upgrades(run: Run, name: str) -> dict[str, str]:
    """The newer versions of Debian's packages in the image ``name``, by the names of both.

    Of binary and source packages: scanners name either. Raises Failure, also if Debian's archive
    does not answer.
    """
    command = ("docker", "run", "--rm", "--user=0", "--entrypoint=sh", name, "-c", LIST_UPGRADES)
    code, listed, reason = run.tools.try_to_ask(*command, timeout=300)
    if code:
        raise Failure(
            f"the packages of the image cannot be compared with Debian's archive: {reason}",
            next="see whether containers reach the archive, then run it again",
        )
    found: dict[str, str] = {}
    for line in listed.splitlines():
        binary, source, version = line.split()
        found |= {binary: version, source: version}
    return found


@contextmanager
def _logged_in(images: dict[str, Run]) -> Iterator[dict[str, str]]:
    """The environment of docker with a temporary configuration, to access the registries.

    ``images`` has the run in the region of each. The file is as `docker login` writes it where it
    finds no keychain; in one, the password would outlive this run
    (github.com/docker/cli/blob/master/cli/config/config.go).
    """
    logins = {}
    for name, run in images.items():
        answer = run.aws.ask("ecr", "get_authorization_token")["authorizationData"][0]
        logins[name.partition("/")[0]] = {"auth": answer["authorizationToken"]}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps({"auths": logins}))
        yield _docker_environment(run, Path(folder))


def _docker_environment(run: Run, folder: Path) -> dict[str, str]:
    env = {"DOCKER_CONFIG": str(folder)}
    code, host, _ = run.tools.try_to_ask(
        "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"
    )
    if not code and host and "DOCKER_HOST" not in os.environ:
        env["DOCKER_HOST"] = host
    plugins = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"
    if plugins.is_dir():
        (folder / "cli-plugins").symlink_to(plugins)
    return env
