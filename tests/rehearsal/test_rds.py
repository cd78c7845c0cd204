"""The rehearsal's RDS refuses to restore the same snapshots as AWS."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.rehearsal.aws.rds import Databases, Snapshot
from tests.rehearsal.machines.docker import Failed

WANTED = {"DBSnapshotIdentifier": "one", "AllocatedStorage": "20", "MaxAllocatedStorage": "100"}


@pytest.fixture
def databases(tmp_path):
    """RDS with one snapshot of a 20 GiB database, whose KMS key is "Enabled" until a test changes that."""
    kms = SimpleNamespace(state="Enabled")
    kms.describe_key = lambda **_: {"KeyMetadata": {"KeyState": kms.state}}
    found = Databases("eu-central-1", {}, tmp_path, lambda service: kms)
    found.kms = kms
    found.snapshots["one"] = Snapshot(
        "one", "manual", Path("one.sql"), "prod", "somebody", "a-key", datetime.now(UTC)
    )
    return found


def test_a_complete_snapshot_is_restored(databases):
    assert databases.find_restorable(WANTED) == Path("one.sql")
    assert databases.find_restorable({"DBName": "any"}) is None  # not a restored database


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"DBName": "any"}, "DBName must be null when Restoring"),
        ({"AllocatedStorage": "10"}, "can't be less than the source snapshot"),
        ({"MaxAllocatedStorage": "20"}, "must be greater than storage size"),
        ({"DBSnapshotIdentifier": "two"}, "two not found"),
    ],
)
def test_a_declaration_that_aws_rejects_is_refused(databases, wanted, message):
    with pytest.raises(Failed, match=message):
        databases.find_restorable(WANTED | wanted)


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_a_snapshot_with_an_unusable_key_is_refused(databases, state):
    databases.kms.state = state
    with pytest.raises(Failed, match="isn't enabled"):
        databases.find_restorable(WANTED)


def test_an_incomplete_copy_is_refused(databases):
    databases.snapshots["one"].status = "creating"
    with pytest.raises(Failed, match="in the state creating"):
        databases.find_restorable(WANTED)
