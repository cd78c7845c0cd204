"""The production database must never be replaced by an empty one."""

import pytest

from deploy.config import options
from tests.support import cloudformation


def custom(name, **more):
    """A custom option, which is set on the environment."""
    option = {"Namespace": "aws:elasticbeanstalk:customoption", "OptionName": name}
    return {"Fn::GetOptionSetting": option | more}


def default(name):
    """The default that the deploy tool assumes."""
    return options.default(options.CUSTOM, name)


# The values of the first deployment. None means that the property is not set.
PINNED = {
    "AvailabilityZone": None,
    "BackupTarget": None,
    "CharacterSetName": None,
    "CustomIAMInstanceProfile": None,
    "DBClusterIdentifier": None,
    "DBClusterSnapshotIdentifier": None,
    "DBInstanceIdentifier": {"Ref": "AWSEBEnvironmentName"},
    "DBName": None,
    "DBSnapshotIdentifier": custom("DatabaseSnapshot", DefaultValue={"Ref": "AWS::NoValue"}),
    "DBSubnetGroupName": custom("DatabaseSubnetGroup"),
    "DBSystemId": None,
    "Engine": "postgres",
    "KmsKeyId": custom("DatabaseKey"),
    "MasterUsername": "app",
    "NcharCharacterSetName": None,
    "PerformanceInsightsKMSKeyId": custom("DatabaseKey"),
    "Port": "5432",
    "RestoreTime": None,
    "SourceDBClusterIdentifier": None,
    "SourceDBInstanceAutomatedBackupsArn": None,
    "SourceDBInstanceIdentifier": None,
    "SourceDbiResourceId": None,
    "SourceRegion": None,
    "StorageEncrypted": True,
    "Timezone": None,
    "UseLatestRestorableTime": None,
}

# Properties that the schema lists as conditional, but that at most cause an interruption
CHANGED_IN_PLACE = {
    "AutoMinorVersionUpgrade",
    "BackupRetentionPeriod",
    "DBParameterGroupName",
    "MultiAZ",
    "PreferredMaintenanceWindow",
}


@pytest.mark.parametrize("name", PINNED)
def test_properties_whose_change_replaces_the_database_are_unchanged(resources, name):
    found = resources["Database"]["Properties"].get(name)
    assert found == PINNED[name], (
        f"{name} of the database is {found!r} and was {PINNED[name]!r}. Changing it makes "
        "CloudFormation replace the database by an EMPTY one. Move the data by a snapshot into a "
        "new environment instead, and change this test with it."
    )


def test_growth_and_restores_do_not_replace_the_database(resources):
    """None of the properties that a growing or restored database must change causes a replacement."""
    properties = resources["Database"]["Properties"]
    assert properties["AllocatedStorage"] == custom(
        "DatabaseStorage", DefaultValue=default("DatabaseStorage")
    )
    assert properties["MaxAllocatedStorage"] == custom(
        "DatabaseStorageLimit", DefaultValue=default("DatabaseStorageLimit")
    )
    assert properties["EngineVersion"] == "18", "a minor version could be older than a snapshot's"
    changeable = {
        "AllocatedStorage",
        "MaxAllocatedStorage",
        "StorageType",
        "DBInstanceClass",
        "EngineVersion",
        "MasterUserPassword",
        "DeletionProtection",
        "PreferredBackupWindow",
        "MonitoringInterval",
        "CACertificateIdentifier",
        "EnableCloudwatchLogsExports",
    }
    assert changeable <= properties.keys()
    assert not changeable & PINNED.keys()


def test_a_database_can_be_restored_with_the_same_template(resources):
    """For PostgreSQL, RDS refuses a snapshot together with a database name."""
    properties = resources["Database"]["Properties"]
    assert "DBName" not in properties


def test_all_properties_that_cause_a_replacement_are_pinned():
    """According to the resource schema that cfn-lint includes."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # takes a second

    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-west-1", "AWS::RDS::DBInstance").schema
    named = {
        pointer.removeprefix("/properties/")
        for kind in ("createOnlyProperties", "conditionalCreateOnlyProperties")
        for pointer in schema[kind]
    }
    assert named - CHANGED_IN_PLACE == set(PINNED) - {"Port"}


def test_the_database_is_not_lost_with_its_environment(resources):
    database = resources["Database"]
    assert database["DeletionPolicy"] == database["UpdateReplacePolicy"] == "Snapshot"
    assert database["Properties"]["BackupRetentionPeriod"] >= 14
    assert database["Properties"]["DeleteAutomatedBackups"] is False


def test_only_the_instances_can_reach_the_database(resources):
    assert resources["Database"]["Properties"]["PubliclyAccessible"] is False
    group = resources["DatabaseSecurityGroup"]["Properties"]
    [rule] = group["SecurityGroupIngress"]
    assert rule["SourceSecurityGroupId"] == {"Fn::GetAtt": ["AWSEBSecurityGroup", "GroupId"]}
    assert (rule["FromPort"], rule["ToPort"]) == (5432, 5432)


def test_the_database_requires_tls_and_logs_no_names(resources, shared):
    parameters = resources["DatabaseParameters"]["Properties"]["Parameters"]
    assert parameters["rds.force_ssl"] == "1"
    assert parameters["log_min_error_statement"] == "panic"
    assert parameters["log_error_verbosity"] == "terse"
    environment = "aws:elasticbeanstalk:application:environment"
    assert shared[environment, "DATABASE_TLS"] == "verify-full"


def test_the_password_is_not_generated_again():
    """A change here makes CloudFormation generate another one, which the database does not know."""
    template = cloudformation.load("devops/environment.yml")
    secret = template["Resources"]["DatabaseSecret"]["Properties"]
    assert secret["GenerateSecretString"] == {
        "SecretStringTemplate": '{"username": "app", "next_password": "none"}',
        "GenerateStringKey": "password",
        "PasswordLength": 40,
        "ExcludePunctuation": True,
    }, "Take it back: no instance that starts later would reach the database."
