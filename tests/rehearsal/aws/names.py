"""Names that are taken: in a region, in the account, or by anybody."""

from moto.cloudwatch.models import cloudwatch_backends
from moto.ecr.models import ecr_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.rds.models import rds_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends

from tests.rehearsal.aws import schemas
from tests.support.aws import ACCOUNT

EVERYWHERE = "aws"  # as moto calls what is in no region


def _roles(_):
    return {one.name for one in iam_backends[ACCOUNT][EVERYWHERE].roles.values()}


def _dashboards(_):
    """Of all regions: docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html"""
    backends = cloudwatch_backends[ACCOUNT].values()
    return {name for one in backends for name in one.dashboards}


# By type, the names that moto has given
GIVEN = {
    "AWS::CloudWatch::Dashboard": _dashboards,
    "AWS::ECR::Repository": lambda region: ecr_backends[ACCOUNT][region].repositories,
    "AWS::IAM::InstanceProfile": lambda _: {
        one.name for one in iam_backends[ACCOUNT][EVERYWHERE].instance_profiles.values()
    },
    "AWS::IAM::Role": _roles,
    "AWS::Logs::LogGroup": lambda region: logs_backends[ACCOUNT][region].groups,
    "AWS::Logs::ResourcePolicy": lambda region: logs_backends[ACCOUNT][region].resource_policies,
    "AWS::RDS::DBSubnetGroup": lambda region: rds_backends[ACCOUNT][region].subnet_groups,
    "AWS::S3::Bucket": lambda _: s3_backends[ACCOUNT][EVERYWHERE].buckets,
}


def find_taken(kind, properties, region, ours):
    """The name that a new resource with ``properties`` cannot have, or None.

    ``ours`` has the names, by type, of the resources that moto does not know. CloudFormation looks before it executes
    a change set: https://github.com/aws-cloudformation/rain/pull/744. It knows the names of those types that are
    identified by them.
    """
    key = schemas.find_name(kind, region)
    name = properties.get(key) if key else None
    given = GIVEN.get(kind, lambda _: ours[kind])
    return name if name is not None and name in given(region) else None


def refuse_secret(name, region):
    """The reason why there cannot be another secret ``name``, or None.

    Those that wait for their deletion have their names, too:
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html
    """
    known = secretsmanager_backends[ACCOUNT][region].secrets
    if name not in known:
        return None
    if known[name].is_deleted():  # https://github.com/udondan/cdk-ec2-key-pair/issues/2
        return (
            "You can't create this secret because a secret with this name is already scheduled "
            "for deletion."
        )
    # https://github.com/aws-solutions-library-samples/data-lakes-on-aws/pull/50
    return f"The operation failed because the secret {name} already exists."
