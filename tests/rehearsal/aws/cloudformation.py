"""CloudFormation where moto falls short: types that it does not know, and change sets."""

import json
from collections import defaultdict
from unittest import mock

from moto.cloudformation import parsing
from moto.cloudformation.models import CloudFormationBackend, Stack
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.ecr.models import ecr_backends
from moto.kms.models import KmsBackend
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends

from tests.support.aws import ACCOUNT, MISSING, REGION

# Types that moto skips with only a line in its log, and the property that has the resource's name
NAMED = (
    "AWS::CodeBuild::Project",
    "AWS::CodePipeline::Pipeline",
    "AWS::CodeStarNotifications::NotificationRule",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
    "AWS::Logs::QueryDefinition",
)
UNKNOWN = dict.fromkeys(NAMED, "Name") | {
    "AWS::CodeConnections::Connection": "ConnectionName",
    "AWS::Backup::BackupVault": "BackupVaultName",
    "AWS::Backup::BackupPlan": "",
    "AWS::Backup::BackupSelection": "",
    "AWS::ECR::ReplicationConfiguration": "",
    "AWS::SNS::Subscription": "",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::CompositeAlarm": "AlarmName",
    "AWS::Budgets::Budget": "",
    "AWS::Logs::MetricFilter": "",
    "AWS::SNS::TopicPolicy": "",
}
# The attribute that they have, where it is not Arn
ATTRIBUTES = {
    "AWS::Backup::BackupVault": "BackupVaultArn",
    "AWS::Backup::BackupPlan": "BackupPlanId",
}
# What stands before the name in an ARN, by service
PLACES = {"cloudwatch": "alarm:", "backup": "backup-vault:", "codebuild": "project/"}
# What moto makes, and does not tell anybody about
RETOLD = {"AWS::Events::Rule": "Name"}


class CloudFormation:
    """Keeps the resources that moto does not know, with their properties, by region, type and name.

    Subscribers of notifications are represented by ``receiver``, in which each of them has a path.
    """

    def __init__(self, receiver):
        self._regions = defaultdict(lambda: defaultdict(dict))
        self._receiver = receiver

    @property
    def resources(self):
        """The resources in the home region."""
        return self.at(REGION)

    def at(self, region):
        """The resources in ``region``."""
        return self._regions[region]

    def policy_of(self, resource):
        """The statements of a vault's policy; of any other resource, none."""
        _, _, service, region, _, kind, name = [*resource.split(":", 6), "", "", "", "", "", ""][:7]
        if (service, kind) != ("backup", "backup-vault"):
            return []
        vault = self.at(region)["AWS::Backup::BackupVault"].get(name, {})
        return vault.get("AccessPolicy", {}).get("Statement", [])

    def patches(self):
        """Patches that make moto create these resources, and execute change sets as AWS does."""
        known = parsing.get_model_map()  # before ours are defined, which it would find
        names = parsing.get_name_type_map()
        ours = {kind: _model(self, kind, name) for kind, name in (UNKNOWN | RETOLD).items()}
        models, types = known | ours, names | dict.fromkeys(ours)
        return [
            mock.patch.object(parsing, "get_model_map", return_value=models),
            mock.patch.object(parsing, "get_model_list", return_value=list(models.values())),
            mock.patch.object(parsing, "get_name_type_map", return_value=types),
            mock.patch.object(CloudFormationBackend, "execute_change_set", _execute_change_set),
            mock.patch.object(Stack, "has_parameters", _has_parameters),
            mock.patch.object(KmsBackend, "create_key", _create_key),
            # moto refuses an empty change set; AWS creates it and reports this in its status
            mock.patch.object(
                CloudFormationResponse, "_validate_different_update", return_value=None
            ),
        ]

    def made(self, kind, name, properties, region):
        """Keep a resource; the identity by which it is known."""
        if kind == "AWS::SecretsManager::Secret":
            return _secret(properties, region)
        if kind == "AWS::CodeConnections::Connection":
            name = f"arn:aws:codeconnections:{region}:{ACCOUNT}:connection/{name}"
        assert region not in MISSING.get(kind, ()), f"{region} has no {kind}"
        if kind == "AWS::Budgets::Budget":  # whose name is unique in the account
            name = properties["Budget"]["BudgetName"]
            taken = [one for one, known in self._regions.items() if name in known[kind]]
            assert taken in ([], [region]), f"there is a budget {name} in {taken}"
        if kind == "AWS::Logs::MetricFilter":
            group = properties["LogGroupName"]  # moto does not ask, as AWS does
            assert group in logs_backends[ACCOUNT][region].groups, f"no log group {group}"
        if kind == "AWS::ECR::ReplicationConfiguration":
            wanted = properties["ReplicationConfiguration"]
            ecr_backends[ACCOUNT][region].put_replication_configuration(_as_json(wanted))
        self.at(region)[kind][name] = properties
        if kind == "AWS::SNS::Subscription":
            self._subscribe_address(properties, region)
        return name

    def _subscribe_address(self, properties, region):
        backend = sns_backends[ACCOUNT][region]
        endpoint = f"{self._receiver.url}/{properties['Protocol']}/{properties['Endpoint']}"
        made = backend.subscribe(properties["TopicArn"], endpoint, "http")
        if "FilterPolicy" in properties:
            policy = json.dumps(properties["FilterPolicy"])
            backend.set_subscription_attributes(made.arn, "FilterPolicy", policy)


