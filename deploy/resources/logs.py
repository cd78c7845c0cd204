"""The logs of environments in CloudWatch: which there are, and their lines."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from deploy.base.context import Run
from deploy.base.waiting import persist

FOLDER = "/aws/elasticbeanstalk/{}/var/log/"  # of the files that Beanstalk streams
APPLICATION = "eb-docker/containers/eb-current-app/stdouterr.log"
PROXY = "nginx/access.log"


class Line(NamedTuple):
    """A line of a log; lines compare by their time."""

    at: int  # milliseconds since 1970, by the clock of the instance
    id: str
    text: str


def name(environment: str, file: str) -> str:
    """The log group of a ``file`` below /var/log on the instances of ``environment``."""
    return FOLDER.format(environment) + file


def find_groups(run: Run, prefix: str) -> set[str]:
    """The names of the log groups that begin with ``prefix``. Raises AwsFailure."""
    found = run.aws.every("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)
    return {one["logGroupName"] for one in found}


def read(
    run: Run, group: str, pattern: str, since: datetime, last: int | None = None
) -> Iterator[Line]:
    """The lines of ``group`` after ``since`` that match ``pattern``, all of them if it is empty.

    The oldest come first; if only the ``last`` are wanted, the newest. A page that AWS does not
    answer, or limits, is asked for again until HEALTH_TIMEOUT. Raises AwsFailure.
    """
    asked: dict[str, Any] = {"logGroupName": group, "startTime": to_milliseconds(since)}
    if last:
        asked |= {"startFromHead": False, "limit": last}
    if pattern:
        asked["filterPattern"] = pattern
    while True:
        ask = partial(run.aws.ask, "logs", "filter_log_events", **asked)
        page = persist(run, f"the log {group}", ask)
        for one in page["events"]:
            yield Line(one["timestamp"], one["eventId"], one["message"].rstrip("\n"))
        # An empty page may have a next one: botocore's documentation of the operation
        if not page.get("nextToken"):
            return
        asked["nextToken"] = page["nextToken"]


def to_milliseconds(moment: datetime) -> int:
    """As CloudWatch Logs counts the time, which begins in 1970."""
    return max(0, int(moment.timestamp() * 1000))
