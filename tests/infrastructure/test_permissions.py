"""Who may do what, according to the policies in the templates."""

import json
import re

import pytest
from moto.iam.policy_validation import IAMPolicyDocumentValidator

from deploy.config import names
from tests.infrastructure import permissions
from tests.infrastructure.permissions import (
    APPLICATION,
    ARTIFACTS,
    BUCKET,
    CONNECTION,
    DOCTOR,
    ENVIRONMENTS,
    FOUNDATION,
    IDS,
    PROD,
    RECORDS,
    STAGING,
    USE,
    VAULT_POLICY,
    WHAT,
    WHO,
    arn,
    in_account,
    secret,
)
from tests.infrastructure.permissions import (
    PIPELINE as PIPELINE_STACK,
)
from tests.support.aws import ACCOUNT, REGION
from tests.support.iam import Stack, read_managed

PIPELINE = PIPELINE_STACK.template["Resources"]
PROD_VAULT = permissions.VAULT.properties("AWS::Backup::BackupVault")["Vault"]
VAULT = arn("backup", f"backup-vault:{PROD}-{REGION}")
# Anybody may have written their code, or the packages that it installs
UNTRUSTED = ("Pull request", "Verify", "Image tests")
PROJECTS = (*UNTRUSTED, "Build", "Staging", "Production", "Window")


def test_the_tables_in_the_document_are_those_of_the_templates():
    text = permissions.DOCUMENT.read_text()
    assert "| deploy |" in text
    assert permissions.updated(text) == text, "python -m tests.infrastructure.permissions"


@pytest.mark.parametrize("who", PROJECTS)
def test_only_operators_have_the_permissions_of_doctor(who):
    """The pipeline got no right for it."""
    assert not all(WHO[who].may(action, "*") for action in DOCTOR)


@pytest.mark.parametrize("who", PROJECTS)
def test_no_code_can_write_to_the_repository(who):
    for action in ("GetConnectionToken", "PassConnection", "UpdateConnection"):
        assert not WHO[who].may(f"codeconnections:{action}", CONNECTION, USE)
        assert not WHO[who].may(f"codestar-connections:{action}", CONNECTION, USE)
    for context in (
        {},
        USE,
        USE | {"codeconnections:ProviderPermissionsRequired": "read_write"},
        {
            "codeconnections:FullRepositoryId": "greeters/another",
            "codeconnections:ProviderPermissionsRequired": "read_only",
        },
    ):
        assert not WHO[who].may("codeconnections:UseConnection", CONNECTION, context)


def test_a_pull_request_has_no_access_to_the_connection():
    assert not any(
        "connections:" in action
        for statement in WHO["Pull request"].statements
        for action in statement["Action"]
    )
    source = PIPELINE["PullRequests"]["Properties"]["Source"]
    assert source["Auth"] == {"Type": "SECRETS_MANAGER", "Resource": {"Ref": "PullRequestToken"}}


def test_a_pull_request_has_no_access_to_anything_of_main():
    pull_request = WHO["Pull request"]
    for rows in WHAT.values():
        allowed = {words for words, *asked in rows if pull_request.may(*asked)}
        assert allowed <= {"read the token for pull requests"}


@pytest.mark.parametrize("who", PROJECTS)
@pytest.mark.parametrize("key", ["Source/1", "Release/1"])
def test_an_artifact_is_written_only_by_the_role_that_creates_it(who, key):
    makers = {"Source/1": (), "Release/1": ("Build",)}
    may = WHO[who].may("s3:PutObject", f"{ARTIFACTS}/{APPLICATION}/{key}")
    assert may == (who in makers[key])


@pytest.mark.parametrize("who", PROJECTS)
def test_a_cache_is_accessible_only_to_its_own_project(who):
    for action in ("s3:GetObject", "s3:PutObject"):
        assert WHO[who].may(action, f"{ARTIFACTS}/cache/verify/1") == (who == "Verify")
        assert not WHO[who].may(action, f"{ARTIFACTS}/cache/other/1")


