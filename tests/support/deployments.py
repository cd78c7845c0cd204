"""What Beanstalk and CloudFormation do for whoever deploys, with that caller's permissions.

AWS's managed policies list the actions. Those of moto are version 10 of AdministratorAccess-AWSElasticBeanstalk (May 2026)
and version 12 of AWSElasticBeanstalkManagedUpdatesCustomerRolePolicy (February 2026).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from tests.support.aws import ACCOUNT, APPLICATION, REGION
from tests.support.iam import expand, is_like, read_managed

T = TypeVar("T")
BUCKET = f"arn:aws:s3:::elasticbeanstalk-{REGION}-{ACCOUNT}"


def arn(service: str, resource: str) -> str:
    """The ARN of a resource in the account and its region."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


MANAGED = "AdministratorAccess-AWSElasticBeanstalk"
UPDATES = "AWSElasticBeanstalkManagedUpdatesCustomerRolePolicy"
READS = re.compile(
    r"\w+:(Describe|List|Get|Estimate|Validate|Lookup|Check|RetrieveEnvironmentInfo)"
)
# What an environment consists of, and what was named like it: a service, and the end of an ARN
THINGS = """
autoscaling autoScalingGroup:1:autoScalingGroupName/{stack}-AWSEBAutoScalingGroup-1
autoscaling autoScalingGroup:1:autoScalingGroupName/eb-1
autoscaling launchConfiguration:1:launchConfigurationName/{stack}-1
cloudformation stack/{stack}/1
cloudformation stack/eb-1/1
cloudwatch alarm:{stack}-Busy-1
cloudwatch alarm:eb-1
cloudwatch alarm:{name}-database-busy
codebuild project/Elastic-Beanstalk-{name}
codecommit {name}
dynamodb table/{stack}-1
dynamodb table/eb-1
ec2 instance/i-9
ec2 security-group/sg-9
ec2 launch-template/lt-9
ec2 elastic-ip/eipalloc-9
ec2 vpc/vpc-9
ecs cluster/awseb-1
elasticbeanstalk environment/{application}/{name}
elasticbeanstalk environment/other/{name}
elasticbeanstalk application/{application}
elasticbeanstalk application/other
elasticbeanstalk applicationversion/{application}/1
elasticbeanstalk configurationtemplate/{application}/1
elasticbeanstalk platform/other/1
elasticloadbalancing loadbalancer/awseb-1
elasticloadbalancing loadbalancer/app/awseb-1/2
elasticloadbalancing loadbalancer/app/other/2
elasticloadbalancing listener/app/awseb-1/2/3
elasticloadbalancing listener/app/other/2/3
elasticloadbalancing listener-rule/app/awseb-1/2/3/4
elasticloadbalancing listener-rule/app/other/2/3/4
elasticloadbalancing targetgroup/awseb-1/2
iam role/{name}-InstanceRole-1
iam role/aws-elasticbeanstalk-ec2-role
iam role/aws-service-role/elasticbeanstalk.amazonaws.com/AWSServiceRoleForElasticBeanstalk
iam instance-profile/aws-elasticbeanstalk-ec2-role
logs log-group:/aws/elasticbeanstalk/{name}/web
rds db:{name}
rds pg:{stack}-1
rds secgrp:{stack}-1
rds snapshot:rds:{name}-1
rds subgrp:{stack}-1
s3 {bucket}
s3 {bucket}/{application}/1.zip
s3 {bucket}/other/1.zip
s3 {bucket}/resources/_runtime/_embedded_extensions/{application}/1/1.config
s3 {bucket}/resources/environments/{identity}/_runtime/versions/manifest_1
s3 {bucket}/resources/environments/logs/bundle/{identity}/i-1/1.zip
s3 {bucket}/resources/templates/{application}/1
sns ElasticBeanstalkNotifications-Environment-{name}
sqs {stack}-1
sqs eb-1
"""
# Everything that the conditions of AWS's policies ask for
CONTEXT = {
    "iam:PassedToService": "ec2.amazonaws.com",
    "iam:PolicyArn": "arn:aws:iam::aws:policy/AWSElasticBeanstalkWebTier",
    "iam:AWSServiceName": "elasticbeanstalk.amazonaws.com",
    "ec2:LaunchTemplate": arn("ec2", "launch-template/lt-9"),
    "ec2:ResourceTag/aws:cloudformation:stack-id": arn("cloudformation", "stack/awseb-e-9-stack/9"),
    "ecs:CreateAction": "CreateCluster",
}
# Which resources an action knows is in the Service Authorization Reference
# (docs.aws.amazon.com/service-authorization/latest/reference): these know none
NOWHERE = (
    "ecs:DeRegisterTaskDefinition",
    "ecs:RegisterTaskDefinition",
    "elasticbeanstalk:CreateStorageLocation",
    "elasticloadbalancing:SetWebAcl",
    "sns:Unsubscribe",
)
# And these of EC2's, by a word of their names
KINDS = {
    "SecurityGroup": ("security-group",),
    "LaunchTemplate": ("launch-template",),
    "Address": ("elastic-ip",),
    "RunInstances": ("security-group", "launch-template"),
    "Instances": ("instance",),
    "Tags": ("instance", "security-group", "launch-template", "vpc"),
}
# What AWS's policy for updates has, and no update here needs
NOT_NEEDED = {
    "ec2:AllocateAddress": "for environments with one instance",
    "ec2:AssociateAddress": "the same",
    "ec2:DisassociateAddress": "the same",
    "ec2:ReleaseAddress": "the same",
    "ecs:CreateCluster": "for another platform",
    "ecs:DeleteCluster": "the same",
    "ecs:RegisterTaskDefinition": "the same",
    "ecs:TagResource": "the same",
    "logs:DeleteLogGroup": "logs are kept",
}