def _model(owner, kind, name_key):
    """The interface that moto requires of a resource type."""
    service = kind.split("::")[1].lower()

    class Resource(CloudFormationModel):
        def __init__(self, identity, region):
            self.physical_resource_id, self.region = identity, region

        @staticmethod
        def cloudformation_name_type():
            return None

        @staticmethod
        def cloudformation_type():
            return kind

        @staticmethod
        def has_cfn_attr(attr):
            return attr == ATTRIBUTES.get(kind, "Arn")

        def get_cfn_attribute(self, attribute_name):
            name = self.physical_resource_id
            if attribute_name == "BackupPlanId":
                return name
            name = f"{PLACES.get(service, '')}{name}"
            return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{name}"

        @classmethod
        def create_from_cloudformation_json(
            cls, name, cloudformation_json, account_id, region_name, **_
        ):
            properties = _without_nothing(cloudformation_json["Properties"])
            name = properties.get(name_key) or name
            return cls(owner.made(kind, name, properties, region_name), region_name)

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
        ):
            if kind == "AWS::SecretsManager::Secret":  # whose value outlives changes of the stack
                properties = _without_nothing(cloudformation_json["Properties"])
                _replicate(original_resource.physical_resource_id, properties, region_name)
                return original_resource
            return cls.create_from_cloudformation_json(
                new_resource_name, cloudformation_json, account_id, region_name
            )

    return Resource


def _without_nothing(value):
    """``value`` without the entries set to AWS::NoValue, which moto represents as None."""
    if isinstance(value, dict):
        return {key: _without_nothing(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nothing(one) for one in value if one is not None]
    return value


def _secret(properties, region):
    """Create a secret with a given or a generated value, and return its ARN."""
    backend = secretsmanager_backends[ACCOUNT][region]
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
    created = backend.create_secret(
        properties["Name"], text, None, None, [], properties.get("KmsKeyId"), None, [], False
    )
    arn = json.loads(created)["ARN"]
    _replicate(arn, properties, region)
    return arn


def _replicate(arn, properties, region):
    """Create the missing replicas of a secret."""
    backend = secretsmanager_backends[ACCOUNT][region]
    there = {one.region for one in backend.describe_secret(arn).replicas}
    missing = [one for one in properties.get("ReplicaRegions", []) if one["Region"] not in there]
    if missing:
        backend.replicate_secret_to_regions(arn, missing, force_overwrite=False)


def _as_json(value):
    """A configuration of CloudFormation with the keys of the API, which begin with lower-case letters."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _as_json(one) for key, one in value.items()}
    return [_as_json(one) for one in value] if isinstance(value, list) else value


def _has_parameters(stack, others):
    """Whether nothing would change; a parameter that keeps its previous value is not a change."""
    return all(str(stack.stack_parameters.get(name)) == str(one) for name, one in others.items())


_create = KmsBackend.create_key


def _create_key(backend, policy, *arguments, **more):
    """A stack's policy is no text, as a key must have it to be described."""
    text = policy if policy is None or isinstance(policy, str) else json.dumps(policy)
    return _create(backend, text, *arguments, **more)


_execute = CloudFormationBackend.execute_change_set


def _execute_change_set(backend, change_set_name, stack_name=None):
    """A change set sees the exports of other stacks, and has outputs afterwards."""
    for stack in backend.stacks.values():
        stack.cross_stack_resources = backend.exports
        stack.resource_map.cross_stack_resources = backend.exports
    _execute(backend, change_set_name, stack_name)
    found = [one for one in backend.change_sets.values()
             if change_set_name in (one.change_set_id, one.change_set_name)]  # fmt: skip
    for event in backend.stacks[found[0].stack_id].events[-2:]:
        event.client_request_token = found[0].change_set_name  # which is the token of ours
    for stack in backend.stacks.values():
        for name in stack.resource_map.resources:
            stack.resource_map[name]  # made now if its condition has become true
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        backend.exports |= {export.name: export for export in stack.exports}
