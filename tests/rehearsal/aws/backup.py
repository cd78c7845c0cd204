"""AWS Backup: nightly jobs according to the plans that CloudFormation made, and copies to other regions."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest import mock

from moto.backup import urls
from moto.backup.responses import BackupResponse

from tests.rehearsal.aws.answers import Refused
from tests.support.aws import ACCOUNT

VAULT, PLAN, SELECTION = (f"AWS::Backup::Backup{one}" for one in ("Vault", "Plan", "Selection"))


def patches():
    """Patches that make moto accept requests for paths that it does not know."""
    paths = {
        "{0}/backup-vaults/(?P<name>[^/]+)/recovery-points/$": BackupResponse.dispatch,
    }
    return [mock.patch.dict(urls.url_paths, paths)]


@dataclass
class Point:
    """A recovery point in a vault."""

    identifier: str
    source: str  # the ARN of the database
    at: datetime
    expires: datetime
    status: str = "COMPLETED"


class Backup:
    """AWS Backup in one region: ``resources`` are those that CloudFormation made there, by type and name."""

    actions = ("list_backup_vaults", "list_recovery_points_by_backup_vault")

    def __init__(self, region, resources, databases, find, tell):
        """``find(region)`` returns AWS Backup in another region, or None if that region cannot be reached.

        ``tell`` sends an event about a copy, in the region that it is copied from.
        """
        self.region, self._resources, self.databases = region, resources, databases
        self._find, self._tell = find, tell
        self.points = {}  # by vault

    # --- The API -------------------------------------------------------------------------------

    def list_backup_vaults(self, **_):
        return {"BackupVaultList": [{"BackupVaultName": one} for one in self._resources[VAULT]]}

    def list_recovery_points_by_backup_vault(self, BackupVaultName, **_):
        if BackupVaultName not in self._resources[VAULT]:
            # Not "not found": github.com/boto/boto3/issues/2269
            raise Refused(
                "AccessDeniedException", "Insufficient privileges to perform this action."
            )
        found = [
            {
                "RecoveryPointArn": f"arn:aws:rds:{self.region}:{ACCOUNT}:snapshot:{one.identifier}",
                "BackupVaultName": BackupVaultName,
                "ResourceArn": one.source,
                "ResourceType": "RDS",
                "Status": one.status,
                "CreationDate": one.at,
                "CalculatedLifecycle": {"DeleteAt": one.expires},
                "BackupSizeInBytes": 0,  # as RDS's are at times
            }
            for one in self.points.get(BackupVaultName, [])
        ]
        return {"RecoveryPoints": found}

    # --- A night -------------------------------------------------------------------------------

    def run_plans(self, unfinished=()):
        """Run the plans' jobs immediately; copies to the regions in ``unfinished`` are not completed.

        Returns region and reason of each failed copy. Whether RDS is opted in does not matter, because a selection
        names the database: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRegionSettings.html
        """
        failed = []
        for plan_id, plan in self._resources[PLAN].items():
            [rule] = plan["BackupPlan"]["BackupPlanRule"]
            for one in self._resources[SELECTION].values():
                if one["BackupPlanId"] == plan_id:
                    for arn in one["BackupSelection"]["Resources"]:
                        failed += self._back_up(arn, rule, unfinished)
        return failed

    def _back_up(self, arn, rule, unfinished):
        snapshot = self.databases.take(f"awsbackup:job-{uuid.uuid4()}", arn.rpartition(":")[2])
        self._keep(rule["TargetBackupVault"], snapshot, arn, rule["Lifecycle"], "COMPLETED")
        failed = []
        for action in rule["CopyActions"]:
            there = action["DestinationBackupVaultArn"]
            _, _, _, region, _, _, vault = there.split(":")
            destination = self._find(region)
            if destination is None:
                self._tell(arn, there, "FAILED")
                failed.append((region, "the region does not answer"))
                continue
            status = "CREATING" if region in unfinished else "COMPLETED"
            destination.take_copy(vault, snapshot, arn, action["Lifecycle"], status)
            if status == "COMPLETED":
                self._tell(arn, there, status)
        return failed

    def take_copy(self, vault, snapshot, arn, lifecycle, status):
        """A copy from another region, encrypted with the key of the vault."""
        key = self._resources[VAULT][vault]["EncryptionKeyArn"]
        assert self.databases.is_enabled(key)
        fields = vars(snapshot) | {
            "identifier": f"awsbackup:copyjob-{uuid.uuid4()}",
            "key": key,
            "status": "available" if status == "COMPLETED" else "creating",
        }
        copy = type(snapshot)(**fields)
        self.databases.snapshots[copy.identifier] = copy
        self._keep(vault, copy, arn, lifecycle, status)

    def _keep(self, vault, snapshot, arn, lifecycle, status):
        assert vault in self._resources[VAULT]
        expires = datetime.now(UTC) + timedelta(days=int(lifecycle["DeleteAfterDays"]))
        point = Point(snapshot.identifier, arn, datetime.now(UTC), expires, status)
        self.points.setdefault(vault, []).append(point)
