"""Whose permissions Beanstalk and its instances use: those of whoever asks, and those of the instance profile."""

from tests.rehearsal.aws.access import Denied
from tests.support.aws import ACCOUNT, APPLICATION
from tests.support.deployments import NOT_NEEDED, bucket_policy, refused_update

PROFILE = ("aws:autoscaling:launchconfiguration", "IamInstanceProfile")


class Rights:
    """What may be done for the environments of a ``region``; ``access`` knows all roles."""

    def __init__(self, access, region):
        self._access, self._region = access, region

    def refuse_update(self, environment):
        """The event of an update that whoever asks may not let Beanstalk make, or an empty text.

        CloudFormation works with the caller's permissions, and Beanstalk shows its error in this form; see
        github.com/aws/elastic-beanstalk-roadmap/issues/57 and repost.aws questions on "Service:AmazonCloudFormation".
        """
        caller = self._access.caller
        if not caller:  # an operator may do everything, and AWS does not ask itself
            return ""

        def may(action, resource, context):
            try:
                self._access.require(caller, action, resource, context)
            except Denied:
                return False
            return True

        missing = refused_update(may, environment.name, environment.id, self._region)
        for action, resource in missing.items():
            if action not in NOT_NEEDED:
                return f"Service:AmazonCloudFormation, Message:{Denied(caller, action, resource)}"
        return ""

    def role_of(self, environment):
        """The ARN of the role of the environment's instances."""
        return self._access.instance_role(environment.option(*PROFILE))

    def start_instance(self, environment):
        """Raises Denied for what an instance does before the first hook runs, and its role may not do.

        As AWS's AWSElasticBeanstalkWebTier (version 9) has it; without X-Ray, Bedrock and the marketplace, which
        nothing here uses.
        """
        role = self.role_of(environment)
        bucket = f"arn:aws:s3:::elasticbeanstalk-{self._region}-{ACCOUNT}"
        folder = f"resources/environments/{environment.id}/_runtime"
        group = f"arn:aws:logs:{self._region}:{ACCOUNT}:log-group:/aws/elasticbeanstalk/{environment.name}/var/log/x"
        image = f"arn:aws:ecr:{self._region}:{ACCOUNT}:repository/{APPLICATION}"
        mine = f"arn:aws:elasticbeanstalk:{self._region}:{ACCOUNT}:environment/{APPLICATION}/{environment.name}"
        for action, resource, context in (
            ("s3:ListBucket", bucket, {"s3:prefix": f"{folder}/versions/"}),
            ("s3:GetObject", f"{bucket}/{folder}/versions/manifest_1", {}),
            ("s3:GetObject", f"{bucket}/{folder}/_versions/{APPLICATION}/1", {}),
            ("elasticbeanstalk:PutInstanceStatistics", mine, {}),
            ("logs:CreateLogStream", group, {}),
            ("logs:PutLogEvents", f"{group}:log-stream:i-1", {}),
            ("ecr:GetAuthorizationToken", "*", {}),
            ("ecr:BatchGetImage", image, {}),
            ("ecr:GetDownloadUrlForLayer", image, {}),
        ):
            self._access.require(role, action, resource, context, bucket_policy(bucket))
