"""What is left of environments, and is deleted by people only: snapshots and logs."""

from typing import Any

from deploy.base.context import Run
from deploy.commands.removal.story import Found

LOGS = ("/aws/elasticbeanstalk/{}/", "/aws/rds/instance/{}/")


def find_snapshots(run: Run) -> list[dict[str, Any]]:
    """The snapshots of databases that nothing deletes by itself. Raises AwsFailure."""
    return run.aws.every("rds", "describe_db_snapshots", "DBSnapshots", SnapshotType="manual")


def find_logs(run: Run, prefix: str) -> list[str]:
    """The names of the log groups that begin with ``prefix``. Raises AwsFailure."""
    found = run.aws.every("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    return [one["logGroupName"] for one in found]


def explain_snapshots(run: Run, name: str) -> Found:
    """What is left of the data of the environment ``name``. Raises AwsFailure."""
    copies = run.aws.every(
        "rds",
        "describe_db_instance_automated_backups",
        "DBInstanceAutomatedBackups",
        DBInstanceIdentifier=name,
    )
    ours = [one for one in find_snapshots(run) if _is_of(one, name)]
    return Found(
        stays=[
            *(_explain_snapshot(run, one) for one in ours),
            *(
                f"RDS's own backups of {name} in {run.settings.region}: each expires by itself"
                for one in copies
                if one["Status"] == "retained"
            ),
        ]
    )


def _is_of(snapshot: dict[str, Any], name: str) -> bool:
    """Whether it is of the database ``name``, or a copy that was made to recover into it."""
    identifier = str(snapshot["DBSnapshotIdentifier"])
    return snapshot.get("DBInstanceIdentifier") == name or identifier.startswith(f"{name}-")


def _explain_snapshot(run: Run, one: dict[str, Any]) -> str:
    identifier = one["DBSnapshotIdentifier"]
    delete = run.settings.aws(f"rds delete-db-snapshot --db-snapshot-identifier {identifier}")
    state = f"{one['AllocatedStorage']} GiB, {one['Status']}"
    return f"the snapshot {identifier} in {run.settings.region}, {state}: {delete}"


def explain_logs(run: Run, name: str) -> Found:
    """What is left of its logs. Raises AwsFailure."""
    stays = []
    for prefix in (one.format(name) for one in LOGS):
        if found := find_logs(run, prefix):
            see = run.settings.aws(f"logs describe-log-groups --log-group-name-prefix {prefix}")
            stays.append(f"{len(found)} log groups, {prefix}*: {see}")
    return Found(stays=stays)