def made_for(name: str) -> dict[str, str]:
    """The condition keys that IAM sees for a resource that Beanstalk created for an environment."""
    return {
        "aws:ResourceTag/elasticbeanstalk:environment-name": name,
        "ec2:ResourceTag/aws:cloudformation:stack-id": arn("cloudformation", "stack/awseb-e-1/2"),
    }


def fill(text: str, name: str, identity: str) -> str:
    """The text with the names of an environment."""
    stack = f"awseb-{identity}-stack"
    return text.format(
        name=name, identity=identity, stack=stack, application=APPLICATION, bucket=BUCKET
    )


def belongings(name: str, identity: str, region: str) -> dict[str, list[str]]:
    """The ARNs of an environment's resources, by service."""
    found: dict[str, list[str]] = {}
    for line in fill(THINGS, name, identity).split("\n")[1:-1]:
        service, _, one = line.partition(" ")
        if service == "iam":
            one = f"arn:aws:iam::{ACCOUNT}:{one}"
        elif service != "s3":
            one = arn(service, one)
        found.setdefault(service, []).append(one.replace(REGION, region))
    return found


def as_list(value: T | list[T]) -> list[T]:
    return value if isinstance(value, list) else [value]


def changes(policy: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """The patterns of actions in one of AWS's policies, what each stands for, and the resources.

    Without what only reads.
    """
    for statement in read_managed(policy)["Statement"]:
        for pattern in as_list(statement["Action"]):
            actions = [one for one in expand(pattern) if not READS.match(one)]
            yield pattern, actions, as_list(statement["Resource"])


def targets(action: str, patterns: list[str], things: Mapping[str, list[str]]) -> list[str]:
    """Those of the ``things`` to which one of AWS's policies allows ``action``."""
    if action in NOWHERE:
        return ["*"]
    service, _, name = action.partition(":")
    kinds = next((kinds for word, kinds in KINDS.items() if word in name), ())
    return [
        one
        for one in things[service]
        if any(is_like(one, pattern) for pattern in patterns)
        and (service != "ec2" or one.rpartition(":")[2].startswith(kinds))
    ]


# Of the services that the policy for updates allows as a whole, what an update calls
WHOLE = {
    "cloudformation:*": ["cloudformation:UpdateStack"],
    "elasticbeanstalk:*": ["elasticbeanstalk:UpdateEnvironment"],
}


def refused_update(
    may: Callable[[str, str, dict[str, str]], bool], name: str, identity: str, region: str
) -> dict[str, str]:
    """The actions of an update that ``may(action, resource, context)`` allows for nothing of the environment.

    Pairs of an action and one of the resources for which it was asked.
    """
    things, missing = belongings(name, identity, region), {}
    for pattern, actions, patterns in changes(UPDATES):
        for action in WHOLE.get(pattern, actions):
            found = targets(action, patterns, things)
            if not any(may(action, one, CONTEXT | made_for(name)) for one in found):
                missing[action] = found[0]
    return missing


def bucket_policy(bucket: str) -> list[dict[str, Any]]:
    """What Beanstalk writes into its bucket's policy for each role of its instances.

    In public copies of such policies, these are eb-ad78f54a-f239-4c90-adda-49e5f56cb51e and
    eb-af163bf3-d27b-4712-b795-d1e33e331ca4.
    """
    return [
        {
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": f"{bucket}/resources/environments/logs/*",
        },
        {
            "Effect": "Allow",
            "Action": [
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:GetObject",
                "s3:GetObjectVersion",
            ],
            "Resource": [bucket, f"{bucket}/resources/environments/*"],
        },
    ]
