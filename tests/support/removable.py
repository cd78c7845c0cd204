"""AWS in memory, with what a removal asks: what it keeps, refuses, and does a moment later."""

import re
from datetime import timedelta

from deploy.base.errors import Interrupted
from tests.support.aws import ACCOUNT, APPLICATION, BEGINNING, REGION, FakeAws, Refused

CHANGE = re.compile(r"(Delete|Terminate|Modify|Remove|Schedule|Put|Update)[A-Z]\w+")


class RemovableAws(FakeAws):
    """The account; ``interrupted`` is the number of the change after which a signal arrives."""

    def __init__(self):
        super().__init__()
        self.keys = {}  # (region, id): its description and state
        self.deleted = {}  # (region, secret): when it was deleted
        self.kept = {}  # (region, snapshot): database and key
        self.retained = set()  # (region, database) with backups of RDS
        self.undeletable = set()  # keys of objects
        self.changes, self.interrupted = 0, None

    # --- What tests say ------------------------------------------------------------------------

    def add_key(self, region, description):
        """A key that a stack made."""
        self.keys[region, f"key-{len(self.keys)}"] = {
            "Description": description,
            "state": "Enabled",
        }

    def state(self):
        """Everything that there is, for comparison."""
        regions = {REGION, *(region for region, _ in self._elsewhere)}
        kinds = ("environments", "versions", "objects", "secrets", "logs")
        found = {
            (region, kind): sorted(self.at(region, kind)) for region in regions for kind in kinds
        }
        keys = sorted((*where, one["state"]) for where, one in self.keys.items())
        more = (keys, sorted(self.deleted), sorted(self.kept), sorted(self.replicas))
        return found, sorted(self.stacks), *more, sorted(self.vaults)

    def _answer(self, model, context, request_signer, **more):
        answer = super()._answer(model, context, request_signer, **more)
        if CHANGE.fullmatch(model.name):
            self.changes += 1
            if self.changes == self.interrupted:
                raise Interrupted
        return answer

    # --- Elastic Beanstalk ---------------------------------------------------------------------

    def elasticbeanstalk_terminate_environment(self, EnvironmentName):
        """Only when it is Ready: https://github.com/aws/aws-elastic-beanstalk-cli/issues/47 has the message."""
        environment = self._environment(EnvironmentName)
        if environment["status"] != "Ready":
            what = f"Environment named {EnvironmentName} is in an invalid state for this operation. Must be Ready."
            raise Refused("InvalidParameterValue", what)
        environment |= {"status": "Terminating", "looks": 0}
        return {"EnvironmentName": EnvironmentName, "Status": "Terminating"}

    def elasticbeanstalk_describe_environments(self, EnvironmentNames=None, **more):
        """One that is terminated is gone after two looks; not, if its database is protected."""
        answer = super().elasticbeanstalk_describe_environments(EnvironmentNames, **more)
        for name, one in list(self._here("environments").items()):
            if one["status"] == "Terminating" and name in (EnvironmentNames or ()):
                one["looks"] += 1
                if one["looks"] == 2:
                    self._end(name, one)
        return answer

    def _end(self, name, environment):
        if name in self.protected:
            self.tell(
                name,
                "Deleting Database failed Reason: Cannot delete protected DB Instance",
                "ERROR",
            )
            environment["status"] = "Ready"
            return
        where = self.region, f"awseb-{environment['id']}-stack-snapshot-database"
        [key] = [
            f"arn:aws:kms:{region}:{ACCOUNT}:key/{one}"
            for (region, one), known in self.keys.items()
            if region == self.region and known["Description"] == f"Database of {name}"
        ] or [None]
        self.kept[where] = name, key
        self.retained.add((self.region, name))
        del self._here("environments")[name]

    # --- Databases -----------------------------------------------------------------------------

    def rds_describe_db_instances(self, DBInstanceIdentifier=None, Marker=None):
        """Those of the environments; the first page of all is empty."""
        names = sorted(self._here("environments"))
        if DBInstanceIdentifier is None:
            names = names if Marker else []
        elif DBInstanceIdentifier not in names:
            raise Refused("DBInstanceNotFound", f"DBInstance {DBInstanceIdentifier} not found.")
        else:
            names = [DBInstanceIdentifier]
        found = [
            super(RemovableAws, self).rds_describe_db_instances(one)["DBInstances"][0]
            for one in names
        ]
        return {"DBInstances": found} | (
            {} if Marker or DBInstanceIdentifier else {"Marker": "more"}
        )

    def rds_modify_db_instance(self, DBInstanceIdentifier, DeletionProtection=None, **more):
        if DeletionProtection is False:
            self.protected.discard(DBInstanceIdentifier)
        else:
            super().rds_modify_db_instance(DBInstanceIdentifier, **more)

    def rds_describe_db_snapshots(self, SnapshotType, **more):
        if SnapshotType == "awsbackup":
            return super().rds_describe_db_snapshots(SnapshotType, **more)
        found = [
            {"DBSnapshotIdentifier": one, "DBInstanceIdentifier": database, "AllocatedStorage": 20, "Status": "available"}
            | ({"KmsKeyId": key} if key else {})
            for (region, one), (database, key) in self.kept.items()
            if region == self.region and SnapshotType == "manual"
        ]  # fmt: skip
        return {"DBSnapshots": found}

    def rds_describe_db_instance_automated_backups(self, DBInstanceIdentifier):
        found = [
            {"DBInstanceIdentifier": name, "Status": "retained"}
            for region, name in self.retained
            if (region, name) == (self.region, DBInstanceIdentifier)
        ]
        return {"DBInstanceAutomatedBackups": found}

    # --- Secrets and keys ----------------------------------------------------------------------

    def secretsmanager_describe_secret(self, SecretId):
        answer = super().secretsmanager_describe_secret(SecretId)
        copies = sorted(region for region, name in self.replicas if name == SecretId)
        if copies and self.region == REGION:
            answer["ReplicationStatus"] = [{"Region": one} for one in copies]
        if (self.region, SecretId) in self.deleted:
            answer["DeletedDate"] = BEGINNING
        return answer

    def secretsmanager_remove_regions_from_replication(self, SecretId, RemoveReplicaRegions):
        for region in RemoveReplicaRegions:
            self.replicas.remove((region, SecretId))
            del self.at(region, "secrets")[SecretId]

    def secretsmanager_delete_secret(self, SecretId, RecoveryWindowInDays):
        """The refusal is from https://github.com/rebuy-de/aws-nuke/issues/1127."""
        copies = sorted(region for region, name in self.replicas if name == SecretId)
        if copies:
            what = f"You can't delete secret {SecretId} that still has replica regions [{', '.join(copies)}]."
            raise Refused("InvalidParameterException", what)
        assert RecoveryWindowInDays == 30
        self.deleted[self.region, SecretId] = self.now()

    def resourcegroupstaggingapi_get_resources(
        self, ResourceTypeFilters, TagFilters, PaginationToken=None
    ):
        """In two pages, the first of which is empty."""
        assert ResourceTypeFilters == ["kms:key"]
        assert TagFilters == [{"Key": "Application", "Values": [APPLICATION]}]
        if not PaginationToken:
            return {"ResourceTagMappingList": [], "PaginationToken": "more"}
        found = [
            {"ResourceARN": f"arn:aws:kms:{region}:{ACCOUNT}:key/{one}"}
            for region, one in self.keys
            if region == self.region
        ]
        return {"ResourceTagMappingList": found, "PaginationToken": ""}

    def kms_describe_key(self, KeyId):
        name = KeyId.rpartition("/")[2]
        known = self.keys[self.region, name]
        found = {"KeyId": name, "Arn": f"arn:aws:kms:{self.region}:{ACCOUNT}:key/{name}",
                 "Description": known["Description"], "KeyState": known["state"]}  # fmt: skip
        if known["state"] == "PendingDeletion":
            found["DeletionDate"] = BEGINNING + timedelta(days=30)
        return {"KeyMetadata": found}

    def kms_schedule_key_deletion(self, KeyId, PendingWindowInDays):
        assert PendingWindowInDays == 30
        self.keys[self.region, KeyId.rpartition("/")[2]]["state"] = "PendingDeletion"

    # --- S3 ------------------------------------------------------------------------------------

    def s3_delete_objects(self, Bucket, Delete, **_):
        """What could not be deleted is in the answer, which is no error."""
        errors, objects = [], self._objects(Bucket)
        for one in Delete["Objects"]:
            if one["Key"] in self.undeletable:
                errors.append(
                    {"Key": one["Key"], "Code": "AccessDenied", "Message": "Access Denied"}
                )
            else:
                objects.pop(one["Key"], None)
        return {"Errors": errors} if errors else {}
