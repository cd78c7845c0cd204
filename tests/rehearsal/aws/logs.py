"""CloudWatch Logs: the lines that the instances of an environment would have sent.

As documented: in pages, by time, the newest first if asked for. Not imitated: the lines of instances and containers
that are gone.
"""

import hashlib
import json
import re
from datetime import datetime

from moto.logs.models import logs_backends

from deploy.resources import logs
from tests.rehearsal.aws.answers import Refused
from tests.rehearsal.machines.docker import docker
from tests.support import cloudwatch
from tests.support.aws import ACCOUNT

GROUP = re.compile(re.escape(logs.FOLDER).replace(r"\{\}", "([^/]+)") + "(.+)")


class Logs:
    """Serves the lines of the instances that ``environments`` of ``region`` have."""

    actions = ("filter_log_events",)

    def __init__(self, region, environments):
        self._region, self._environments = region, environments

    def filter_log_events(
        self,
        logGroupName,
        startTime=0,
        filterPattern="",
        startFromHead=True,
        limit=10_000,
        nextToken="0",
    ):
        if logGroupName not in logs_backends[ACCOUNT][self._region].groups:
            raise Refused("ResourceNotFoundException", "The specified log group does not exist.")
        found = sorted(
            (at, instance.id, number, text)
            for instance in self._instances(logGroupName)
            for number, (at, text) in enumerate(lines(instance, GROUP.fullmatch(logGroupName)[2]))
            if at >= startTime and cloudwatch.matches(filterPattern, text)
        )
        if not startFromHead:
            found.reverse()
        begin, end = int(nextToken), int(nextToken) + limit
        more = {"nextToken": str(end)} if end < len(found) else {}
        return {"events": [_event(logGroupName, *one) for one in found[begin:end]]} | more

    def _instances(self, group):
        match = GROUP.fullmatch(group)
        environment = self._environments.get(match[1]) if match else None
        return list(environment.instances) if environment else []


def lines(instance, file):
    """The lines of a ``file`` on an instance, each with its time in milliseconds."""
    if file == logs.APPLICATION and instance.application:
        ended = docker("logs", "--timestamps", instance.application, check=False)
        return [read(line) for line in (ended.stdout + ended.stderr).splitlines()]
    if file == logs.PROXY:
        text = instance.run("cat /var/log/nginx/access.log || true")
        return [(_milliseconds(json.loads(line)["time"]), line) for line in text.splitlines()]
    return []


def read(line):
    """The time and the text of a line of `docker logs --timestamps`, which has nine digits after the second."""
    stamp, _, text = line.partition(" ")
    return _milliseconds(f"{stamp[:23]}+00:00"), text


def _milliseconds(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def _event(group, at, instance, number, text):
    identity = hashlib.sha256(f"{group} {instance} {number}".encode()).hexdigest()
    return {
        "logStreamName": instance,
        "timestamp": at,
        "ingestionTime": at,
        "message": text,
        "eventId": identity,
    }