def test_only_projects_without_permissions_keep_a_cache():
    projects = {
        name: one["Properties"]
        for name, one in PIPELINE.items()
        if one["Type"] == "AWS::CodeBuild::Project"
    }
    assert {name for name, one in projects.items() if "Cache" in one} == {
        "PullRequests",
        "Verify",
        "ImageTests",
    }
    assert projects["Verify"]["Cache"]["Location"] == {"Fn::Sub": "${Artifacts}/cache/verify"}
    for name in ("PullRequests", "ImageTests"):
        assert projects[name]["Cache"]["Type"] == "LOCAL"


def test_staging_and_production_are_projects_with_roles_of_their_own():
    used = {
        stage["Name"]: stage["Actions"][0]["Configuration"]["ProjectName"]["Ref"]
        for stage in PIPELINE["Pipeline"]["Properties"]["Stages"]
        if stage["Name"] in ("Staging", "Production")
    }
    assert used == {"Staging": "Staging", "Production": "Production"}
    for name, short in (("Staging", "staging"), ("Production", "prod")):
        project = PIPELINE[name]["Properties"]
        assert project["ServiceRole"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}
        assert project["Environment"]["EnvironmentVariables"] == [
            {"Name": "ENVIRONMENT", "Value": short}
        ]


# What only an operator does, or the instances
NOT_OF_A_DEPLOYMENT = (
    "terminate it",
    "delete its stack",
    "swap its address with another environment",
    "delete its database",
    "restore its data from a snapshot",
    "delete a recovery point of it",
    "read the database's password",
    "read the application's secrets",
    "remove its alarms",
    "remove its probe",
    "delete its history",
    "write its logs",
    "delete its logs",
    "send the metric of its backup copies",
)


@pytest.mark.parametrize(("who", "other"), [("Staging", "Production"), ("Production", "Staging")])
def test_a_deployment_may_change_its_own_environment_only(who, other):
    for words, *asked in WHAT[who]:
        assert WHO[who].may(*asked) == (words not in NOT_OF_A_DEPLOYMENT), words
    for words, *asked in WHAT[other]:
        assert words == "read those files" or not WHO[who].may(*asked), words


@pytest.mark.parametrize(("who", "other"), [("Staging", PROD), ("Production", STAGING)])
def test_a_deployment_passes_its_own_roles_only(who, other):
    for role in ("administrator", f"{other}-InstanceRole-AbCdEf", "aws-elasticbeanstalk-1"):
        for service in ("ec2", "cloudformation", "elasticbeanstalk"):
            context = {"iam:PassedToService": f"{service}.amazonaws.com"}
            assert not WHO[who].may("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", context)
    own = {"Staging": STAGING, "Production": PROD}[who]
    for role in (f"{own}-InstanceRole-1", f"{APPLICATION}-foundation-ServiceRole-1"):
        context = {"iam:PassedToService": "elasticbeanstalk.amazonaws.com"}
        assert WHO[who].may("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/{role}", context)


def test_a_role_with_the_longest_name_can_be_passed():
    """CloudFormation adds up to 13 random characters, and cuts names of more than 64."""
    instance_role = f"{'x' * names.NAME_MAX}-InstanceRole-{'X' * 13}"
    assert len(instance_role) == 64
    for stack, limit in (
        (FOUNDATION, names.FOUNDATION_MAX),
        (ENVIRONMENTS[PROD], names.NAME_MAX),
    ):
        for name, one in stack.template["Resources"].items():
            if one["Type"] == "AWS::IAM::Role":
                assert limit + len(f"-{name}-") + 13 <= 64, name


def test_policies_have_the_form_that_iam_accepts():
    """It refuses a whole stack for one resource without a type."""
    for stack in (PIPELINE_STACK, FOUNDATION, ENVIRONMENTS[PROD]):
        for one in stack.template["Resources"].values():
            properties = one.get("Properties", {})
            policies = properties.get("Policies", []) if one["Type"] == "AWS::IAM::Role" else []
            if one["Type"] == "AWS::IAM::ManagedPolicy":
                policies = [properties]
            for policy in policies:
                document = json.dumps(stack.resolve(policy["PolicyDocument"]))
                IAMPolicyDocumentValidator(document).validate()


