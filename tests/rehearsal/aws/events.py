"""EventBridge: delivers the events of RDS and AWS Backup to the targets of the rules that match them."""

import json
import re

from moto.logs.models import logs_backends
from moto.sns.models import sns_backends

from tests.support.aws import ACCOUNT


class Events:
    """Delivers events by the rules that CloudFormation made in ``region``, which are in ``resources`` by name."""

    def __init__(self, resources, region):
        self._rules, self._region = resources["AWS::Events::Rule"], region
        self.logged = []  # (log group, event)

    def database(self, identifier, category, text):
        """Send an RDS event about a database."""
        detail = {
            "SourceIdentifier": identifier,
            "EventCategories": [category],
            "Message": text,
        }
        self._send("aws.rds", "RDS DB Instance Event", detail)

    def copy(self, resource, vault, state):
        """Send AWS Backup's event about a copy to ``vault``, as far as its examples agree about it:
        https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html"""
        detail = {"resourceArn": resource, "destinationBackupVaultArn": vault, "state": state}
        self._send("aws.backup", "Copy Job State Change", detail)

    def _send(self, source, kind, detail):
        event = {
            "source": source,
            "detail-type": kind,
            "time": "2026-11-26T12:00:00Z",
            "detail": detail,
        }
        for rule in self._rules.values():
            if _matches(rule["EventPattern"], event):
                for target in rule["Targets"]:
                    self._deliver(target, event)

    def _deliver(self, target, event):
        service, name = target["Arn"].split(":")[2], target["Arn"].rpartition(":")[2]
        if service == "logs":
            assert name in logs_backends[ACCOUNT][self._region].groups
            self.logged.append((name, event))
            return
        text = transform(target["InputTransformer"], event)
        sns_backends[ACCOUNT][self._region].publish(text, target["Arn"])


def transform(transformer, event):
    """What a target gets, of a template that is JSON.

    A variable becomes a JSON value, so it stands alone: in a string, nothing of it would be escaped
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html).
    """
    values = {key: _at(event, path) for key, path in transformer["InputPathsMap"].items()}
    template = transformer["InputTemplate"]
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', template)
    assert not [one for one in strings if re.search(r"<\w+>", one)], template
    filled = re.sub(r"<(\w+)>", lambda match: json.dumps(values[match[1]]), template)
    return json.dumps(json.loads(filled))


def _matches(pattern, event):
    """Whether an event matches: each value of ``pattern`` is a list of allowed values, or a pattern itself."""
    for key, wanted in pattern.items():
        found = event.get(key)
        if isinstance(wanted, dict):
            if not (isinstance(found, dict) and _matches(wanted, found)):
                return False
        elif not set(wanted) & set(found if isinstance(found, list) else [found]):
            return False
    return True


def _at(event, path):
    for key in path.removeprefix("$.").split("."):
        event = event[key]
    return event
