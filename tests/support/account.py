"""What tests put into the account of tests/support/aws.py, and what they read from it."""

from pathlib import Path

from deploy.delivery import bundle
from tests.support.aws import APPLICATION, OUTPUTS, REGION, REGISTRY, STAGING, FakeAws, records

DESTINATIONS = ("eu-central-1", "eu-north-1")  # of the backups of production
BOOTSTRAP = ("bootstrap", "--main-is-protected")  # the command
CHANGES = ("Put", "Delete", "Create", "Update", "Execute")


def made(aws: FakeAws, stack: str, region: str = REGION) -> None:
    """Add a stack to the account."""
    name = f"{APPLICATION}-{stack}"
    key = name if region == REGION else f"{region}/{name}"
    aws.stacks[key] = {"status": "CREATE_COMPLETE", "outputs": dict(OUTPUTS[name])}


def add_bundle(aws: FakeAws, *labels: str) -> None:
    """Let versions have the bundle of this project, not only some bytes."""
    packed = bundle.make(f"{REGISTRY}/{APPLICATION}@sha256:{'0' * 64}", Path())
    aws.add_version(*labels, bundle=packed)


def add_history(aws: FakeAws, *entries: str, name: str = STAGING, region: str = REGION) -> None:
    """Add earlier deployments, such as "deploy old"."""
    aws.region = region
    for number, entry in enumerate(entries):
        key = f"deployments/{name}/20260101T0000{number:02}000000Z {entry}"
        aws.s3_put_object(records(region), key)


def recorded(aws: FakeAws, name: str = STAGING) -> list[str]:
    """The entries of the history, without their times."""
    prefix = f"deployments/{name}/"
    return [key.partition(" ")[2] for key in sorted(aws.objects) if key.startswith(prefix)]


def changes(aws: FakeAws) -> list[str]:
    """The names of the operations that changed something and were not undone."""
    change_set = {"CreateChangeSet", "DeleteChangeSet", "DeleteStack"}
    names = [name.partition(":")[2] for name, _ in aws.calls]
    return [name for name in names if name.startswith(CHANGES) and name not in change_set]