def test_policies_have_a_size_that_iam_accepts():
    """docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html; white space does not count."""
    for stack in (PIPELINE_STACK, FOUNDATION, ENVIRONMENTS[PROD]):
        for name, one in stack.template["Resources"].items():
            properties = one.get("Properties", {})
            if one["Type"] == "AWS::IAM::ManagedPolicy":
                assert size(stack, properties) <= 6144, name
            if one["Type"] == "AWS::IAM::Role":
                own = [size(stack, each) for each in properties.get("Policies", [])]
                assert sum(own) <= 10240, name
                assert len(properties.get("ManagedPolicyArns", [])) <= 10, name


def size(stack, policy):
    return len(json.dumps(stack.resolve(policy["PolicyDocument"]), separators=(",", ":")))


@pytest.mark.parametrize("who", ["Staging", "Production"])
def test_a_deployment_cannot_change_versions(who):
    version = arn("elasticbeanstalk", f"applicationversion/{APPLICATION}/1")
    for action in (
        "CreateApplicationVersion",
        "UpdateApplicationVersion",
        "DeleteApplicationVersion",
    ):
        assert not WHO[who].may(f"elasticbeanstalk:{action}", version)
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:PutObjectAcl"):
        assert not WHO[who].may(action, f"{BUCKET}/{APPLICATION}/1.zip")
    assert WHO[who].may("s3:GetObject", f"{BUCKET}/{APPLICATION}/1.zip")


def test_a_build_writes_to_the_buckets_but_cannot_create_one():
    """CreateStorageLocation changes the bucket's settings, for which a build has no permissions."""
    build = WHO["Build"]
    assert not build.may("elasticbeanstalk:CreateStorageLocation", "*")
    for bucket in (BUCKET, RECORDS):
        assert build.may("s3:ListBucket", bucket)
        assert not build.may("s3:PutBucketPolicy", bucket)
        for action in ("s3:PutObject", "s3:GetObject"):
            assert build.may(action, f"{bucket}/{APPLICATION}/1")
            assert not build.may(action, f"{bucket}/locks/{PROD}")
            assert not build.may(action, f"{bucket}/resources/environments/e-1/1")
        assert not build.may("s3:DeleteObject", f"{bucket}/{APPLICATION}/1")


@pytest.mark.parametrize("who", ["Pipeline", "Window", "Verify"])
def test_every_user_of_a_bucket_can_read_its_owner(who):
    """As the references of CodePipeline's action for S3, and of a project with a source in S3, ask."""
    for action in ("s3:GetBucketAcl", "s3:GetBucketLocation"):
        assert WHO[who].may(action, ARTIFACTS)


def test_the_release_program_comes_from_the_pending_version():
    source = PIPELINE["WindowOpens"]["Properties"]["Source"]
    assert source["Type"] == "S3"
    [keep] = [
        action["Configuration"]
        for stage in PIPELINE["Pipeline"]["Properties"]["Stages"]
        for action in stage["Actions"]
        if action["ActionTypeId"]["Provider"] == "S3"
    ]
    assert source["Location"] == {"Fn::Sub": f"${{Artifacts}}/{keep['ObjectKey']}"}
    assert keep["Extract"] == "false"
    writers = {
        who for who in PROJECTS if WHO[who].may("s3:PutObject", f"{ARTIFACTS}/{keep['ObjectKey']}")
    }
    assert not writers
    assert WHO["Window"].may("s3:GetObject", f"{ARTIFACTS}/{keep['ObjectKey']}")


