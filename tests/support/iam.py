"""The permissions in the templates: their policies, evaluated as IAM does it.

It knows what these templates use, and refuses anything else: an unknown function, or an unknown operator
in a condition, is an error and never a yes or a no. Not read: permissions boundaries, and what an
organisation forbids; there are none in the templates. Policies of resources are read where a role is given their
statements, without their principals.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import botocore.session
from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.support import cloudformation
from tests.support.aws import ACCOUNT

Statement = Mapping[str, Any]


@functools.cache
def read_managed(name: str) -> Any:
    """One of AWS's own policies; all 1,582 take a fifth of a second."""
    key = f'"{name}":'
    begin = aws_managed_policies_data.index(key) + len(key)
    policy, _ = json.JSONDecoder().raw_decode(aws_managed_policies_data, begin)
    return policy["Document"]


# The services whose operations have an IAM prefix, where the two names differ
SERVICES = {"elasticloadbalancing": ("elb", "elbv2")}
# Permissions that are no operation of their own; see
# docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html and its neighbours
OTHERS = (
    "elasticloadbalancing:SetWebAcl",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
)


@functools.cache
def expand(pattern: str) -> list[str]:
    """The actions that a pattern of a policy stands for."""
    service, _, name = pattern.partition(":")
    if "*" not in name:
        return [pattern]
    found = [one for one in _operations(service) if is_like(one, pattern)]
    assert found, pattern
    return found


@functools.cache
def _operations(service: str) -> list[str]:
    """What can be done with a service."""
    session = botocore.session.get_session()
    clients = SERVICES.get(service, (service,))
    models = [session.get_service_model(one) for one in clients]
    names = {f"{service}:{one}" for model in models for one in model.operation_names}
    return sorted(names | {one for one in OTHERS if one.startswith(f"{service}:")})


class Stack(cloudformation.Stack):
    """A template whose roles can be read."""

    def role(self, name: str) -> "Role":
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
                statements += read_managed(self.resolve(arn).rpartition("/")[2])["Statement"]
        tags = {
            f"aws:PrincipalTag/{one['Key']}": self.resolve(one["Value"])
            for one in properties.get("Tags", [])
        }
        return Role(name, statements, tags)


@dataclass
class Role:
    """The statements of a role, and the principal's attributes in IAM."""

    name: str
    statements: list[Statement]
    tags: dict[str, str] = field(default_factory=dict)
    # By action, to save time
    _covering: dict[str, list[Statement]] = field(default_factory=dict, repr=False)

    def may(self, action: str, resource: str, context: dict[str, Any] | None = None) -> bool:
        """Whether it may do ``action`` to ``resource`` of the account, where IAM's keys have these values."""
        known = {"aws:ResourceAccount": ACCOUNT} | self.tags | (context or {})
        if action not in self._covering:
            self._covering[action] = [one for one in self.statements if _covers(one, action)]
        effects = {
            one["Effect"] for one in self._covering[action] if _applies(one, resource, known)
        }
        return effects == {"Allow"}


def _covers(statement: Statement, action: str) -> bool:
    key = "Action" if "Action" in statement else "NotAction"
    named = any(is_like(action.lower(), one.lower()) for one in _list(statement[key]))
    return named == (key == "Action")


def _applies(statement: Statement, resource: str, context: Mapping[str, Any]) -> bool:
    key = "Resource" if "Resource" in statement else "NotResource"
    named = any(is_like(resource, _fill(one, context)) for one in _list(statement[key]))
    return named == (key == "Resource") and all(
        _holds(operator, name, wanted, context)
        for operator, wants in statement.get("Condition", {}).items()
        for name, wanted in wants.items()
    )


def _holds(operator: str, name: str, wanted: Any, context: Mapping[str, Any]) -> bool:
    """Whether a condition is met. A negated one is, too, where the request has no such key."""
    values = _list(context.get(name, []))
    if operator == "Null":
        return (not values) is (wanted == "true")
    kind, _, comparison = operator.rpartition(":")
    if kind not in ("", "ForAnyValue", "ForAllValues"):
        raise NotImplementedError(operator)
    if not values and comparison.endswith("IfExists"):
        return True
    comparison = comparison.removesuffix("IfExists")
    positive = comparison.replace("Not", "")
    compare = OPERATORS[positive]
    met = [
        any(compare(value, _fill(str(one), context)) for one in _list(wanted))
        == (comparison == positive)
        for value in values
    ]
    is_for_all = kind == "ForAllValues" or (not kind and comparison != positive)
    return all(met) if is_for_all else any(met)


def _fill(text: str, context: Mapping[str, Any]) -> str:
    """``text`` with its variables. One that IAM does not know makes that nothing matches."""
    return re.sub(r"\$\{([\w:/-]+)\}", lambda match: context.get(match[1], "\0"), text)


def is_like(value: str, pattern: str) -> bool:
    """Whether ``value`` matches a pattern with IAM's wildcards."""
    return _compile(pattern).fullmatch(value) is not None


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": is_like,
    "ArnLike": is_like,
    "NumericEquals": lambda value, wanted: int(value) == int(wanted),
}


@functools.cache
def _compile(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern with IAM's wildcards."""
    expression = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
    return re.compile(expression, re.DOTALL)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
