"""Who may do what by the templates: their policies read as IAM reads them.

It knows what these templates use, and refuses anything else: an unknown function, or an unknown operator
in a condition, is an error and never a yes or a no. Not read: permissions boundaries, policies of
resources, and what an organisation forbids; there are none in the templates.
"""

import json
import re
from dataclasses import dataclass, field

from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.support import cloudformation
from tests.support.aws import ACCOUNT, REGION

PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
}
MANAGED = json.loads(aws_managed_policies_data)
# What Ref and GetAtt give, by type; {name} is the resource's own, or one that CloudFormation makes
SHAPES = {
    "AWS::IAM::Role": ("{name}", {"Arn": "arn:aws:iam::{account}:role/{name}"}),
    "AWS::IAM::ManagedPolicy": ("{name}", {}),
    "AWS::S3::Bucket": ("{name}", {"Arn": "arn:aws:s3:::{name}"}),
    "AWS::KMS::Key": ("{name}", {"Arn": "arn:aws:kms:{region}:{account}:key/{name}"}),
    "AWS::SecretsManager::Secret": (
        "arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf", {},
    ),
    "AWS::SNS::Topic": ("arn:aws:sns:{region}:{account}:{name}", {}),
    "AWS::ECR::Repository": ("{name}", {"Arn": "arn:aws:ecr:{region}:{account}:repository/{name}"}),
    "AWS::CodeConnections::Connection": (
        "arn:aws:codeconnections:{region}:{account}:connection/{name}", {},
    ),
    "AWS::CodeBuild::Project": (
        "{name}", {"Arn": "arn:aws:codebuild:{region}:{account}:project/{name}"},
    ),
}  # fmt: skip
NAMES = ("RoleName", "BucketName", "RepositoryName", "Name", "ConnectionName", "TopicName")


class Stack:
    """A template with its parameters, whose functions can be resolved."""

    def __init__(self, path, name, parameters, exports=None):
        self.template, self.name = cloudformation.load(path), name
        self.parameters = {
            key: one["Default"]
            for key, one in self.template["Parameters"].items()
            if "Default" in one
        } | parameters
        self._imports = exports or {}

    @property
    def exports(self):
        """What it exports, by the names of the exports."""
        return {
            self.resolve(one["Export"]["Name"]): self.resolve(one["Value"])
            for one in self.template["Outputs"].values()
            if "Export" in one
        }

    def resolve(self, value):
        """``value`` with its functions replaced by what they give."""
        if isinstance(value, list):
            return [self.resolve(one) for one in value]
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
            return re.sub(r"\$\{(!?)([\w:./]+)\}", self._substitute, argument)
        raise NotImplementedError(function)

    def _substitute(self, match):
        literal, name = match.groups()
        if literal:
            return f"${{{name}}}"
        if "." in name:
            return self._attribute(*name.split(".", 1))
        return self._ref(name)

    def _ref(self, name):
        if name == "AWS::StackName":
            return self.name
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        return self._fill(name, SHAPES[self.template["Resources"][name]["Type"]][0])

    def _attribute(self, name, attribute):
        return self._fill(name, SHAPES[self.template["Resources"][name]["Type"]][1][attribute])

    def _fill(self, name, shape):
        properties = self.template["Resources"][name].get("Properties", {})
        own = next((self.resolve(properties[key]) for key in NAMES if key in properties), None)
        return shape.format(
            name=own or f"{self.name}-{name}-AbCdEf", account=ACCOUNT, region=REGION
        )

    def role(self, name):
        """The role with the logical ``name``."""
        properties = self.template["Resources"][name]["Properties"]
        statements = []
        for policy in properties.get("Policies", []):
            statements += self.resolve(policy["PolicyDocument"]["Statement"])
        for arn in properties.get("ManagedPolicyArns", []):
            if "Ref" in arn:
                document = self.template["Resources"][arn["Ref"]]["Properties"]["PolicyDocument"]
                statements += self.resolve(document["Statement"])
            else:
                statements += MANAGED[self.resolve(arn).rpartition("/")[2]]["Document"]["Statement"]
        tags = {
            f"aws:PrincipalTag/{one['Key']}": self.resolve(one["Value"])
            for one in properties.get("Tags", [])
        }
        return Role(name, statements, tags)


@dataclass
class Role:
    """The statements of a role, and what IAM knows of who has it."""

    name: str
    statements: list
    tags: dict = field(default_factory=dict)

    def may(self, action, resource, context=None):
        """Whether it may do ``action`` to ``resource``, where IAM's keys have these values."""
        known = self.tags | (context or {})
        effects = {
            one["Effect"] for one in self.statements if self._applies(one, action, resource, known)
        }
        return effects == {"Allow"}

    def _applies(self, statement, action, resource, context):
        if "Action" in statement:
            covered = any(_like(action.lower(), one.lower()) for one in _list(statement["Action"]))
        else:
            covered = not any(
                _like(action.lower(), one.lower()) for one in _list(statement["NotAction"])
            )
        key = "Resource" if "Resource" in statement else "NotResource"
        named = any(_like(resource, _fill(one, context)) for one in _list(statement[key]))
        return (
            covered
            and named == (key == "Resource")
            and all(
                _holds(operator, name, wanted, context)
                for operator, wants in statement.get("Condition", {}).items()
                for name, wanted in wants.items()
            )
        )


def _holds(operator, name, wanted, context):
    kind, _, comparison = operator.rpartition(":")
    if kind not in ("", "ForAnyValue"):
        raise NotImplementedError(operator)
    compare = {
        "StringEquals": lambda value, pattern: value == pattern,
        "StringLike": _like,
        "ArnLike": _like,
    }[comparison]
    return any(
        compare(value, _fill(pattern, context))
        for value in _list(context.get(name, []))
        for pattern in _list(wanted)
    )


def _fill(text, context):
    """``text`` with its variables. One that IAM does not know makes that nothing matches."""
    return re.sub(r"\$\{([\w:/-]+)\}", lambda match: context.get(match[1], "\0"), text)


def _like(value, pattern):
    expression = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _list(value):
    return value if isinstance(value, list) else [value]