@pytest.mark.parametrize(
    ("who", "name", "other"),
    [
        ("Instance of staging", STAGING, PROD),
        ("Instance of production", PROD, STAGING),
    ],
)
def test_an_instance_accesses_only_its_own_data(who, name, other):
    role = WHO[who]
    folder = f"{BUCKET}/resources/environments"
    for key in (f"{APPLICATION}/1.zip", f"resources/environments/{IDS[name]}/_runtime/_versions/1"):
        assert role.may("s3:GetObject", f"{BUCKET}/{key}")
        assert not role.may("s3:PutObject", f"{BUCKET}/{key}")
    assert not role.may("s3:GetObject", f"{folder}/{IDS[other]}/_runtime/_versions/1")
    assert role.may("s3:PutObject", f"{folder}/logs/bundle/{IDS[name]}/i-1/1.zip")
    for action in ("s3:GetObject", "s3:PutObject"):
        assert not role.may(action, f"{folder}/logs/bundle/{IDS[other]}/i-1/1.zip")
        for key in (f"locks/{name}", f"deployments/{name}/1"):
            assert not role.may(action, f"{RECORDS}/{key}")
    for kind in ("database", "application", "smoke-test"):
        assert not role.may("secretsmanager:GetSecretValue", secret(other, kind))


def test_instances_can_read_the_public_buckets_of_aws():
    public = "arn:aws:s3:::elasticbeanstalk-platform-assets-eu-west-1/stalks/1"
    elsewhere = {"aws:ResourceAccount": "999999999999"}
    denials = [one for one in WHO["Instance of staging"].statements if one["Effect"] == "Deny"]
    assert denials
    assert in_account("anybody", *denials).may("s3:GetObject", public, elsewhere)


LOG = arn("logs", f"log-group:/aws/elasticbeanstalk/{PROD}/var/log/nginx/access.log")
RUNTIME = f"{BUCKET}/resources/environments/{IDS[PROD]}/_runtime"
# What AWSElasticBeanstalkWebTier, AWS's policy for instances (version 9), lets them do, and an example of each
OF_INSTANCES = {
    "s3:Get*": ("s3:GetObject", f"{RUNTIME}/versions/manifest_1"),
    "s3:List*": ("s3:ListBucket", BUCKET),
    "s3:PutObject": (
        "s3:PutObject",
        f"{BUCKET}/resources/environments/logs/bundle/{IDS[PROD]}/i-1/1.zip",
    ),
    "logs:PutLogEvents": ("logs:PutLogEvents", f"{LOG}:log-stream:i-1"),
    "logs:CreateLogStream": ("logs:CreateLogStream", LOG),
    "logs:DescribeLogStreams": ("logs:DescribeLogStreams", LOG),
    "logs:DescribeLogGroups": ("logs:DescribeLogGroups", LOG),
    "elasticbeanstalk:PutInstanceStatistics": (
        "elasticbeanstalk:PutInstanceStatistics",
        arn("elasticbeanstalk", f"environment/{APPLICATION}/{PROD}"),
    ),
}
# And what no instance here does, by the service: traces, and the analysis of an environment by a language model
NOT_OF_INSTANCES = (
    "xray:",
    "bedrock:",
    "aws-marketplace:",
    "elasticbeanstalk:DescribeEnv",
    "elasticbeanstalk:DescribeEvents",
)


def test_an_instance_has_the_permissions_that_aws_documents():
    role = WHO["Instance of production"]
    patterns = {
        one
        for statement in read_managed("AWSElasticBeanstalkWebTier")["Statement"]
        for one in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
    }
    assert {one for one in patterns if not one.startswith(NOT_OF_INSTANCES)} == set(OF_INSTANCES)
    for action, resource in OF_INSTANCES.values():
        assert role.may(action, resource), action
    for one in patterns - set(OF_INSTANCES):
        assert not role.may(one, "*"), one


