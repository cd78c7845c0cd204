"""CloudFormation where moto falls short: types that it does not know. stacks.py has what it does with all types."""

import json
from collections import defaultdict
from unittest import mock

from moto.cloudformation import parsing
from moto.cloudformation.models import Stack
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel
from moto.ecr.models import ecr_backends
from moto.kms.models import KmsBackend
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends

from tests.rehearsal.aws import names
from tests.rehearsal.aws.stack_resources import Failed, without_nothing
from tests.rehearsal.aws.stacks import Stacks
from tests.support.aws import ACCOUNT, REGION

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
RETOLD = {"AWS::Events::Rule": "Name", "AWS::Route53::HealthCheck": ""}


class CloudFormation:
    """Keeps the resources that moto does not know, with their properties, by region, type and name.

    Subscribers of notifications are represented by ``receiver``, in which each of them has a path.
    """

    def __init__(self, receiver):
        self._regions = defaultdict(lambda: defaultdict(dict))
        self._receiver = receiver
        self.stacks = Stacks(self.at)

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
            *self.stacks.patches(),
            mock.patch.object(parsing, "get_model_map", return_value=models),
            mock.patch.object(parsing, "get_model_list", return_value=list(models.values())),
            mock.patch.object(parsing, "get_name_type_map", return_value=types),
            mock.patch.object(Stack, "has_parameters", _has_parameters),
            mock.patch.object(KmsBackend, "create_key", _create_key),
            # moto refuses an empty change set; AWS creates it and reports this in its status
            mock.patch.object(
                CloudFormationResponse, "_validate_different_update", return_value=None
            ),
        ]

    def made(self, kind, name, properties, region):
        """Keep a resource; the identity by which it is known. Raises Failed."""
        if kind == "AWS::SecretsManager::Secret":
            return _secret(properties, region)
        if kind == "AWS::CodeConnections::Connection":
            name = f"arn:aws:codeconnections:{region}:{ACCOUNT}:connection/{name}"
        if kind == "AWS::Budgets::Budget":
            name = properties["Budget"].get("BudgetName", name)
            self._refuse_budget(name)
        if kind == "AWS::Logs::MetricFilter":
            group = properties["LogGroupName"]  # moto does not ask, as AWS does
            if group not in logs_backends[ACCOUNT][region].groups:
                raise Failed("The specified log group does not exist.")
        if kind == "AWS::SNS::Subscription":
            name = self._subscribe_address(properties, region)
        self.keep(kind, name, properties, region)
        return name

    def keep(self, kind, name, properties, region):
        """Let a resource have ``properties``, whether it is new or not."""
        if kind == "AWS::ECR::ReplicationConfiguration":
            wanted = properties["ReplicationConfiguration"]
            ecr_backends[ACCOUNT][region].put_replication_configuration(_as_json(wanted))
        if kind == "AWS::SNS::Subscription" and "FilterPolicy" in properties:
            policy = json.dumps(properties["FilterPolicy"])
            sns_backends[ACCOUNT][region].set_subscription_attributes(name, "FilterPolicy", policy)
        self.at(region)[kind][name] = properties

    def removed(self, kind, name, region):
        """Remove a resource. Raises what moto does, if it refuses."""
        if kind == "AWS::SecretsManager::Secret":
            _remove_secret(name, region)
            return
        if kind == "AWS::ECR::ReplicationConfiguration":
            ecr_backends[ACCOUNT][region].put_replication_configuration({"rules": []})
        if kind == "AWS::SNS::Subscription":
            sns_backends[ACCOUNT][region].unsubscribe(name)
        self.at(region)[kind].pop(name, None)

    def _refuse_budget(self, name):
        """Its name is unique in the account, whatever the region of its stack:
        https://github.com/awslabs/landing-zone-accelerator-on-aws/issues/418"""
        if any(name in known["AWS::Budgets::Budget"] for known in self._regions.values()):
            raise Failed(
                f"Error creating budget: {name} - the budget already exists. (Service: AWSBudgets; "
                "Status Code: 400; Error Code: DuplicateRecordException)"
            )

    def _subscribe_address(self, properties, region):
        """The subscription; a second one of an endpoint is the first one, or refused:
        https://github.com/localstack/localstack/issues/8816"""
        for arn, known in self.at(region)["AWS::SNS::Subscription"].items():
            same = [known[key] == properties[key] for key in ("TopicArn", "Protocol", "Endpoint")]
            if all(same):
                if known != properties:
                    raise Failed(
                        "Invalid parameter: Attributes Reason: Subscription already exists with "
                        "different attributes"
                    )
                return arn
        endpoint = f"{self._receiver.url}/{properties['Protocol']}/{properties['Endpoint']}"
        topics = sns_backends[ACCOUNT][region]
        return topics.subscribe(properties["TopicArn"], endpoint, "http").arn


def _model(owner, kind, name_key):
    """The interface that moto requires of a resource type."""

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
            return _attribute(kind, attribute_name, self.physical_resource_id, self.region)

        @classmethod
        def create_from_cloudformation_json(
            cls, name, cloudformation_json, account_id, region_name, **_
        ):
            properties = without_nothing(cloudformation_json["Properties"])
            name = properties.get(name_key) or name
            return cls(owner.made(kind, name, properties, region_name), region_name)

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
        ):
            if kind == "AWS::SecretsManager::Secret":  # whose value outlives changes of the stack
                properties = without_nothing(cloudformation_json["Properties"])
                _replicate(original_resource.physical_resource_id, properties, region_name)
                return original_resource
            name = original_resource.physical_resource_id
            owner.keep(kind, name, without_nothing(cloudformation_json["Properties"]), region_name)
            return original_resource

        def delete(self, account_id, region_name):
            owner.removed(kind, self.physical_resource_id, region_name)

    return Resource


def _attribute(kind, attribute, name, region):
    if attribute == "BackupPlanId":
        return name
    service = kind.split("::")[1].lower()
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{PLACES.get(service, '')}{name}"


def _secret(properties, region):
    """Create a secret with a given or a generated value, and return its ARN."""
    if reason := names.refuse_secret(properties["Name"], region):
        raise Failed(reason)
    backend = secretsmanager_backends[ACCOUNT][region]
    text = properties.get("SecretString")
    if text is None:
        wanted = properties["GenerateSecretString"]
        password = backend.get_random_password(
            int(wanted["PasswordLength"]),
            "",
            False,
            wanted["ExcludePunctuation"] in (True, "true"),
            False,
            False,
            False,
            True,
        )
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


def _remove_secret(arn, region):
    """For good, with its replicas; one that is gone already is no failure."""
    backend = secretsmanager_backends[ACCOUNT][region]
    if backend._is_valid_identifier(arn):
        replicas = [one.region for one in backend.describe_secret(arn).replicas]
        if replicas:
            backend.remove_regions_from_replication(arn, replicas)
        backend.delete_secret(arn, None, force_delete_without_recovery=True)


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
