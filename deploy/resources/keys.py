"""The keys of this service: they outlive their stacks, because snapshots cannot be read without."""

from typing import Any

from deploy.base.context import Run

WINDOW = 30  # days within which the deletion of a key can be cancelled
PENDING = "PendingDeletion"  # a state


def find(run: Run) -> list[dict[str, Any]]:
    """Our keys in the region of ``run`` as AWS describes them. Raises AwsFailure.

    By the tag that each stack of ours gives to its resources.
    """
    tag = {"Key": "Application", "Values": [run.settings.application]}
    found = run.aws.every(
        "resourcegroupstaggingapi",
        "get_resources",
        "ResourceTagMappingList",
        ResourceTypeFilters=["kms:key"],
        TagFilters=[tag],
    )
    return [
        run.aws.ask("kms", "describe_key", KeyId=one["ResourceARN"])["KeyMetadata"] for one in found
    ]


def find_users(run: Run, arn: str) -> list[str]:
    """The databases and snapshots of the region that the key encrypts. Raises AwsFailure."""
    databases = run.aws.every("rds", "describe_db_instances", "DBInstances")
    snapshots = [
        one
        for kind in ("automated", "awsbackup", "manual")
        for one in run.aws.every("rds", "describe_db_snapshots", "DBSnapshots", SnapshotType=kind)
    ]
    return [
        *(one["DBInstanceIdentifier"] for one in databases if one.get("KmsKeyId") == arn),
        *(one["DBSnapshotIdentifier"] for one in snapshots if one.get("KmsKeyId") == arn),
    ]


def delete(run: Run, identity: str) -> None:
    """Schedule the deletion of a key. Raises AwsFailure."""
    run.aws.change("kms", "schedule_key_deletion", KeyId=identity, PendingWindowInDays=WINDOW)
