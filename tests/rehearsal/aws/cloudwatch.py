"""CloudWatch alarms: their states, the states of composite alarms, and the messages.

As documented: a composite follows its rule; actions are taken when a state changes, and not while the
suppressor is in ALARM. Not imitated: periods, since what is observed counts for as many as an alarm evaluates; the
wait times of a suppressor; a suppressed message that is sent when the suppressor ends.
"""

import json
import operator
import re
import threading
import time
from datetime import UTC, datetime

from moto.sns.models import sns_backends

from tests.rehearsal.aws.answers import Refused
from tests.support.aws import ACCOUNT

METRIC, COMPOSITE = "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"
PLACES = {
    "eu-west-1": "EU (Ireland)",
    "eu-central-1": "EU (Frankfurt)",
    "eu-north-1": "EU (Stockholm)",
    "us-east-1": "US East (N. Virginia)",
}
COMPARE = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}
FUNCTIONS = {
    "FILL": lambda value, other: other if value is None else value,
    "IF": lambda condition, one, other: one if condition else other,
}
MISSING = {"breaching": "ALARM", "notBreaching": "OK"}  # the state without data; else it stays
LISTS = ("AlarmActions", "OKActions", "InsufficientDataActions")


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-querylanguage.html
SELECT = re.compile(r"""SELECT MAX\((\w+)\) FROM SCHEMA\("([^"]+)", .*\) WHERE (\w+) = '([^']+)'""")


class CloudWatch:
    """Serves the alarms of ``region``, which are in ``resources`` by type and name."""

    actions = ("describe_alarms", "set_alarm_state", "put_metric_data")

    def __init__(self, resources, region):
        self._resources, self._region = resources, region
        self._states, self._values = {}, {}
        self._changing = threading.Lock()

    def describe_alarms(self, AlarmNames=(), AlarmNamePrefix="", StateValue=None, **_):
        found = {METRIC: [], COMPOSITE: []}
        for kind, alarms in found.items():
            for name, properties in sorted(self._resources[kind].items()):
                wanted = name in AlarmNames if AlarmNames else name.startswith(AlarmNamePrefix)
                if wanted and StateValue in (None, self._state(name)):
                    alarms.append(self._describe(kind, name, properties))
        return {"MetricAlarms": found[METRIC], "CompositeAlarms": found[COMPOSITE]}

    def set_alarm_state(self, AlarmName, StateValue, StateReason, **_):
        if AlarmName not in self._resources[METRIC] | self._resources[COMPOSITE]:
            raise Refused("ResourceNotFound", f"There is no alarm {AlarmName}")
        self._change({AlarmName: StateValue}, StateReason)

    def observe(self, values):
        """Evaluate the alarms that have a metric in ``values``: by namespace, name and the set of its dimensions."""
        states = {}
        for name, alarm in self._resources[METRIC].items():
            if not _is_about(alarm, values):
                continue
            value = _evaluate(alarm, values)
            if value is not None:
                breached = COMPARE[alarm["ComparisonOperator"]](value, float(alarm["Threshold"]))
                states[name] = "ALARM" if breached else "OK"
            elif alarm["TreatMissingData"] in MISSING:
                states[name] = MISSING[alarm["TreatMissingData"]]
        self._change(states, "Threshold Crossed")

    def _change(self, states, reason):
        with self._changing:
            before = self._all()
            self._states |= states
            after = self._all()
            for name, state in after.items():
                if state != before[name]:
                    self._act(name, before[name], state, reason)

    def put_metric_data(self, Namespace, MetricData, **_):
        with self._changing:
            for one in MetricData:
                assert not one.get("Dimensions")
                self._values[Namespace, one["MetricName"]] = float(one["Value"]), time.monotonic()

    def forget(self):
        """Let all alarms be as they were at first, and the minute be over in which a metric was written."""
        with self._changing:
            self._values.clear()
            self._states.clear()

    def _all(self):
        return {
            name: self._state(name)
            for kind in (METRIC, COMPOSITE)
            for name in self._resources[kind]
        }

    def _state(self, name):
        if name in self._states:
            return self._states[name]
        if name in self._resources[COMPOSITE]:
            rule = self._resources[COMPOSITE][name]["AlarmRule"]
            return "ALARM" if self._holds(rule) else "OK"
        return "ALARM" if self._is_breached(self._resources[METRIC][name]) else "OK"

    def _holds(self, rule):
        """A rule of ALARM(name), AND, OR, NOT and parentheses."""
        firing = lambda match: str(self._state(match[1]) == "ALARM")  # noqa: E731
        text = re.sub(r"ALARM\(([^()]+)\)", firing, rule)
        assert not re.sub(r"True|False|AND|OR|NOT|[() ]", "", text), rule
        return eval(re.sub(r"AND|OR|NOT", lambda match: match[0].lower(), text))

    def _is_breached(self, alarm):
        value, at = self._values.get((alarm.get("Namespace"), alarm.get("MetricName")), (None, 0))
        if value is None or time.monotonic() - at > int(alarm["Period"]):
            return False
        return COMPARE[alarm["ComparisonOperator"]](value, float(alarm["Threshold"]))

    def _act(self, name, before, after, reason):
        """Send the message of a change."""
        alarm = (self._resources[METRIC] | self._resources[COMPOSITE])[name]
        suppressor = alarm.get("ActionsSuppressor", "").rpartition(":")[2]
        if suppressor and self._state(suppressor) == "ALARM":
            return
        message = {
            "AlarmName": name,
            "AlarmDescription": alarm["AlarmDescription"],
            "AWSAccountId": ACCOUNT,
            "NewStateValue": after,
            "NewStateReason": reason,
            "StateChangeTime": datetime.now(UTC).isoformat(),
            "Region": PLACES[self._region],
            "OldStateValue": before,
        }
        for topic in alarm.get("OKActions" if after == "OK" else "AlarmActions", []):
            sns_backends[ACCOUNT][self._region].publish(
                json.dumps(message), topic, subject=f'{after}: "{name}" in {PLACES[self._region]}'
            )

    def _describe(self, kind, name, properties):
        described = {
            "AlarmName": name,
            "AlarmArn": f"arn:aws:cloudwatch:{self._region}:{ACCOUNT}:alarm:{name}",
            "AlarmDescription": properties["AlarmDescription"],
            "StateValue": self._state(name),
            "ActionsEnabled": True,
        } | {key: properties.get(key, []) for key in LISTS}
        if kind == COMPOSITE:
            return described | {"AlarmRule": properties["AlarmRule"]}
        return described | {"Threshold": float(properties["Threshold"])}


