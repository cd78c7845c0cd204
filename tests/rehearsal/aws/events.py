"""EventBridge: delivers RDS events to the targets of the rules that match them."""

import re

from moto.logs.models import logs_backends
from moto.sns.models import sns_backends

from tests.support.aws import ACCOUNT, REGION


class Events:
    """Delivers events by the rules that CloudFormation made, which are in ``resources`` by name."""

    def __init__(self, resources):
        self._rules = resources["AWS::Events::Rule"]
        self.logged = []  # (log group, event)

    def database(self, identifier, category, text):
        """Send an RDS event about a database."""
        event = {
            "source": "aws.rds",
            "detail-type": "RDS DB Instance Event",
            "time": "2026-11-26T12:00:00Z",
            "detail": {
                "SourceIdentifier": identifier, "EventCategories": [category], "Message": text,
            },
        }  # fmt: skip
        for rule in self._rules.values():
            if _matches(rule["EventPattern"], event):
                for target in rule["Targets"]:
                    self._deliver(target, event)

    def _deliver(self, target, event):
        service, name = target["Arn"].split(":")[2], target["Arn"].rpartition(":")[2]
        if service == "logs":
            assert name in logs_backends[ACCOUNT][REGION].groups
            self.logged.append((name, event))
            return
        transformer = target["InputTransformer"]
        values = {key: _at(event, path) for key, path in transformer["InputPathsMap"].items()}
        text = re.sub(r"<(\w+)>", lambda match: values[match[1]], transformer["InputTemplate"])
        assert text.startswith('"')
        assert text.endswith('"')
        sns_backends[ACCOUNT][REGION].publish(text[1:-1], target["Arn"])


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
