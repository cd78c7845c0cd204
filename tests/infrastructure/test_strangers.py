"""What a deployment does to strangers: nothing, by any action of AWS's policy for deployments."""

import re

import pytest

from tests.infrastructure.permissions import (
    APPLICATION,
    BUCKET,
    ELSEWHERE,
    FOUNDATION,
    IDS,
    PIPELINE,
    PROD,
    STAGING,
    VIA_CLOUDFORMATION,
    WHO,
    arn,
    made_for,
)
from tests.support.aws import ACCOUNT, REGION
from tests.support.iam import Stack, expand, is_like, read_managed

OWN = [("Staging", STAGING), ("Production", PROD)]
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
# By role: the other environment, one that no template knows, one whose name begins like its own, and
# the other one in another region
STRANGERS = {
    who: [
        (other, IDS[other], REGION),
        (f"{APPLICATION}-third", "e-cccccccccc", REGION),
        (f"{own}2", "e-dddddddddd", REGION),
        (other, "e-eeeeeeeeee", ELSEWHERE),
    ]
    for (who, own), other in zip(OWN, (PROD, STAGING), strict=True)
}
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
# Actions that may meet a stranger, and why
ACCEPTED = {
    "ec2:CreateLaunchTemplate": "makes a new one",
    "ec2:CreateSecurityGroup": "makes a new one",
    "ec2:RunInstances": "by a stranger's template, but in no group and with no role of others",
    "elasticloadbalancing:CreateLoadBalancer": "makes a new one",
    "elasticloadbalancing:CreateTargetGroup": "makes a new one",
    "s3:CreateBucket": "the bucket is Beanstalk's, for all environments; each deployment does it",
    "s3:PutBucketOwnershipControls": "the same",
    "s3:PutBucketPolicy": "the same",
    "s3:PutBucketPublicAccessBlock": "the same",
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
# What CloudFormation does for a change of .ebextensions, with the permissions of whoever deploys
DEPLOYMENTS = {
    "another class of the database": "rds:ModifyDBInstance db:{name}",
    "another setting of PostgreSQL": "rds:ModifyDBParameterGroup pg:{stack}-parameters-1",
    "another type and number of instances": """
        ec2:CreateLaunchTemplateVersion launch-template/lt-1
        ec2:DeleteLaunchTemplateVersions launch-template/lt-1
        ec2:RunInstances launch-template/lt-1
        ec2:RunInstances security-group/sg-1
        ec2:RunInstances subnet/subnet-1
        autoscaling:UpdateAutoScalingGroup autoScalingGroup:1:autoScalingGroupName/{stack}-1
        autoscaling:PutScalingPolicy autoScalingGroup:1:autoScalingGroupName/{stack}-1
        """,
    "a new alarm": "cloudwatch:PutMetricAlarm alarm:{stack}-Busy-1",
    "another rule for requests": """
        elasticloadbalancing:ModifyRule listener-rule/app/awseb-1/2/3/4
        elasticloadbalancing:ModifyTargetGroupAttributes targetgroup/awseb-1/2
        """,
    "another group": """
        ec2:CreateSecurityGroup security-group/sg-1
        ec2:AuthorizeSecurityGroupIngress security-group/sg-1
        """,
}
WITHOUT_TAGS = ("launch-template/", "subnet/")  # as Beanstalk leaves them


def fill(text, name, identity):
    """The text with the names of an environment."""
    stack = f"awseb-{identity}-stack"
    return text.format(
        name=name, identity=identity, stack=stack, application=APPLICATION, bucket=BUCKET
    )


def belongings(name, identity, region):
    """The ARNs of an environment's resources, by service."""
    found = {}
    for line in fill(THINGS, name, identity).split("\n")[1:-1]:
        service, _, one = line.partition(" ")
        if service == "iam":
            one = f"arn:aws:iam::{ACCOUNT}:{one}"
        elif service != "s3":
            one = arn(service, one)
        found.setdefault(service, []).append(one.replace(REGION, region))
    return found


def as_list(value):
    return value if isinstance(value, list) else [value]


def changes(policy):
    """The patterns of actions in one of AWS's policies, what each stands for, and the resources.

    Without what only reads.
    """
    for statement in read_managed(policy)["Statement"]:
        for pattern in as_list(statement["Action"]):
            actions = [one for one in expand(pattern) if not READS.match(one)]
            yield pattern, actions, as_list(statement["Resource"])


def targets(action, patterns, things):
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


def reached(who, things, tags):
    """What a role may do to the ``things``: pairs of an action and a resource."""
    return {
        (action, one)
        for _, actions, patterns in changes(MANAGED)
        for action in actions
        for one in targets(action, patterns, things)
        if WHO[who].may(action, one, CONTEXT | tags)
    }


def test_each_action_is_asked_for_something():
    things = belongings(PROD, IDS[PROD], REGION)
    for _, actions, patterns in changes(MANAGED):
        for action in actions:
            assert targets(action, patterns, things), action


@pytest.mark.parametrize("who", STRANGERS)
def test_a_deployment_does_nothing_to_strangers(who):
    """Whether they are tagged for somebody else or not at all; no exception is kept in vain."""
    found = set()
    for name, identity, region in STRANGERS[who]:
        for tags in ({}, made_for(name)):
            found |= reached(who, belongings(name, identity, region), tags)
    assert {action for action, _ in found} == set(ACCEPTED)
    started = {one for action, one in found if action == "ec2:RunInstances"}
    assert all(":launch-template/" in one for one in started)


@pytest.mark.parametrize(("who", "name"), OWN)
def test_an_update_may_do_what_aws_says_that_it_needs(who, name):
    """AWS's policy for managed updates lists what Beanstalk does as whoever asks for an update."""
    things = belongings(name, IDS[name], REGION)
    missing = {
        action
        for pattern, actions, patterns in changes(UPDATES)
        for action in actions
        if "*" not in pattern
        and not any(
            WHO[who].may(action, one, CONTEXT | made_for(name))
            for one in targets(action, patterns, things)
        )
    }
    assert missing == set(NOT_NEEDED)


@pytest.mark.parametrize("change", DEPLOYMENTS)
@pytest.mark.parametrize(("who", "name"), OWN)
def test_a_deployment_may_change_what_ebextensions_declare(who, name, change):
    calls = f"""
        elasticbeanstalk:UpdateEnvironment environment/{{application}}/{{name}}
        cloudformation:UpdateStack stack/{{stack}}/1
        {DEPLOYMENTS[change]}"""
    for call in fill(calls, name, IDS[name]).strip().split("\n"):
        if call.strip():
            action, resource = call.split()
            tags = {} if resource.startswith(WITHOUT_TAGS) else made_for(name)
            one = arn(action.partition(":")[0], resource)
            assert WHO[who].may(action, one, CONTEXT | VIA_CLOUDFORMATION | tags), call


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ec2:CreateTags", arn("ec2", "security-group/sg-1")),
        ("elasticloadbalancing:AddTags", arn("elasticloadbalancing", "targetgroup/awseb-1/2")),
    ],
)
def test_only_something_new_is_tagged(who, action, resource):
    key = f"{action.partition(':')[0]}:CreateAction"
    assert WHO[who].may(action, resource, {key: "CreateSomething"})
    assert not WHO[who].may(action, resource)


def test_without_an_environment_a_deployment_writes_nothing():
    parameters = PIPELINE.parameters | {"StagingId": "none"}
    stack = Stack("devops/pipeline.yml", PIPELINE.name, parameters, FOUNDATION.exports)
    for identity in (*IDS.values(), "*"):
        key = f"resources/environments/{identity}/_runtime/versions/manifest_1"
        assert not stack.role("StagingRole").may("s3:PutObject", f"{BUCKET}/{key}")
