"""Who may do what, according to the templates: the table in docs/permissions.md.

Usage: python -m tests.infrastructure.permissions    (writes the table into the document)
"""

import re
import sys
from pathlib import Path

from tests.support.aws import ACCOUNT, APPLICATION, REGION
from tests.support.iam import Role, Stack

DOCUMENT = Path("docs/permissions.md")
STAGING, PROD = f"{APPLICATION}-staging", f"{APPLICATION}-prod"
OWNER = "greeters/birthday-greetings"

FOUNDATION = Stack("devops/foundation.yml", f"{APPLICATION}-foundation", {})
PIPELINE = Stack(
    "devops/pipeline.yml", f"{APPLICATION}-pipeline", {"Repository": OWNER}, FOUNDATION.exports
)
ENVIRONMENTS = {
    name: Stack("devops/environment.yml", name, {"Environment": name}, FOUNDATION.exports)
    for name in (STAGING, PROD)
}
WHO = {
    "Pull request": PIPELINE.role("PullRequestRole"),
    "Verify": PIPELINE.role("VerifyRole"),
    "Image tests": PIPELINE.role("ImageTestRole"),
    "Build": PIPELINE.role("BuildRole"),
    "Staging": PIPELINE.role("StagingRole"),
    "Production": PIPELINE.role("ProductionRole"),
    "Window": PIPELINE.role("ReleaseRole"),
    "Pipeline": PIPELINE.role("PipelineRole"),
    "Instance of staging": ENVIRONMENTS[STAGING].role("InstanceRole"),
    "Instance of production": ENVIRONMENTS[PROD].role("InstanceRole"),
    # An administrator of the account, defined in no template
    "Operator": Role("Operator", [{"Effect": "Allow", "Action": "*", "Resource": "*"}]),
}

CONNECTION = PIPELINE.resolve({"Ref": "Connection"})
ARTIFACTS = PIPELINE.resolve({"Fn::GetAtt": ["Artifacts", "Arn"]})
IMAGES = FOUNDATION.resolve({"Fn::GetAtt": ["Images", "Arn"]})
BUCKET = f"arn:aws:s3:::elasticbeanstalk-{REGION}-{ACCOUNT}"
ELSEWHERE = f"arn:aws:s3:::elasticbeanstalk-eu-central-1-{ACCOUNT}"  # Beanstalk's bucket there
USE = {"codeconnections:FullRepositoryId": OWNER}
VIA_CLOUDFORMATION = {"aws:CalledVia": ["cloudformation.amazonaws.com"]}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}


