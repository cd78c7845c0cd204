"""CloudFormation where moto falls short: types that it does not know, and change sets."""

import json
from collections import defaultdict
from unittest import mock

from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends

from tests.support.aws import ACCOUNT, REGION

# Types that moto leaves out of a stack with a line in its log, and the property with their name
NAMED = (
    "AWS::CodeBuild::Project",
    "AWS::CodePipeline::Pipeline",
    "AWS::CodeStarNotifications::NotificationRule",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
    "AWS::Logs::QueryDefinition",
)
UNKNOWN = dict.fromkeys(NAMED, "Name") | {
    "AWS::Chatbot::SlackChannelConfiguration": "ConfigurationName",
    "AWS::CodeConnections::Connection": "ConnectionName",
    "AWS::SNS::Subscription": "",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::CompositeAlarm": "AlarmName",
    "AWS::Budgets::Budget": "",
    "AWS::Logs::MetricFilter": "",
    "AWS::SNS::TopicPolicy": "",
}
# What moto makes, and does not tell anybody about
RETOLD = {"AWS::Events::Rule": "Name"}


class CloudFormation:
    """Keeps the resources that moto does not know, with their properties, by type and name.

    Those that are notified are subscribed at ``receiver``, in which each of them has a path.
    """

    def __init__(self, receiver):
        self.resources = defaultdict(dict)
        self._receiver = receiver

    def patches(self):
        """What lets moto make these resources, and execute change sets as AWS does."""
        known = parsing.get_model_map()  # before ours are defined, which it would find
        names = parsing.get_name_type_map()
        ours = {kind: _model(self, kind, name) for kind, name in (UNKNOWN | RETOLD).items()}
        models, types = known | ours, names | dict.fromkeys(ours)
        return [
            mock.patch.object(parsing, "get_model_map", return_value=models),
            mock.patch.object(parsing, "get_model_list", return_value=list(models.values())),
            mock.patch.object(parsing, "get_name_type_map", return_value=types),
            mock.patch.object(CloudFormationBackend, "execute_change_set", _execute_change_set),
            # It refuses an empty change set, where AWS makes one and says so in its status
            mock.patch.object(
                CloudFormationResponse, "_validate_different_update", return_value=None
            ),
        ]

    def made(self, kind, name, properties):
        """Keep a resource; the identity by which it is known."""
        if kind == "AWS::SecretsManager::Secret":
            return _secret(properties)
        if kind == "AWS::CodeConnections::Connection":
            name = f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/{name}"
        if kind == "AWS::Logs::MetricFilter":
            group = properties["LogGroupName"]  # moto does not ask, as AWS does
            assert group in logs_backends[ACCOUNT][REGION].groups, f"no log group {group}"
        self.resources[kind][name] = properties
        if kind == "AWS::SNS::Subscription":
            self._subscribe_address(properties)
        if kind == "AWS::Chatbot::SlackChannelConfiguration":
            for topic in properties["SnsTopicArns"]:
                path = f"slack/{properties['SlackChannelId']}"
                sns_backends[ACCOUNT][REGION].subscribe(
                    topic, f"{self._receiver.url}/{path}", "http"
                )
        return name

    def _subscribe_address(self, properties):
        backend = sns_backends[ACCOUNT][REGION]
        endpoint = f"{self._receiver.url}/{properties['Protocol']}/{properties['Endpoint']}"
        made = backend.subscribe(properties["TopicArn"], endpoint, "http")
        if "FilterPolicy" in properties:
            policy = json.dumps(properties["FilterPolicy"])
            backend.set_subscription_attributes(made.arn, "FilterPolicy", policy)


def _model(owner, kind, name_key):
    """What moto wants of a type of resource."""
    service = kind.split("::")[1].lower()

    class Resource(CloudFormationModel):
        def __init__(self, identity):
            self.physical_resource_id = identity

        @staticmethod
        def cloudformation_name_type():
            return None

        @staticmethod
        def cloudformation_type():
            return kind

        @staticmethod
        def has_cfn_attr(attr):
            return attr == "Arn"

        def get_cfn_attribute(self, attribute_name):
            name = self.physical_resource_id
            if service == "cloudwatch":
                name = f"alarm:{name}"
            return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"

        @classmethod
        def create_from_cloudformation_json(cls, name, cloudformation_json, *_, **__):
            properties = _without_nothing(cloudformation_json["Properties"])
            return cls(owner.made(kind, properties.get(name_key) or name, properties))

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource, new_resource_name, cloudformation_json, *_, **__
        ):
            if kind == "AWS::SecretsManager::Secret":  # whose value outlives changes of the stack
                return original_resource
            return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json)

    return Resource


def _without_nothing(value):
    """``value`` without what AWS::NoValue leaves, for which moto has None."""
    if isinstance(value, dict):
        return {key: _without_nothing(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nothing(one) for one in value if one is not None]
    return value


def _secret(properties):
    """Make a secret, with a value that is given or generated; its ARN."""
    backend = secretsmanager_backends[ACCOUNT][REGION]
    text = properties.get("SecretString")
    if text is None:
        wanted = properties["GenerateSecretString"]
        password = backend.get_random_password(
            int(wanted["PasswordLength"]), "", False, wanted["ExcludePunctuation"] in (True, "true"),
            False, False, False, True,
        )  # fmt: skip
        value = json.loads(wanted["SecretStringTemplate"])
        value[wanted["GenerateStringKey"]] = json.loads(password)["RandomPassword"]
        text = json.dumps(value)
    created = backend.create_secret(properties["Name"], text, None, None, [], None, None, [], False)
    return json.loads(created)["ARN"]


_execute = CloudFormationBackend.execute_change_set


def _execute_change_set(backend, change_set_name, stack_name=None):
    """A change set sees the exports of other stacks, and has outputs afterwards."""
    for stack in backend.stacks.values():
        stack.cross_stack_resources = backend.exports
        stack.resource_map.cross_stack_resources = backend.exports
    _execute(backend, change_set_name, stack_name)
    for stack in backend.stacks.values():
        for name in stack.resource_map.resources:
            stack.resource_map[name]  # made now if its condition has become true
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        backend.exports |= {export.name: export for export in stack.exports}
