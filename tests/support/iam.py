"""The permissions in the templates: their policies, evaluated as IAM does it.

It knows what these templates use, and refuses anything else: an unknown function, or an unknown operator
in a condition, is an error and never a yes or a no. Not read: permissions boundaries, policies of
resources, and what an organisation forbids; there are none in the templates.
"""

import functools
import json
import re
from dataclasses import dataclass, field

from moto.iam.aws_managed_policies import aws_managed_policies_data

from tests.support import cloudformation


@functools.cache
def read_managed(name):
    """One of AWS's own policies; all 1,582 take a fifth of a second."""
    key = f'"{name}":'
    begin = aws_managed_policies_data.index(key) + len(key)
    policy, _ = json.JSONDecoder().raw_decode(aws_managed_policies_data, begin)
    return policy["Document"]


class Stack(cloudformation.Stack):
    """A template whose roles can be read."""

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
    return _compile(pattern).fullmatch(value) is not None


@functools.cache
def _compile(pattern):
    """The regular expression of a pattern with IAM's wildcards."""
    expression = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
    return re.compile(expression, re.DOTALL)


def _list(value):
    return value if isinstance(value, list) else [value]