def arn(service, resource):
    """The ARN of a resource in the account and its region."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def secret(environment, name):
    return arn("secretsmanager", f"secret:{environment}/{name}-AbCdEf")


def environment(name):
    return arn("elasticbeanstalk", f"environment/{APPLICATION}/{name}")


def made_for(name):
    """The condition keys that IAM sees for a resource that Beanstalk created for an environment."""
    return {
        "aws:ResourceTag/elasticbeanstalk:environment-name": name,
        "ec2:ResourceTag/aws:cloudformation:stack-id": arn("cloudformation", "stack/awseb-e-1/2"),
    }


def key_of(name, kind):
    return {
        "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": secret(name, kind),
    }


# The questions: a description, the action, the resource, and the request's other condition keys
WHAT = {
    "The source": [
        ("fetch a commit of main", "codeconnections:UseConnection", CONNECTION,
         USE | {"codeconnections:ProviderPermissionsRequired": "read_only"}),
        ("push to the repository", "codeconnections:UseConnection", CONNECTION,
         USE | {"codeconnections:ProviderPermissionsRequired": "read_write"}),
        ("get the GitHub App's token", "codeconnections:GetConnectionToken", CONNECTION, {}),
        ("read the token for pull requests", "secretsmanager:GetSecretValue",
         PIPELINE.resolve({"Ref": "PullRequestToken"}), {}),
    ],
    "Between the stages": [
        ("replace the commit of an execution", "s3:PutObject",
         f"{ARTIFACTS}/{APPLICATION}/Source/1", {}),
        ("write the cache of Verify", "s3:PutObject", f"{ARTIFACTS}/cache/verify/1", {}),
        ("write what releases", "s3:PutObject", f"{ARTIFACTS}/{APPLICATION}/Release/1", {}),
        ("replace the program of the release window", "s3:PutObject",
         f"{ARTIFACTS}/release/source.zip", {}),
        ("approve", "codepipeline:PutApprovalResult",
         arn("codepipeline", f"{APPLICATION}/Release/Approve"), {}),
        ("write logs of the pipeline", "logs:PutLogEvents",
         arn("logs", "log-group:/birthday-greetings/pipeline:log-stream:1"), {}),
        ("write logs of pull requests", "logs:PutLogEvents",
         arn("logs", "log-group:/birthday-greetings/pull-requests:log-stream:1"), {}),
        ("write reports of Verify", "codebuild:UpdateReport",
         arn("codebuild", "report-group/birthday-greetings-verify-tests"), {}),
        ("write reports of pull requests", "codebuild:UpdateReport",
         arn("codebuild", "report-group/birthday-greetings-pull-requests-tests"), {}),
    ],
    "Versions": [
        ("publish an image", "ecr:PutImage", IMAGES, {}),
        ("pull an image", "ecr:BatchGetImage", IMAGES, {}),
        ("create a version", "elasticbeanstalk:CreateApplicationVersion",
         arn("elasticbeanstalk", f"applicationversion/{APPLICATION}/1"), {}),
        ("change or delete a version", "elasticbeanstalk:UpdateApplicationVersion",
         arn("elasticbeanstalk", f"applicationversion/{APPLICATION}/1"), {}),
        ("write a bundle", "s3:PutObject", f"{BUCKET}/{APPLICATION}/1.zip", {}),
        ("write a bundle in another region", "s3:PutObject", f"{ELSEWHERE}/{APPLICATION}/1.zip",
         {}),
        ("read a bundle", "s3:GetObject", f"{BUCKET}/{APPLICATION}/1.zip", {}),
        ("read the rest of Beanstalk's bucket", "s3:GetObject", f"{BUCKET}/1", {}),
    ],
} | {
    title: [
        ("deploy", "elasticbeanstalk:UpdateEnvironment", environment(name), {}),
        ("change its stack", "cloudformation:UpdateStack",
         arn("cloudformation", "stack/awseb-e-1-stack/2"), made_for(name)),
        ("stop its instances", "ec2:TerminateInstances", arn("ec2", "instance/i-1"),
         made_for(name)),
        ("let something into its network groups", "ec2:AuthorizeSecurityGroupIngress",
         arn("ec2", "security-group/sg-1"), made_for(name)),
        ("give its rights to an instance", "iam:PassRole",
         f"arn:aws:iam::{ACCOUNT}:role/{name}-InstanceRole-AbCdEf", TO_EC2),
        ("change its database", "rds:ModifyDBInstance", arn("rds", f"db:{name}"), {}),
        ("copy its data from a snapshot", "rds:RestoreDBInstanceFromDBSnapshot",
         arn("rds", f"snapshot:rds:{name}-2026-11-25"), {}),
        ("read the database's password", "secretsmanager:GetSecretValue",
         secret(name, "database"), {}),
        ("let CloudFormation read it", "secretsmanager:GetSecretValue",
         secret(name, "database"), VIA_CLOUDFORMATION),
        ("decrypt it", "kms:Decrypt", ENVIRONMENTS[name].resolve({"Fn::GetAtt": ["Key", "Arn"]}),
         key_of(name, "database")),
        ("read the application's secrets", "secretsmanager:GetSecretValue",
         secret(name, "application"), {}),
        ("read the smoke test's key", "secretsmanager:GetSecretValue",
         secret(name, "smoke-test"), {}),
        ("take its lock", "s3:PutObject", f"{BUCKET}/locks/{name}", {}),
        ("let its alarms know of a deployment", "cloudwatch:PutMetricData", "*",
         {"cloudwatch:namespace": name}),
        ("remove its alarms", "cloudwatch:DeleteAlarms",
         arn("cloudwatch", f"alarm:{name}-users-get-errors"), {}),
        ("write its history", "s3:PutObject", f"{BUCKET}/deployments/{name}/1", {}),
        ("record in another region what a recovery would deploy", "s3:PutObject",
         f"{ELSEWHERE}/standby/{name}/1", {}),
        ("write its logs", "logs:PutLogEvents",
         arn("logs", f"log-group:/aws/elasticbeanstalk/{name}/web:log-stream:1"), {}),
        ("delete its logs", "logs:DeleteLogGroup",
         arn("logs", f"log-group:/aws/elasticbeanstalk/{name}/web"), {}),
    ]
    for title, name in (("Staging", STAGING), ("Production", PROD))
} | {
    "The account": [
        ("give any other role to an instance", "iam:PassRole",
         f"arn:aws:iam::{ACCOUNT}:role/administrator", TO_EC2),
        ("make a role", "iam:CreateRole",
         f"arn:aws:iam::{ACCOUNT}:role/aws-elasticbeanstalk-1", {}),
        ("open Beanstalk's bucket to others", "s3:PutBucketPolicy", BUCKET, {}),
        ("report an instance's memory", "cloudwatch:PutMetricData", "*",
         {"cloudwatch:namespace": "CWAgent"}),
        ("write to the team", "sns:Publish",
         FOUNDATION.resolve({"Ref": "OperationsTopic"}), {}),
        ("report a deployment", "sns:Publish",
         FOUNDATION.resolve({"Ref": "DeploymentsTopic"}), {}),
    ],
}  # fmt: skip


def table():
    """The tables as Markdown, one for each group."""
    lines = []
    for title, rows in WHAT.items():
        lines += [
            f"### {title}",
            "",
            "| | " + " | ".join(WHO) + " |",
            "|---" * (len(WHO) + 1) + "|",
        ]
        for words, action, resource, context in rows:
            answers = ["yes" if one.may(action, resource, context) else "" for one in WHO.values()]
            lines.append(f"| {words} | " + " | ".join(answers) + " |")
        lines.append("")
    return "\n".join(lines)


def updated(text):
    """The document with the current tables."""
    return re.sub(
        r"(?<=<!-- tables -->\n\n).*?(?=<!-- end of the tables -->)", lambda _: table() + "\n",
        text, flags=re.DOTALL,
    )  # fmt: skip


def main():
    """Write the tables into the document."""
    DOCUMENT.write_text(updated(DOCUMENT.read_text()))
    sys.stdout.write(f"{DOCUMENT} is written\n")


if __name__ == "__main__":
    main()
