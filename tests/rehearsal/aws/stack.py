"""The CloudFormation stack in which Beanstalk keeps the resources of an environment.

Only its status and its events are there, and no resources. An update of it is refused once one of them has
failed: https://github.com/ThoughtWorksStudios/eb_deployer/issues/83
"""

import json

from moto.cloudformation.models import Event, cloudformation_backends

from tests.rehearsal.machines.docker import Failed
from tests.support.aws import ACCOUNT

STACK = "AWS::CloudFormation::Stack"
TYPES = {
    "Database": "AWS::RDS::DBInstance",
    "AWSEBV2LoadBalancer": "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWSEBV2LoadBalancerListener443": "AWS::ElasticLoadBalancingV2::Listener",
    "AWSEBInstanceLaunchWaitCondition": "AWS::CloudFormation::WaitCondition",
}


class NotMade(Failed):
    """A ``resource`` was not created; ``others`` are those whose creation is cancelled because of it."""

    def __init__(self, resource, reason, others=()):
        super().__init__(reason)
        self.resource, self.others = resource, others


class Stack:
    """The stack of a new environment with the id ``environment``. ``client(service)`` makes clients."""

    def __init__(self, client, region, environment):
        self.name = f"awseb-{environment}-stack"
        self._client, backend = client("cloudformation"), cloudformation_backends[ACCOUNT][region]
        self._client.create_stack(StackName=self.name, TemplateBody=json.dumps({"Resources": {}}))
        self._stack = backend.get_stack(self.name)

    def refuse_update(self):
        """Raises Failed if CloudFormation refuses to update it."""
        if self._stack.status.endswith("_FAILED"):
            raise Failed(
                f"Service:AmazonCloudFormation, Message:Stack:{self._stack.stack_id} is in "
                f"{self._stack.status} state and can not be updated."
            )

    def fail(self, status, reasons):
        """Let it be CREATE_FAILED or DELETE_FAILED, as are the resources in ``reasons``."""
        if status == "DELETE_FAILED":
            self._tell(self.name, STACK, "DELETE_IN_PROGRESS", "User Initiated")
        for resource, reason in reasons.items():
            self._tell(resource, TYPES[resource], status, reason)
        verb = status.removesuffix("_FAILED").lower()
        reason = f"The following resource(s) failed to {verb}: [{', '.join(reasons)}]. "
        self._tell(self.name, STACK, status, reason)
        self._stack.status = status
        return reason

    def delete(self):
        self._client.delete_stack(StackName=self.name)
        while self._stack.status != "DELETE_COMPLETE":  # a step further with each answer
            self._client.describe_stacks(StackName=self._stack.stack_id)

    def _tell(self, resource, kind, status, reason):
        self._stack.events.append(
            Event(
                self._stack.stack_id,
                self.name,
                resource,
                f"{self.name}-{resource}",
                kind,
                status,
                reason,
                None,
            )
        )