def test_the_first_instances_start_before_the_environment_id_is_known():
    stack = Stack("devops/environment.yml", STAGING, {"Environment": STAGING}, FOUNDATION.exports)
    role = stack.role("InstanceRole")  # without what Beanstalk allows
    assert role.may(
        "s3:ListBucket", BUCKET, {"s3:prefix": "resources/environments/e-1/_runtime/versions/"}
    )
    assert not role.may("s3:ListBucket", BUCKET, {"s3:prefix": f"{APPLICATION}/"})
    for key in ("versions/manifest_1", "_versions/1"):
        assert role.may("s3:GetObject", f"{BUCKET}/resources/environments/e-1/_runtime/{key}")
    assert role.may("s3:PutObject", f"{BUCKET}/resources/environments/logs/tail/e-1/i-1/1.txt")


# --- Backups --------------------------------------------------------------------------------------

[DOCUMENTED] = re.findall(r"<<'END'\n(.*?)\n    END\n", permissions.DOCUMENT.read_text(), re.DOTALL)
BREAK_GLASS = in_account(f"{APPLICATION}-break-glass", *VAULT_POLICY)
BREAK_GLASS.statements[:1] = json.loads(DOCUMENTED)["Statement"]


@pytest.mark.parametrize(
    "action",
    [
        "DeleteRecoveryPoint",
        "UpdateRecoveryPointLifecycle",
        "DeleteBackupVault",
        "DeleteBackupVaultLockConfiguration",
        "DeleteBackupVaultAccessPolicy",
        "PutBackupVaultAccessPolicy",
        "PutBackupVaultLockConfiguration",
    ],
)
def test_backups_are_deleted_by_the_break_glass_role_only(action):
    assert not WHO["Operator"].may(f"backup:{action}", VAULT)
    assert in_account(f"{APPLICATION}-break-glass", *VAULT_POLICY).may(f"backup:{action}", VAULT)


@pytest.mark.parametrize(
    ("lock", "operator_may", "break_glass_may"),
    [
        (
            PROD_VAULT["LockConfiguration"],
            True,
            True,
        ),  # as CloudFormation sets it, after the policy
        ({"MinRetentionDays": 6}, False, True),
        ({"MinRetentionDays": 3650}, False, True),
        ({}, False, True),
        ({"MinRetentionDays": 7, "MaxRetentionDays": 7}, False, False),
        # Nobody could ever undo it, not even AWS
        ({"MinRetentionDays": 7, "ChangeableForDays": 3}, False, False),
    ],
)
def test_an_operator_can_only_set_the_lock_of_the_template(lock, operator_may, break_glass_may):
    asked = "backup:PutBackupVaultLockConfiguration", VAULT
    context = {f"backup:{name}": str(days) for name, days in lock.items()}
    assert WHO["Operator"].may(*asked, context) == operator_may
    assert BREAK_GLASS.may(*asked, context) == break_glass_may


def test_an_operator_can_use_vaults():
    for action in ("CreateBackupVault", "TagResource", "CopyIntoBackupVault", "StartRestoreJob"):
        assert WHO["Operator"].may(f"backup:{action}", "*")


def test_the_documented_break_glass_role_can_delete_only_backups():
    """AWS Backup deletes the snapshot of RDS with the permissions of who asks (AWSBackupFullAccess)."""
    for action in (
        "ListRecoveryPointsByBackupVault",
        "DeleteBackupVault",
        "DeleteBackupVaultLockConfiguration",
    ):
        assert BREAK_GLASS.may(f"backup:{action}", VAULT)
    point = arn("rds", "snapshot:awsbackup:job-1")
    for action in ("backup:DeleteRecoveryPoint", "rds:DeleteDBSnapshot"):
        assert BREAK_GLASS.may(action, point)
        assert not BREAK_GLASS.may(action, arn("rds", f"snapshot:{PROD}-1"))
    for action in ("PutBackupVaultAccessPolicy", "DeleteBackupVaultAccessPolicy"):
        assert not BREAK_GLASS.may(f"backup:{action}", VAULT)
    assert not BREAK_GLASS.may("backup:DeleteBackupVault", arn("backup", "backup-vault:other"))


def test_a_vaults_policy_has_no_wildcards():
    """AWS Backup accepts no wildcard in them."""
    assert "*" not in json.dumps([one["Action"] for one in VAULT_POLICY])
