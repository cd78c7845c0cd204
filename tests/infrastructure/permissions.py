"""What each role may do, according to the templates: the tables in docs/permissions.md.

Usage: python -m tests.infrastructure.permissions    (writes the tables into the document)
"""

import re
import sys
import textwrap
from pathlib import Path

from tests.support.aws import ACCOUNT, APPLICATION, PROD, REGION, STAGING
from tests.support.deployments import BUCKET, arn, bucket_policy, made_for
from tests.support.iam import Role, Stack

DOCUMENT = Path("docs/permissions.md")
OWNER = f"greeters/{APPLICATION}"

IDS = {STAGING: "e-aaaaaaaaaa", PROD: "e-bbbbbbbbbb"}

RECORDS = f"arn:aws:s3:::{APPLICATION}-records-{REGION}-{ACCOUNT}"
ELSEWHERE = "eu-central-1"

FOUNDATION = Stack("devops/foundation.yml", f"{APPLICATION}-foundation", {})
PIPELINE = Stack(
    "devops/pipeline.yml",
    f"{APPLICATION}-pipeline",
    {"Repository": OWNER, "StagingId": IDS[STAGING], "ProductionId": IDS[PROD]},
    FOUNDATION.exports,
)
ENVIRONMENTS = {
    name: Stack(
        "devops/environment.yml",
        name,
        {"Environment": name, "EnvironmentId": IDS[name]},
        FOUNDATION.exports,
    )
    for name in (STAGING, PROD)
}
VAULT = Stack("devops/vault.yml", f"{PROD}-vault", {"Environment": PROD, "KeptDays": "35"})


def instance(stack):
    """The role of a stack's instances, with what Beanstalk allows it."""
    role = stack.role("InstanceRole")
    role.statements += bucket_policy(BUCKET)
    return role


