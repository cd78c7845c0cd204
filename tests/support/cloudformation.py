"""Reads CloudFormation templates, short forms of functions included, and resolves the functions."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.base.settings import SafeLoader
from tests.support.aws import ACCOUNT, APPLICATION, REGION


class Loader(SafeLoader):  # type: ignore[misc]  # one of two classes
    """YAML with CloudFormation's tags, which become the long form of the functions."""


def _function(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    return {name: value}


Loader.add_multi_constructor("!", _function)


def load(path: str | Path) -> Any:
    """The template in the file ``path``."""
    return yaml.load(Path(path).read_text(), Loader)


PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
}
NO_VALUE = object()  # of AWS::NoValue
# What Ref and GetAtt give, by type; {name} is the resource's own, or one that CloudFormation makes
ALARM = ("{name}", {"Arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"})
SHAPES = {
    "AWS::IAM::Role": ("{name}", {"Arn": "arn:aws:iam::{account}:role/{name}"}),
    "AWS::IAM::ManagedPolicy": ("{name}", {}),
    "AWS::S3::Bucket": ("{name}", {"Arn": "arn:aws:s3:::{name}"}),
    "AWS::KMS::Key": ("{name}", {"Arn": "arn:aws:kms:{region}:{account}:key/{name}"}),
    "AWS::SecretsManager::Secret": (
        "arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
        {},
    ),
    "AWS::SNS::Topic": ("arn:aws:sns:{region}:{account}:{name}", {"TopicName": "{name}"}),
    "AWS::ECR::Repository": ("{name}", {"Arn": "arn:aws:ecr:{region}:{account}:repository/{name}"}),
    "AWS::CodeConnections::Connection": (
        "arn:aws:codeconnections:{region}:{account}:connection/{name}",
        {},
    ),
    "AWS::CloudWatch::Alarm": ALARM,
    "AWS::CloudWatch::CompositeAlarm": ALARM,
    "AWS::CloudWatch::Dashboard": ("{name}", {}),
    "AWS::Logs::LogGroup": ("{name}", {}),
    "AWS::Events::Rule": ("{name}", {}),
    "AWS::Route53::HealthCheck": ("{name}", {}),
    "AWS::Backup::BackupPlan": ("{name}", {"BackupPlanId": "{name}"}),
    "AWS::Backup::BackupVault": (
        "{name}",
        {"BackupVaultArn": "arn:aws:backup:{region}:{account}:backup-vault:{name}"},
    ),
    "AWS::CodeBuild::Project": (
        "{name}",
        {"Arn": "arn:aws:codebuild:{region}:{account}:project/{name}"},
    ),
}
NAMES = (
    "RoleName",
    "BucketName",
    "RepositoryName",
    "Name",
    "ConnectionName",
    "TopicName",
    "AlarmName",
    "DashboardName",
    "LogGroupName",
    "BackupVaultName",
)


class Stack:
    """A template with its parameters, whose functions can be resolved."""

    def __init__(
        self,
        path: str | Path,
        name: str,
        parameters: dict[str, str],
        exports: Mapping[str, str] | None = None,
    ) -> None:
        self.template, self.name = load(path), name
        given = {
            "Application": APPLICATION,
            "Foundation": f"{APPLICATION}-foundation",
            "Repository": f"greeters/{APPLICATION}",
        }
        self.parameters = (
            given
            | {
                key: one["Default"]
                for key, one in self.template["Parameters"].items()
                if "Default" in one
            }
            | parameters
        )
        self._imports = exports or {}

    @property
    def exports(self) -> dict[str, str]:
        """Its exports, by name."""
        return {
            self.resolve(one["Export"]["Name"]): self.resolve(one["Value"])
            for one in self.template["Outputs"].values()
            if "Export" in one
        }

    def resolve(self, value: Any) -> Any:
        """``value`` with its functions replaced by what they give."""
        if isinstance(value, list):
            found = [self.resolve(one) for one in value]
            return [one for one in found if one is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) != 1 or not next(iter(value)).startswith(("Ref", "Fn::")):
            return {key: self.resolve(one) for key, one in value.items()}
        [(function, argument)] = value.items()
        if function == "Ref":
            return self._ref(argument)
        if function == "Fn::GetAtt":
            return self._attribute(*argument)
        if function == "Fn::ImportValue":
            return self._imports[self.resolve(argument)]
        if function == "Fn::Sub":
            text, values = (argument, {}) if isinstance(argument, str) else argument
            values = self.resolve(values)
            return re.sub(
                r"\$\{(!?)([^}]+)\}",
                lambda match: (
                    values[match[2]] if match[2] in values else self._substitute(*match.groups())
                ),
                text,
            )
        if function == "Fn::If":
            condition, then, otherwise = argument
            return self.resolve(then if self.holds(condition) else otherwise)
        return self._of_lists(function, argument)

    def _of_lists(self, function: str, argument: Any) -> Any:
        if function == "Fn::Select":
            return self.resolve(argument[1])[argument[0]]
        if function == "Fn::Split":
            return self.resolve(argument[1]).split(argument[0])
        if function == "Fn::Join":
            return argument[0].join(self.resolve(argument[1]))
        raise NotImplementedError(function)

    def holds(self, condition: Any) -> bool:
        """Whether a condition, by its name or in full, is true with these parameters."""
        if isinstance(condition, str):
            condition = self.template["Conditions"][condition]
        [(function, argument)] = condition.items()
        if function == "Fn::Equals":
            one, other = map(str, self.resolve(argument))
            return one == other
        if function == "Fn::Not":
            return not self.holds(argument[0])
        raise NotImplementedError(function)

    def properties(self, *kinds: str) -> dict[str, Any]:
        """The resolved properties of the resources of these types whose conditions are true."""
        return {
            name: self.resolve(one.get("Properties", {}))
            for name, one in self.template["Resources"].items()
            if one["Type"] in kinds and ("Condition" not in one or self.holds(one["Condition"]))
        }

    def _substitute(self, literal: str, name: str) -> Any:
        if literal:
            return f"${{{name}}}"
        if "." in name:
            return self._attribute(*name.split(".", 1))
        return self._ref(name)

    def _ref(self, name: str) -> Any:
        if name == "AWS::StackName":
            return self.name
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        return self._fill(name, SHAPES[self.template["Resources"][name]["Type"]][0])

    def _attribute(self, name: str, attribute: str) -> str:
        return self._fill(name, SHAPES[self.template["Resources"][name]["Type"]][1][attribute])

    def _fill(self, name: str, shape: str) -> str:
        properties = self.template["Resources"][name].get("Properties", {})
        own = next((self.resolve(properties[key]) for key in NAMES if key in properties), None)
        return shape.format(
            name=own or f"{self.name}-{name}-AbCdEf", account=ACCOUNT, region=REGION
        )
