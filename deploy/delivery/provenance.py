"""The records of a build: the contents of the image (an SBOM), and its provenance.

Both are kept under the digest of the image, and are never replaced.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure
from deploy.delivery import image
from deploy.resources import bucket

LOCK = "requirements/main.txt"
SBOM, PROVENANCE = "sbom.cdx.json", "provenance.json"


class Package(NamedTuple):
    """A Python package that is installed in an image."""

    name: str
    version: str
    license: str  # as the package's metadata has it: may be empty, or the full text of a licence


def keep(run: Run, label: str, name: str, digest: str) -> None:
    """Store both records of the local image ``name``, unless they are stored. Raises Failure.

    They are stored already when an interrupted build is continued.
    """
    stored = bucket.find_records(run)
    for record, text in (
        (PROVENANCE, provenance(run, label, digest)),
        (SBOM, sbom(run.settings.application, label, digest, read_packages(run, name))),
    ):
        key = f"{run.settings.application}/{digest.removeprefix('sha256:')}/{record}"
        path = run.settings.artifact.with_name(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        try:
            stored.put(
                key,
                text.encode(),
                {"Body": str(path.relative_to(run.settings.root))},
                IfNoneMatch="*",
            )
        except AwsFailure as failure:
            if failure.code != "PreconditionFailed":
                raise


def provenance(run: Run, label: str, digest: str) -> str:
    """A JSON object that says what the image ``digest`` was built from, by whom and when."""
    lock = (run.settings.root / LOCK).read_bytes()
    return json.dumps(
        {
            "version": label,
            "image": digest,
            "commit": run.tools.ask("git", "rev-parse", "HEAD"),
            "uncommitted": bool(run.tools.ask("git", "status", "--porcelain")),
            "packages": {LOCK: f"sha256:{hashlib.sha256(lock).hexdigest()}"},
            "builder": run.settings.env.get("CODEBUILD_BUILD_ARN") or run.aws.caller(),
            "built": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        indent=2,
    )


def read_packages(run: Run, name: str) -> list[Package]:
    """The Python packages in the image ``name``. Raises Failure."""
    try:
        found = [Package(*one) for one in json.loads(image.list_packages(run, name))]
        if not found:
            raise ValueError("there is none")
    except (ValueError, TypeError) as error:
        raise Failure(
            f"cannot list the packages installed in the image {name}: {error}",
            next="see the Dockerfile, and what the image prints; then build it again",
        ) from error
    return found


def sbom(application: str, label: str, digest: str, packages: Iterable[Package]) -> str:
    """A CycloneDX document in JSON, version 1.6, of the Python ``packages`` in an image."""
    content = HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))
    licenses = LicenseFactory()
    whole = Component(
        name=application, version=label, type=ComponentType.CONTAINER, hashes=[content]
    )
    parts = [
        Component(
            name=one.name,
            version=one.version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=one.name.lower(), version=one.version),
            licenses=[licenses.make_from_string(one.license)] if _is_name(one.license) else [],
        )
        for one in packages
    ]
    bom = Bom(components=parts)
    bom.metadata.component = whole
    bom.register_dependency(whole, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _is_name(text: str) -> bool:
    return bool(text) and "\n" not in text and len(text) < 100
