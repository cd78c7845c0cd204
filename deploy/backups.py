"""Nightly backups of a database, and their copies in two other regions."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy import owner, stacks
from deploy.environments import FOUNDATION, NAME, PLAN, Environment
from deploy.errors import AwsFailure, Failure, InvalidConfig, state
from deploy.run import Run

VAULT = "devops/vault.yml"
LATE = timedelta(hours=36)  # a night, its copying, and some
RDS = "RDS"


@dataclass(frozen=True)
class Backup:
    """The newest complete backup in a region; ``identifier`` is that of its snapshot in RDS."""

    identifier: str
    at: datetime  # the last transaction in it
    size: int  # GiB of storage that a database restored from it needs
    key: str
    expires: datetime | None


def install(run: Run, environment: Environment) -> None:
    """Make or change vaults, plan and alarms of ``environment`` in its three regions.

    Safe to run again. The stack that all environments share is made in the destinations as well,
    for their images and messages. Raises InvalidConfig without backups in
    devops/environments.toml, and Failure.
    """
    regions = (run.settings.home, *_destinations(environment))
    vaults = []
    for region in regions:
        with state(f"the regions before {region} are done"):
            vaults.append(_install_vault(run.at(region), environment))
    if not all(vaults):
        if not run.changes.dry_run:
            raise Failure("the stacks of the vaults are gone", next="run it again")
        run.console.say("what the plan would be can be shown once the vaults are there")
        return
    with state("the vaults are there"):
        _install_plan(run.at(run.settings.home), environment, [one or {} for one in vaults])
    run.changes.done(
        f"{environment.name} is backed up every night, with copies in {', '.join(regions[1:])}"
    )


def _install_vault(run: Run, environment: Environment) -> dict[str, str] | None:
    """The outputs of the vault in the region of ``run``; None in a dry run before it was made."""
    _opt_in(run)
    is_home = run.settings.region == run.settings.home
    if not is_home:
        emails = owner.read_for_use(run.settings.root).foundation_parameters()
        stacks.apply(run, run.settings.foundation, FOUNDATION, emails)
    days = environment.retention()["HomeDays" if is_home else "CopyDays"]
    parameters = {"Environment": environment.name, "KeptDays": days}
    stacks.apply(run, _stack(environment), VAULT, parameters)
    return stacks.find_outputs(run, _stack(environment))


def _install_plan(run: Run, environment: Environment, vaults: list[dict[str, str]]) -> None:
    home, first, second = vaults
    parameters = {
        "Environment": environment.name,
        "Foundation": run.settings.foundation,
        "Repository": owner.read(run.settings.root).repository,
        "Vault": home["Vault"],
        "FirstVaultArn": first["VaultArn"],
        "SecondVaultArn": second["VaultArn"],
    }
    stacks.apply(run, f"{environment.name}-backups", PLAN, parameters | environment.retention())


def find(run: Run, environment: Environment) -> dict[str, Backup | None]:
    """The newest complete backup by region, home first; None where there is none.

    Raises InvalidConfig without backups in devops/environments.toml, and AwsFailure.
    """
    regions = (run.settings.home, *_destinations(environment))
    return {region: find_newest(run.at(region), environment) for region in regions}


def find_newest(run: Run, environment: Environment) -> Backup | None:
    """The newest complete backup in the region of ``run``, or None. Raises AwsFailure."""
    found = [one for one in _recovery_points(run, environment) if one["Status"] == "COMPLETED"]
    backups = [_backup(run, one) for one in found]
    return max(backups, key=lambda one: one.at, default=None)


def explain(region: str, backup: Backup | None, now: datetime) -> str:
    """A line for people."""
    if backup is None:
        return f"LATE  {region}: no complete backup"
    hours = int((now - backup.at).total_seconds()) // 3600
    word = "LATE" if is_late(backup, now) else "    "
    expiry = f"{backup.expires:%Y-%m-%d}" if backup.expires else "never"
    return (
        f"{word}  {region}: {hours} h old, {backup.size} GiB, expires {expiry}, "
        f"{backup.identifier}, key {backup.key.rpartition('/')[2]}"
    )


def is_late(backup: Backup | None, now: datetime) -> bool:
    """Whether a newer backup should be there."""
    return backup is None or now - backup.at > LATE


def _stack(environment: Environment) -> str:
    return f"{environment.name}-vault"


def _destinations(environment: Environment) -> tuple[str, str]:
    found = environment.destinations()
    if found is None:
        raise InvalidConfig(
            NAME,
            f"{environment.short} has no backups: give it a table [{environment.short}.backups]",
        )
    return found


def _opt_in(run: Run) -> None:
    """Without it nothing is backed up, and nothing fails."""
    settings = run.aws.ask("backup", "describe_region_settings")["ResourceTypeOptInPreference"]
    if not settings.get(RDS):
        run.aws.change("backup", "update_region_settings", ResourceTypeOptInPreference={RDS: True})


def _recovery_points(run: Run, environment: Environment) -> Iterator[dict[str, Any]]:
    try:
        yield from run.aws.every(
            "backup", "list_recovery_points_by_backup_vault", "RecoveryPoints",
            BackupVaultName=f"{environment.name}-{run.settings.region}", ByResourceType=RDS,
        )  # fmt: skip
    except AwsFailure as failure:
        if failure.code != "ResourceNotFoundException":
            raise


def _backup(run: Run, point: dict[str, Any]) -> Backup:
    """What RDS says of it: AWS Backup's own times and sizes are those of the copy, or 0."""
    identifier = point["RecoveryPointArn"].partition(":snapshot:")[2]
    [snapshot] = run.aws.ask(
        "rds", "describe_db_snapshots", DBSnapshotIdentifier=identifier, SnapshotType="awsbackup"
    )["DBSnapshots"]
    at = snapshot.get("SnapshotDatabaseTime") or snapshot["OriginalSnapshotCreateTime"]
    return Backup(
        identifier, at.astimezone(UTC), snapshot["AllocatedStorage"], snapshot["KmsKeyId"],
        point.get("CalculatedLifecycle", {}).get("DeleteAt"),
    )  # fmt: skip
