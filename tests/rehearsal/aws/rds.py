"""RDS: the databases that environments have, and snapshots of them with their data.

moto knows only databases that it made itself, and snapshots without content.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from tests.rehearsal.aws.answers import Refused
from tests.rehearsal.machines.docker import Failed
from tests.support.aws import ACCOUNT

NUMBERS = itertools.count()


@dataclass
class Snapshot:
    """A snapshot in one region, and the file with its content."""

    identifier: str
    kind: str  # manual or awsbackup
    file: Path
    database: str
    user: str
    key: str
    at: datetime  # the last transaction in it
    size: int = 20  # GiB
    status: str = "available"


class Databases:
    """Serves the databases of ``environments``, by name, and the snapshots of a region."""

    actions = (
        "modify_db_instance",
        "describe_db_instances",
        "describe_db_snapshots",
        "copy_db_snapshot",
        "describe_db_instance_automated_backups",
    )

    def __init__(self, region, environments, folder, client):
        self.region, self.environments = region, environments
        self.snapshots, self.retained = (
            {},
            set(),
        )  # retained: deleted databases whose backups remain
        self.quota = 40  # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html
        self._folder, self._client = folder, client

    # --- The API -------------------------------------------------------------------------------

    def modify_db_instance(
        self, DBInstanceIdentifier, MasterUserPassword=None, DeletionProtection=None, **_
    ):
        database = self._find(DBInstanceIdentifier)
        if MasterUserPassword:
            database.change_password(MasterUserPassword)
        if DeletionProtection is not None:
            database.properties["DeletionProtection"] = str(DeletionProtection).lower()
        return {"DBInstance": self._describe(DBInstanceIdentifier)}

    def describe_db_instances(self, DBInstanceIdentifier=None, **_):
        names = [one.name for one in self.environments.values() if one.database]
        wanted = [DBInstanceIdentifier] if DBInstanceIdentifier else names
        return {"DBInstances": [self._describe(one) for one in wanted]}

    def describe_db_instance_automated_backups(self, DBInstanceIdentifier, **_):
        """Of databases that were deleted, as .ebextensions/40-database.config wants it; without content."""
        found = [
            {"DBInstanceIdentifier": name, "Region": self.region, "Status": "retained"}
            for name in self.retained
            if name == DBInstanceIdentifier
        ]
        return {"DBInstanceAutomatedBackups": found}

    def describe_db_snapshots(self, DBSnapshotIdentifier=None, SnapshotType=None, **_):
        if DBSnapshotIdentifier and DBSnapshotIdentifier not in self.snapshots:
            raise Refused("DBSnapshotNotFound", f"DBSnapshot {DBSnapshotIdentifier} not found.")
        found = [
            one
            for one in self.snapshots.values()
            if DBSnapshotIdentifier in (None, one.identifier)
            and one.kind == (SnapshotType or "manual")
        ]
        if DBSnapshotIdentifier and not found:  # without its type, AWS Backup's is not looked at
            raise Refused("DBSnapshotNotFound", f"DBSnapshot {DBSnapshotIdentifier} not found.")
        described = [self._describe_snapshot(one) for one in found]
        for one in found:  # a snapshot in creation is complete at the next request
            if one.kind == "manual" and one.status == "creating":
                one.status = "available"
        return {"DBSnapshots": described}

    def copy_db_snapshot(self, SourceDBSnapshotIdentifier, TargetDBSnapshotIdentifier, **_):
        if TargetDBSnapshotIdentifier in self.snapshots:
            raise Refused("DBSnapshotAlreadyExists", "Cannot create the snapshot: it exists.")
        source = self._usable(SourceDBSnapshotIdentifier)
        copy = Snapshot(
            TargetDBSnapshotIdentifier,
            "manual",
            source.file,
            source.database,
            source.user,
            source.key,
            source.at,
            source.size,
            "creating",
        )
        self.snapshots[copy.identifier] = copy
        return {"DBSnapshot": self._describe_snapshot(copy)}

    # --- For AWS Backup and Beanstalk ------------------------------------------------------

    def refuse_too_many(self):
        """Raises Failed if the region has as many databases as the account may have there."""
        if len([one for one in self.environments.values() if one.database]) >= self.quota:
            raise Failed(
                'Resource handler returned message: "DB Instance quota exceeded (Service: Rds, '
                'Status Code: 400)" (HandlerErrorCode: ServiceLimitExceeded)'
            )

    def refuse_deletion(self, name):
        """Raises Failed if the database ``name`` is protected."""
        if self.environments[name].database.properties["DeletionProtection"] == "true":
            raise Failed(
                "Cannot delete protected DB Instance, please disable deletion protection and try "
                "again."
            )

    def take_final(self, environment):
        """The snapshot that CloudFormation takes of a database before it deletes it."""
        identifier = f"{environment.stack.name}-snapshot-database-{next(NUMBERS)}"
        self.take(identifier, environment.name, "manual")
        self.retained.add(environment.name)

    def take(self, identifier, name, kind="awsbackup"):
        """A snapshot of the database of the environment ``name``."""
        database = self.environments[name].database
        path = self._folder / f"{next(NUMBERS)}.sql"
        at = database.take_snapshot(path)
        properties = database.properties
        self.snapshots[identifier] = Snapshot(
            identifier,
            kind,
            path,
            name,
            properties["MasterUsername"],
            properties["KmsKeyId"],
            at,
            int(properties["AllocatedStorage"]),
        )
        return self.snapshots[identifier]

    def find_restorable(self, properties):
        """The data of the snapshot from which a declared database is to be restored, or None if there is none."""
        identifier = properties.get("DBSnapshotIdentifier")
        if not identifier:
            return None
        if "DBName" in properties:
            raise Failed("DBName must be null when Restoring for this Engine.")
        try:
            snapshot = self._usable(identifier)
        except Refused as refused:
            raise Failed(f"Resource handler returned message: {refused}") from refused
        if int(properties["AllocatedStorage"]) < snapshot.size:
            raise Failed(
                "The allocated storage size can't be less than the source snapshot or backup size."
            )
        if int(properties["MaxAllocatedStorage"]) <= int(properties["AllocatedStorage"]):
            raise Failed("Max storage size must be greater than storage size")
        return snapshot.file

    def is_enabled(self, key):
        """Whether a key can be used."""
        found = self._client("kms").describe_key(KeyId=key)["KeyMetadata"]
        return found["KeyState"] == "Enabled"

    def _usable(self, identifier):
        snapshot = self.snapshots.get(identifier)
        if snapshot is None:
            raise Refused("DBSnapshotNotFound", f"DBSnapshot {identifier} not found.")
        if snapshot.status != "available":
            raise Refused(
                "InvalidDBSnapshotState",
                f"The snapshot {identifier} is in the state {snapshot.status}.",
            )
        if not self.is_enabled(snapshot.key):
            raise Refused(
                "KMSKeyNotAccessibleFault",
                f"The KMS key {snapshot.key} doesn't exist, isn't enabled, or you don't have "
                "permissions to access it.",
            )
        return snapshot

    def _find(self, name):
        environment = self.environments.get(name)
        if not (environment and environment.database):
            raise Refused("DBInstanceNotFound", f"DBInstance {name} not found.")
        return environment.database

    def _describe(self, name):
        database = self._find(name)
        identity = sha256(database.container.encode()).hexdigest()[:26].upper()
        return {
            "DBInstanceIdentifier": name,
            "DBInstanceStatus": "available",
            "PendingModifiedValues": {},
            "DeletionProtection": database.properties["DeletionProtection"] == "true",
            "KmsKeyId": database.properties["KmsKeyId"],
            "DbiResourceId": f"db-{identity}",
            "InstanceCreateTime": datetime.now(UTC),
        }

    def _describe_snapshot(self, one):
        arn = f"arn:aws:rds:{self.region}:{ACCOUNT}:snapshot:{one.identifier}"
        return {
            "DBSnapshotIdentifier": one.identifier,
            "DBSnapshotArn": arn,
            "DBInstanceIdentifier": one.database,
            "SnapshotType": one.kind,
            "Status": one.status,
            "PercentProgress": 100 if one.status == "available" else 40,
            "Engine": "postgres",
            "EngineVersion": "18.1",
            "AllocatedStorage": one.size,
            "MasterUsername": one.user,
            "Encrypted": True,
            "KmsKeyId": one.key,
            "OriginalSnapshotCreateTime": one.at,
            "SnapshotCreateTime": datetime.now(UTC),
            "SnapshotDatabaseTime": one.at,
        }