def _is_about(alarm, values):
    """Whether one of the metrics of ``alarm`` is in ``values``, with data or without."""
    if "MetricName" in alarm:
        return _key(alarm) in values
    parts = [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]
    return any(_key(one) in values for one in parts) if parts else bool(_select(alarm, values))


def _evaluate(alarm, values):
    """The value that ``alarm`` compares with its threshold, or None without data."""
    if "MetricName" in alarm:
        return values[_key(alarm)]
    *parts, result = alarm["Metrics"]
    if not parts:
        return max(_select(alarm, values))
    found = {one["Id"]: values[_key(one["MetricStat"]["Metric"])] for one in parts}
    try:
        return eval(result["Expression"], {"__builtins__": {}}, FUNCTIONS | found)
    except TypeError:  # of a metric without data
        return None


def _select(alarm, values):
    """The values that a query of Metrics Insights finds."""
    metric, space, *dimension = SELECT.fullmatch(alarm["Metrics"][0]["Expression"]).groups()
    return [
        value
        for (namespace, name, dimensions), value in values.items()
        if (namespace, name) == (space, metric) and tuple(dimension) in dimensions
    ]


def _key(metric):
    dimensions = frozenset((one["Name"], one["Value"]) for one in metric.get("Dimensions", []))
    return metric["Namespace"], metric["MetricName"], dimensions


def as_mail(message):
    """The text of the e-mail that SNS makes from the message of an alarm; any other message unchanged."""
    try:
        alarm = json.loads(message)
    except ValueError:
        return message
    if not (isinstance(alarm, dict) and "AlarmName" in alarm):
        return message
    return f"""You are receiving this email because your Amazon CloudWatch Alarm "{alarm["AlarmName"]}" in the \
{alarm["Region"]} region has entered the {alarm["NewStateValue"]} state, because "{alarm["NewStateReason"]}" at \
"{alarm["StateChangeTime"]}".

Alarm Details:
- Name: {alarm["AlarmName"]}
- Description: {alarm["AlarmDescription"]}
- State Change: {alarm["OldStateValue"]} -> {alarm["NewStateValue"]}
"""