def in_account(name, *statements):
    """An administrator of the account, where only the policies of resources forbid something."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    return Role(name, [everything, *statements], {"aws:PrincipalArn": arn})


VAULT_POLICY = VAULT.properties("AWS::Backup::BackupVault")["Vault"]["AccessPolicy"]["Statement"]
WHO = {
    "Pull request": PIPELINE.role("PullRequestRole"),
    "Verify": PIPELINE.role("VerifyRole"),
    "Image tests": PIPELINE.role("ImageTestRole"),
    "Build": PIPELINE.role("BuildRole"),
    "Staging": PIPELINE.role("StagingRole"),
    "Production": PIPELINE.role("ProductionRole"),
    "Window": PIPELINE.role("ReleaseRole"),
    "Pipeline": PIPELINE.role("PipelineRole"),
    "Instance of staging": instance(ENVIRONMENTS[STAGING]),
    "Instance of production": instance(ENVIRONMENTS[PROD]),
    "Operator": in_account("operator", *VAULT_POLICY),
}

CONNECTION = PIPELINE.resolve({"Ref": "Connection"})
ARTIFACTS = PIPELINE.resolve({"Fn::GetAtt": ["Artifacts", "Arn"]})
IMAGES = FOUNDATION.resolve({"Fn::GetAtt": ["Images", "Arn"]})
USE = {"codeconnections:FullRepositoryId": OWNER}
VIA_CLOUDFORMATION = {"aws:CalledVia": ["cloudformation.amazonaws.com"]}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}


def secret(environment, name):
    return arn("secretsmanager", f"secret:{environment}/{name}-AbCdEf")


def environment(name):
    return arn("elasticbeanstalk", f"environment/{APPLICATION}/{name}")


# The questions: a description, the action, the resource, and the request's other condition keys
WHAT = (
    {
        "The source": [
            (
                "fetch a commit of main",
                "codeconnections:UseConnection",
                CONNECTION,
                USE | {"codeconnections:ProviderPermissionsRequired": "read_only"},
            ),
            (
                "push to the repository",
                "codeconnections:UseConnection",
                CONNECTION,
                USE | {"codeconnections:ProviderPermissionsRequired": "read_write"},
            ),
            ("get the GitHub App's token", "codeconnections:GetConnectionToken", CONNECTION, {}),
            (
                "read the token for pull requests",
                "secretsmanager:GetSecretValue",
                PIPELINE.resolve({"Ref": "PullRequestToken"}),
                {},
            ),
        ],
        "Between the stages": [
            (
                "replace the commit of an execution",
                "s3:PutObject",
                f"{ARTIFACTS}/{APPLICATION}/Source/1",
                {},
            ),
            ("write the cache of Verify", "s3:PutObject", f"{ARTIFACTS}/cache/verify/1", {}),
            (
                "write the release artifact",
                "s3:PutObject",
                f"{ARTIFACTS}/{APPLICATION}/Release/1",
                {},
            ),
            (
                "replace the program of the release window",
                "s3:PutObject",
                f"{ARTIFACTS}/release/source.zip",
                {},
            ),
            (
                "approve a release",
                "codepipeline:PutApprovalResult",
                arn("codepipeline", f"{APPLICATION}/Release/Approve"),
                {},
            ),
            (
                "write logs of the pipeline",
                "logs:PutLogEvents",
                arn("logs", f"log-group:/{APPLICATION}/pipeline:log-stream:1"),
                {},
            ),
        ],
        "Versions": [
            ("publish an image", "ecr:PutImage", IMAGES, {}),
            ("pull an image", "ecr:BatchGetImage", IMAGES, {}),
            (
                "create a version",
                "elasticbeanstalk:CreateApplicationVersion",
                arn("elasticbeanstalk", f"applicationversion/{APPLICATION}/1"),
                {},
            ),
            (
                "change or delete a version",
                "elasticbeanstalk:UpdateApplicationVersion",
                arn("elasticbeanstalk", f"applicationversion/{APPLICATION}/1"),
                {},
            ),
            (
                "set when old versions and their bundles expire",
                "elasticbeanstalk:UpdateApplicationResourceLifecycle",
                arn("elasticbeanstalk", f"application/{APPLICATION}"),
                {},
            ),
            ("write a bundle", "s3:PutObject", f"{BUCKET}/{APPLICATION}/1.zip", {}),
            (
                "write a bundle in another region",
                "s3:PutObject",
                f"{BUCKET}/{APPLICATION}/1.zip".replace(REGION, ELSEWHERE),
                {},
            ),
            ("read a bundle", "s3:GetObject", f"{BUCKET}/{APPLICATION}/1.zip", {}),
            (
                "write a build record",
                "s3:PutObject",
                f"{RECORDS}/{APPLICATION}/0123/provenance.json",
                {},
            ),
        ],
    }
    | {
        title: [
            ("deploy", "elasticbeanstalk:UpdateEnvironment", environment(name), {}),
            ("terminate it", "elasticbeanstalk:TerminateEnvironment", environment(name), {}),
            (
                "swap its address with another environment",
                "elasticbeanstalk:SwapEnvironmentCNAMEs",
                environment(name),
                {},
            ),
            (
                "change its stack",
                "cloudformation:UpdateStack",
                arn("cloudformation", f"stack/awseb-{IDS[name]}-stack/2"),
                made_for(name),
            ),
            (
                "delete its stack",
                "cloudformation:DeleteStack",
                arn("cloudformation", f"stack/awseb-{IDS[name]}-stack/2"),
                made_for(name),
            ),
            (
                "stop its instances",
                "ec2:TerminateInstances",
                arn("ec2", "instance/i-1"),
                made_for(name),
            ),
            (
                "add rules to its security groups",
                "ec2:AuthorizeSecurityGroupIngress",
                arn("ec2", "security-group/sg-1"),
                made_for(name),
            ),
            (
                "change its listeners",
                "elasticloadbalancing:ModifyListener",
                arn("elasticloadbalancing", "listener/app/awseb-1/2/3"),
                made_for(name),
            ),
            (
                "pass its role to an instance",
                "iam:PassRole",
                f"arn:aws:iam::{ACCOUNT}:role/{name}-InstanceRole-AbCdEf",
                TO_EC2,
            ),
            (
                "write the files that its instances run",
                "s3:PutObject",
                f"{BUCKET}/resources/environments/{IDS[name]}/_runtime/versions/manifest_1",
                {},
            ),
            (
                "read those files",
                "s3:GetObject",
                f"{BUCKET}/resources/environments/{IDS[name]}/_runtime/versions/manifest_1",
                {},
            ),
            (
                "upload requested logs",
                "s3:PutObject",
                f"{BUCKET}/resources/environments/logs/bundle/{IDS[name]}/i-1/1.zip",
                {},
            ),
            ("change its database", "rds:ModifyDBInstance", arn("rds", f"db:{name}"), {}),
            ("delete its database", "rds:DeleteDBInstance", arn("rds", f"db:{name}"), {}),
            (
                "restore its data from a snapshot",
                "rds:RestoreDBInstanceFromDBSnapshot",
                arn("rds", f"snapshot:rds:{name}-2026-11-25"),
                {},
            ),
            (
                "delete a recovery point of it",
                "backup:DeleteRecoveryPoint",
                arn("rds", "snapshot:awsbackup:job-1"),
                {},
            ),
            (
                "read the database's password",
                "secretsmanager:GetSecretValue",
                secret(name, "database"),
                {},
            ),
            (
                "read it through CloudFormation",
                "secretsmanager:GetSecretValue",
                secret(name, "database"),
                VIA_CLOUDFORMATION,
            ),
            (
                "read the application's secrets",
                "secretsmanager:GetSecretValue",
                secret(name, "application"),
                {},
            ),
            (
                "read the smoke test's key",
                "secretsmanager:GetSecretValue",
                secret(name, "smoke-test"),
                {},
            ),
            ("acquire its lock", "s3:PutObject", f"{RECORDS}/locks/{name}", {}),
            (
                "suppress its alarm during a deployment",
                "cloudwatch:PutMetricData",
                "*",
                {"cloudwatch:namespace": name},
            ),
            (
                "send the metric of its backup copies",
                "cloudwatch:PutMetricData",
                "*",
                {"cloudwatch:namespace": f"{name}/backups"},
            ),
            (
                "remove its alarms",
                "cloudwatch:DeleteAlarms",
                arn("cloudwatch", f"alarm:{name}-users-get-errors"),
                {},
            ),
            (
                "remove its probe",
                "route53:DeleteHealthCheck",
                "arn:aws:route53:::healthcheck/1",
                {},
            ),
            ("add to its history", "s3:PutObject", f"{RECORDS}/deployments/{name}/1", {}),
            ("delete its history", "s3:DeleteObject", f"{RECORDS}/deployments/{name}/1", {}),
            (
                "add to its history in another region",
                "s3:PutObject",
                f"{RECORDS}/deployments/{name}/1".replace(REGION, ELSEWHERE),
                {},
            ),
            (
                "write its logs",
                "logs:PutLogEvents",
                arn("logs", f"log-group:/aws/elasticbeanstalk/{name}/web:log-stream:1"),
                {},
            ),
            (
                "delete its logs",
                "logs:DeleteLogGroup",
                arn("logs", f"log-group:/aws/elasticbeanstalk/{name}/web"),
                {},
            ),
        ]
        for title, name in (("Staging", STAGING), ("Production", PROD))
    }
    | {
        "The account": [
            (
                "pass any other role to an instance",
                "iam:PassRole",
                f"arn:aws:iam::{ACCOUNT}:role/administrator",
                TO_EC2,
            ),
            (
                "create a role",
                "iam:CreateRole",
                f"arn:aws:iam::{ACCOUNT}:role/aws-elasticbeanstalk-1",
                {},
            ),
            (
                "terminate any other environment",
                "elasticbeanstalk:TerminateEnvironment",
                environment(f"{APPLICATION}-other"),
                {},
            ),
            ("delete any other database", "rds:DeleteDBInstance", arn("rds", "db:other"), {}),
            (
                "add rules to any other security group",
                "ec2:AuthorizeSecurityGroupIngress",
                arn("ec2", "security-group/sg-9"),
                {},
            ),
            ("change the policy of Beanstalk's bucket", "s3:PutBucketPolicy", BUCKET, {}),
            (
                "notify the team",
                "sns:Publish",
                FOUNDATION.resolve({"Ref": "OperationsTopic"}),
                {},
            ),
            (
                "notify of a deployment",
                "sns:Publish",
                FOUNDATION.resolve({"Ref": "DeploymentsTopic"}),
                {},
            ),
        ],
    }
)


def table():
    """The tables as Markdown, one for each group."""
    lines = []
    for title, rows in WHAT.items():
        lines += [f"### {title}", "", "| To | Allowed for |", "|---|---|"]
        for words, *asked in rows:
            allowed = [name for name, one in WHO.items() if one.may(*asked)]
            lines.append(f"| {words} | {', '.join(allowed) or 'nobody'} |")
        lines.append("")
    return "\n".join(lines)


# What `doctor` asks; tests/deploy/test_doctor.py compares it with its queries
DOCTOR = (
    "acm:DescribeCertificate",
    "acm:ListCertificates",
    "cloudformation:DescribeStacks",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListMetrics",
    "codeconnections:GetConnection",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeVpcs",
    "ec2:GetEbsEncryptionByDefault",
    "ec2:GetInstanceMetadataDefaults",
    "elasticbeanstalk:DescribeApplicationVersions",
    "elasticbeanstalk:DescribeConfigurationSettings",
    "elasticbeanstalk:DescribeEnvironmentResources",
    "elasticbeanstalk:DescribeEnvironments",
    "elasticloadbalancing:DescribeTargetGroups",
    "kms:Decrypt",
    "rds:DescribeDBInstances",
    "s3:GetObject",
    "s3:ListBucket",
    "secretsmanager:GetSecretValue",
    "servicequotas:GetServiceQuota",
    "sns:ListSubscriptionsByTopic",
    "ssm:GetParameters",
    "sts:GetCallerIdentity",
    "backup:ListBackupVaults",
    "backup:ListRecoveryPointsByBackupVault",
    "rds:DescribeDBSnapshots",
)


def updated(text):
    """The document with the current tables, and the permissions of doctor."""
    listed = ", ".join(f"`{one}`" for one in DOCTOR)
    for name, end, content in (
        ("tables", "the tables", table()),
        ("doctor", "doctor", textwrap.fill(listed, 140, break_on_hyphens=False) + "\n"),
    ):
        text = re.sub(
            rf"(?<=<!-- {name} -->\n\n).*?(?=<!-- end of {end} -->)",
            lambda _, content=content: content + "\n",
            text,
            flags=re.DOTALL,
        )
    return text


def main():
    """Write the tables into the document."""
    DOCUMENT.write_text(updated(DOCUMENT.read_text()))
    sys.stdout.write(f"{DOCUMENT} is written\n")


if __name__ == "__main__":
    main()
