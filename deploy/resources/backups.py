"""Backups of a database and their copies in two other regions: which exist, and how old."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, InvalidConfig, NotFound
from deploy.base.waiting import Pending, wait_until
from deploy.config.environments import NAME, Environment

AWS_BACKUP, AVAILABLE = "awsbackup", "available"  # a type and a status of snapshots
PATIENCE = 4 * 3600  # seconds for the copy of a snapshot
LATE = timedelta(hours=36)  # one day, the time to copy, and a margin
# Why there is no backup in a region
ABSENT, NONE = "not installed", "no complete backup"
COPIES = ("FirstCopies", "SecondCopies")  # the metrics of devops/backups.yml that count them


@dataclass(frozen=True)
class Backup:
    """The newest complete backup in a region; ``identifier`` is that of its RDS snapshot."""

    identifier: str
    at: datetime  # time of the last transaction in it
    size: int  # GiB of storage that a database restored from it needs
    key: str
    expires: datetime | None


def find_destinations(environment: Environment) -> tuple[str, str]:
    """The two regions to which its backups are copied. Raises InvalidConfig without backups."""
    found = environment.destinations()
    if found is None:
        raise InvalidConfig(
            NAME,
            f"{environment.short} has no backups: give it a table [{environment.short}.backups]",
        )
    return found


def find_regions(run: Run, environment: Environment) -> tuple[str, ...]:
    """The regions of its backups, home first. Raises InvalidConfig without backups."""
    return (run.settings.home, *find_destinations(environment))


def name_vault(environment: Environment, region: str) -> str:
    """The vault of ``environment`` in ``region``, as devops/vault.yml names it."""
    return f"{environment.name}-{region}"


def find(run: Run, environment: Environment) -> dict[str, Backup | str]:
    """The newest complete backup by region, home first, or why there is none.

    Raises InvalidConfig without backups in devops/environments.toml, and AwsFailure.
    """
    regions = find_regions(run, environment)
    return {region: find_newest(run.at(region), environment) for region in regions}


def show(run: Run, environment: Environment, now: datetime) -> bool:
    """Print the newest complete backup of each region; whether none is late. Raises Failure."""
    found = find(run, environment)
    for region, one in found.items():
        run.console.result(explain(region, one, now))
    return not any(is_late(one, now) for one in found.values())


def find_newest(run: Run, environment: Environment) -> Backup | str:
    """The newest complete backup in the region of ``run``, or why there is none.

    Raises AwsFailure.
    """
    points = find_points(run, environment)
    if points is None:
        return ABSENT
    if not points:
        return NONE
    snapshots = {
        one["DBSnapshotIdentifier"]: one
        for one in run.aws.every(
            "rds",
            "describe_db_snapshots",
            "DBSnapshots",
            DBInstanceIdentifier=environment.name,
            SnapshotType=AWS_BACKUP,
        )
    }
    found = [
        _backup(snapshots[identifier], one)
        for one in points
        if one["Status"] == "COMPLETED"
        and (identifier := _identify(one)) in snapshots
        and snapshots[identifier]["Status"] == AVAILABLE
    ]
    return max(found, key=lambda one: one.at) if found else NONE


def find_unfinished(run: Run, environment: Environment, chosen: Backup) -> list[str]:
    """One line for each backup that was started after ``chosen`` and is not complete.

    Raises AwsFailure.
    """
    return [
        f"{_identify(one)} of {one['CreationDate']:%Y-%m-%d %H:%M} UTC is {one['Status']}"
        for one in find_points(run, environment) or []
        if one["Status"] != "COMPLETED" and one["CreationDate"] > chosen.at
    ]


def find_snapshot(run: Run, identifier: str) -> Backup:
    """A complete snapshot in the region of ``run``, by its identifier. Raises Failure."""
    kind = AWS_BACKUP if identifier.startswith(f"{AWS_BACKUP}:") else "manual"
    answer = run.aws.find(
        "rds",
        "describe_db_snapshots",
        "DBSnapshotNotFound",
        DBSnapshotIdentifier=identifier,
        SnapshotType=kind,
    )
    if answer is None:
        raise NotFound(
            f"there is no snapshot {identifier} in {run.settings.region}: it was never there, or "
            "has expired",
            next="name another one, or leave it out to use the newest complete backup",
        )
    [found] = answer["DBSnapshots"]
    if found["Status"] != AVAILABLE:
        raise Failure(
            f"the snapshot {identifier} is {found['Status']}, {found.get('PercentProgress', 0)} %",
            next="wait until it is complete, or name another one",
        )
    return _backup(found, {})


def begin_copy(run: Run, backup: Backup, name: str) -> str:
    """The identifier of a copy of ``backup`` for the environment ``name``, which does not expire.

    The environment's stack refers to the copy from then on. Copying takes minutes: see
    ``wait_for``. A snapshot that somebody made by hand is used directly, without a copy. Raises
    AwsFailure.
    """
    if not backup.identifier.startswith(f"{AWS_BACKUP}:"):
        return backup.identifier
    copy = f"{name}-{backup.at:%Y%m%dt%H%M%S}"
    try:
        run.aws.change(
            "rds",
            "copy_db_snapshot",
            SourceDBSnapshotIdentifier=backup.identifier,
            TargetDBSnapshotIdentifier=copy,
        )
    except AwsFailure as failure:
        if not failure.code.startswith("DBSnapshotAlreadyExists"):
            raise
    return copy


def wait_for(run: Run, copy: str) -> None:
    """Wait until the snapshot ``copy`` is complete. Raises Failure."""

    def look() -> str | Pending:
        [found] = run.aws.ask(
            "rds", "describe_db_snapshots", DBSnapshotIdentifier=copy, SnapshotType="manual"
        )["DBSnapshots"]
        if found["Status"] in (AVAILABLE, "failed"):
            return str(found["Status"])
        return Pending(found["Status"], f"{found.get('PercentProgress', 0)} %")

    found = wait_until(run, f"the snapshot {copy}", look, PATIENCE)
    if found != AVAILABLE:
        raise Failure(
            f"the snapshot {copy} is {found.state if isinstance(found, Pending) else found}",
            next=run.settings.aws(f"rds delete-db-snapshot --db-snapshot-identifier {copy}")
            + ", and run it again",
        )


def explain(region: str, backup: Backup | str, now: datetime) -> str:
    """One human-readable line about the backup in a region."""
    if isinstance(backup, str):
        return f"LATE  {region}: {backup}"
    hours = int((now - backup.at).total_seconds()) // 3600
    word = "LATE" if is_late(backup, now) else "    "
    expiry = f"{backup.expires:%Y-%m-%d}" if backup.expires else "never"
    return (
        f"{word}  {region}: {hours} h old, {backup.size} GiB, expires {expiry}, "
        f"{backup.identifier}, key {backup.key.rpartition('/')[2]}"
    )


def is_late(backup: Backup | str, now: datetime) -> bool:
    """Whether a newer backup should exist by now."""
    return isinstance(backup, str) or now - backup.at > LATE


def find_points(run: Run, environment: Environment) -> list[dict[str, Any]] | None:
    """The contents of the vault in the region of ``run``; None without one. Raises AwsFailure.

    For a vault that does not exist, AWS Backup's other operations answer AccessDeniedException, as
    without the permission: github.com/boto/boto3/issues/2269.
    """
    vaults = run.aws.every("backup", "list_backup_vaults", "BackupVaultList")
    name = name_vault(environment, run.settings.region)
    if all(one["BackupVaultName"] != name for one in vaults):
        return None
    return run.aws.every(
        "backup",
        "list_recovery_points_by_backup_vault",
        "RecoveryPoints",
        BackupVaultName=name,
        ByResourceType="RDS",
    )


def _identify(point: dict[str, Any]) -> str:
    return str(point["RecoveryPointArn"]).partition(":snapshot:")[2]


def _backup(snapshot: dict[str, Any], point: dict[str, Any]) -> Backup:
    """A backup by RDS's data: AWS Backup's own times and sizes are those of the copy, or 0."""
    at = snapshot.get("SnapshotDatabaseTime") or snapshot["OriginalSnapshotCreateTime"]
    return Backup(
        snapshot["DBSnapshotIdentifier"],
        at.astimezone(UTC),
        snapshot["AllocatedStorage"],
        snapshot["KmsKeyId"],
        point.get("CalculatedLifecycle", {}).get("DeleteAt"),
    )
