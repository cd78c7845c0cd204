"""AWS in memory, with what a removal asks: what it keeps, refuses, and does a moment later."""

import re
from contextlib import contextmanager
from datetime import timedelta

from deploy.base.errors import Interrupted
from tests.support.aws import ACCOUNT, APPLICATION, BEGINNING, REGION, FakeAws, Refused, records

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
        self._kept_buckets = set()  # regions in which our own bucket was seen
        self.foreign = set()  # stacks of another service
        self.repositories, self.buckets = set(), {}  # by region; other buckets, with their objects
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
        shared = (sorted(self.applications), sorted(self.repositories), sorted(self.buckets))
        more = (shared, keys, sorted(self.deleted), sorted(self.kept), sorted(self.replicas))
        return found, sorted(self.stacks), *more, sorted(self.vaults)

    @contextmanager
    def unchanged(self):
        """Assert that everything is there afterwards as it was before."""
        before = self.state()
        yield
        assert self.state() == before

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
        keys = (
            f"arn:aws:kms:{region}:{ACCOUNT}:key/{one}"
            for (region, one), known in self.keys.items()
            if region == self.region and known["Description"] == f"Database of {name}"
        )
        self.kept[where] = name, next(keys, None)
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
            {
                "DBSnapshotIdentifier": one,
                "DBInstanceIdentifier": database,
                "AllocatedStorage": 20,
                "Status": "available",
            }
            | ({"KmsKeyId": key} if key else {})
            for (region, one), (database, key) in self.kept.items()
            if region == self.region and SnapshotType == "manual"
        ]
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
        found = {
            "KeyId": name,
            "Arn": f"arn:aws:kms:{self.region}:{ACCOUNT}:key/{name}",
            "Description": known["Description"],
            "KeyState": known["state"],
        }
        if known["state"] == "PendingDeletion":
            found["DeletionDate"] = BEGINNING + timedelta(days=30)
        return {"KeyMetadata": found}

    def kms_schedule_key_deletion(self, KeyId, PendingWindowInDays):
        assert PendingWindowInDays == 30
        self.keys[self.region, KeyId.rpartition("/")[2]]["state"] = "PendingDeletion"

    # --- S3 ------------------------------------------------------------------------------------

    def _objects(self, name):
        """Our own bucket outlives its stack; others are there as tests say."""
        if name in self.buckets:
            return self.buckets[name]
        if name == records(self.region) and self._records():
            return self._here("objects")
        return super()._objects(name)

    def _records(self):
        """Whether our own bucket was made and not deleted."""
        if self._stack(f"{APPLICATION}-foundation") in self.stacks:
            self._kept_buckets.add(self.region)
        return self.region in self._kept_buckets

    def s3_delete_objects(self, Bucket, Delete, **_):
        """What could not be deleted is in the answer, which is no error."""
        errors, objects = [], self._objects(Bucket)
        assert len(Delete["Objects"]) <= 1000
        for one in Delete["Objects"]:
            if one["Key"] in self.undeletable:
                errors.append(
                    {"Key": one["Key"], "Code": "AccessDenied", "Message": "Access Denied"}
                )
            else:
                objects.pop(one["Key"], None)
        return {"Errors": errors} if errors else {}

    def s3_list_object_versions(self, Bucket, KeyMarker=None, **_):
        """In two pages: the versions, and a marker of what was deleted."""
        found = [{"Key": key, "VersionId": "1"} for key in sorted(self._objects(Bucket))]
        if KeyMarker is None:
            return {
                "Versions": found,
                "IsTruncated": True,
                "NextKeyMarker": "x",
                "NextVersionIdMarker": "x",
            }
        return {"DeleteMarkers": [{"Key": "released", "VersionId": "2"}], "IsTruncated": False}

    def s3_delete_bucket(self, Bucket, **_):
        if self._objects(Bucket):
            raise Refused("BucketNotEmpty", "The bucket you tried to delete is not empty")
        if Bucket not in self.buckets:
            assert self._stack(f"{APPLICATION}-foundation") not in self.stacks
            self._kept_buckets.discard(self.region)
        self.buckets.pop(Bucket, None)

    def s3_list_buckets(self, Prefix, BucketRegion, ContinuationToken=None):
        """In two pages, the first of which is empty."""
        if not ContinuationToken:
            return {"Buckets": [], "ContinuationToken": "more"}
        found = [one for one in self.buckets if one.startswith(Prefix) and BucketRegion == REGION]
        return {"Buckets": [{"Name": one} for one in found]}

    # --- What environments share ---------------------------------------------------------------

    def cloudformation_describe_stacks(self, StackName=None, NextToken=None):
        """All of the region, in two pages, the first of which is empty."""
        if StackName is not None:
            return super().cloudformation_describe_stacks(StackName)
        if not NextToken:
            return {"Stacks": [], "NextToken": "more"}
        keys = [one for one in self.stacks if self._stack(one.rpartition("/")[2]) == one]
        found = []
        for key in keys:
            [stack] = super().cloudformation_describe_stacks(key.rpartition("/")[2])["Stacks"]
            application = "another" if key in self.foreign else APPLICATION
            found.append(stack | {"Tags": [{"Key": "Application", "Value": application}]})
        return {"Stacks": found}

    def cloudformation_delete_stack(self, StackName, **more):
        """Exports that are in use: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html"""
        if StackName == f"{APPLICATION}-foundation":
            kinds = ("staging", "prod", "operations", "backups", "pipeline")
            here = {one for one in self.stacks if self._stack(one.rpartition("/")[2]) == one}
            users = [one for one in here if one.endswith(kinds)]
            assert not users, f"{users} import what {StackName} exports"
            self._records()
        super().cloudformation_delete_stack(StackName, **more)

    def elasticbeanstalk_describe_applications(self, ApplicationNames):
        found = [one for one in ApplicationNames if one in self.applications]
        return {"Applications": [{"ApplicationName": one} for one in found]}

    def elasticbeanstalk_delete_application(self, ApplicationName):
        assert not self._here("environments")
        assert not self._here("versions")
        self.applications.remove(ApplicationName)

    def elasticbeanstalk_delete_application_version(self, VersionLabel, DeleteSourceBundle, **more):
        assert DeleteSourceBundle
        self._here("bundles").pop(f"{APPLICATION}/{VersionLabel}.zip", None)
        super().elasticbeanstalk_delete_application_version(VersionLabel=VersionLabel, **more)

    def ecr_describe_repositories(self, repositoryNames):
        if self.region not in self.repositories:
            raise Refused("RepositoryNotFoundException", "The repository does not exist")
        return super().ecr_describe_repositories(repositoryNames)

    def ecr_delete_repository(self, repositoryName, force):
        assert force, "it has images"
        assert self._stack(f"{APPLICATION}-foundation") not in self.stacks
        self.repositories.remove(self.region)

    def logs_delete_log_group(self, logGroupName):
        assert f"{APPLICATION}-pipeline" not in self.stacks
        del self.logs[logGroupName]


def changes(aws):
    """What changed something, in order: the operation, and what of."""
    named = ("StackName", "EnvironmentName", "SecretId", "DBInstanceIdentifier", "Key", "KeyId")
    return [
        (action.partition(":")[2], next((given[one] for one in named if one in given), None))
        for action, given in aws.calls
        if CHANGE.fullmatch(action.partition(":")[2])
    ]
