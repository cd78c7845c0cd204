"""What a deployment does to strangers: nothing, by any action of AWS's policy for deployments."""

import pytest

from tests.infrastructure.permissions import (
    ELSEWHERE,
    FOUNDATION,
    IDS,
    PIPELINE,
    PROD,
    STAGING,
    VIA_CLOUDFORMATION,
    WHO,
)
from tests.support.aws import APPLICATION, REGION
from tests.support.deployments import (
    BUCKET,
    CONTEXT,
    MANAGED,
    NOT_NEEDED,
    arn,
    belongings,
    changes,
    fill,
    made_for,
    refused_update,
    targets,
)
from tests.support.iam import Stack

OWN = [("Staging", STAGING), ("Production", PROD)]
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


def reached(who, things, tags):
    """What a role may do to the ``things``: pairs of an action and a resource."""
    return {
        (action, one)
        for _, actions, patterns in changes(MANAGED)
        for action in actions
        for one in targets(action, patterns, things)
        if WHO[who].may(action, one, CONTEXT | tags)
    }


def test_each_action_is_tested_with_a_resource():
    things = belongings(PROD, IDS[PROD], REGION)
    for _, actions, patterns in changes(MANAGED):
        for action in actions:
            assert targets(action, patterns, things), action


@pytest.mark.parametrize("who", STRANGERS)
def test_a_deployment_cannot_change_foreign_resources(who):
    """Whether they are tagged for somebody else or not at all; no exception is kept in vain."""
    found = set()
    for name, identity, region in STRANGERS[who]:
        for tags in ({}, made_for(name)):
            found |= reached(who, belongings(name, identity, region), tags)
    assert {action for action, _ in found} == set(ACCEPTED)
    started = {one for action, one in found if action == "ec2:RunInstances"}
    assert all(":launch-template/" in one for one in started)


@pytest.mark.parametrize(("who", "name"), OWN)
def test_an_update_has_the_permissions_that_aws_documents(who, name):
    """AWS's policy for managed updates lists what Beanstalk does as whoever asks for an update."""
    assert set(refused_update(WHO[who].may, name, IDS[name], REGION)) == set(NOT_NEEDED)


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
def test_only_new_resources_can_be_tagged(who, action, resource):
    key = f"{action.partition(':')[0]}:CreateAction"
    assert WHO[who].may(action, resource, {key: "CreateSomething"})
    assert not WHO[who].may(action, resource)


def test_without_an_environment_a_deployment_writes_nothing():
    parameters = PIPELINE.parameters | {"StagingId": "none"}
    stack = Stack("devops/pipeline.yml", PIPELINE.name, parameters, FOUNDATION.exports)
    for identity in (*IDS.values(), "*"):
        key = f"resources/environments/{identity}/_runtime/versions/manifest_1"
        assert not stack.role("StagingRole").may("s3:PutObject", f"{BUCKET}/{key}")
