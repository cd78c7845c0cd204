"""The events of environments on Elastic Beanstalk: what AWS did, and what went wrong."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, Unhealthy

SHOWN = 12  # number of events to show after a failure
# Beanstalk skips a whole file that has an unknown key, and only prints a warning. If that file
# declares the database, the database is removed.
IGNORED = re.compile(r"\.ebextensions|configuration files?", re.IGNORECASE)


@dataclass
class Mark:
    """A position in the events of an environment, by AWS's clock."""

    at: datetime | None = None
    seen: set[tuple[datetime, str]] = field(default_factory=set)


def find_mark(run: Run, name: str) -> Mark:
    """The current position in the events of ``name``. Raises AwsFailure."""
    found = _last_events(run, name, SHOWN)
    if not found:
        return Mark()
    newest = max(one["EventDate"] for one in found)
    return Mark(newest, {_key(one) for one in found if one["EventDate"] == newest})


def find(run: Run, name: str, since: Mark) -> list[dict[str, Any]]:
    """The events of ``name`` after ``since``, the newest last. Raises AwsFailure."""
    found = run.aws.every(
        "elasticbeanstalk",
        "describe_events",
        "Events",
        ApplicationName=run.settings.application,
        EnvironmentName=name,
        **({"StartTime": since.at} if since.at else {}),
    )
    new = [one for one in found if _key(one) not in since.seen]
    return sorted(new, key=lambda one: one["EventDate"])


def show(run: Run, name: str) -> None:
    """Print the last events of ``name``. It is not a failure if they cannot be read."""
    try:
        found = _last_events(run, name, SHOWN)
    except AwsFailure as failure:
        run.console.say(f"the events of {name} cannot be read: {failure.what}")
        return
    for one in sorted(found, key=lambda one: one["EventDate"]):
        run.console.say(f"  {one['EventDate']:%H:%M:%S} {one['Severity']:5} {one['Message']}")


def _last_events(run: Run, name: str, count: int) -> list[dict[str, Any]]:
    """The last ``count`` events, the newest first. Raises AwsFailure."""
    found: list[dict[str, Any]] = run.aws.ask(
        "elasticbeanstalk",
        "describe_events",
        ApplicationName=run.settings.application,
        EnvironmentName=name,
        MaxRecords=count,
    )["Events"]
    return found


def _key(event: dict[str, Any]) -> tuple[datetime, str]:
    return event["EventDate"], event["Message"]


def find_last(run: Run, name: str) -> str:
    """The last event, for display only: an error while reading it does not end a wait."""
    try:
        found = _last_events(run, name, 1)
    except AwsFailure as failure:
        return f"its events cannot be read: {failure.what}"
    return str(found[0]["Message"]) if found else ""


def refuse_ignored_files(run: Run, name: str, since: Mark) -> None:
    """Raise Unhealthy if Beanstalk ignored a configuration file after ``since``."""
    for event in find(run, name, since):
        if event["Severity"] == "WARN" and IGNORED.search(event["Message"]):
            raise Unhealthy(f"Beanstalk ignored a configuration file: {event['Message']}")


def find_errors(run: Run, name: str, since: Mark) -> list[str]:
    """What went wrong after ``since``, the newest last. Raises AwsFailure."""
    found = find(run, name, since)
    return [one["Message"] for one in found if one["Severity"] in ("ERROR", "FATAL")]


def refuse_errors(run: Run, name: str, since: Mark, remedy: str) -> None:
    """AWS accepts options, and may find only later that it cannot apply them. Raises Failure."""
    errors = find_errors(run, name, since)
    if errors:
        show(run, name)
        raise Failure(
            f"{name} did not accept the settings: {errors[0]}",
            "AWS rolled back what it could",
            f"see the events above; {remedy}",
        )
