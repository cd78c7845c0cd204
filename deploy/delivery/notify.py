"""Notifications: one message for each deployment, whoever starts it and however it ends."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.base import signals
from deploy.base.console import duration
from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure
from deploy.config.environments import Environment
from deploy.resources import stacks

TITLE_MAX, TEXT_MAX = 250, 8000  # characters of a custom notification in Slack
SUBJECT_MAX = 99  # characters of an SNS subject


@contextmanager
def reporting(run: Run, environment: Environment, label: str) -> Iterator[None]:
    """Report the deployment of ``label`` when it has ended: succeeded, failed, or interrupted."""
    began = time.monotonic()
    result, detail = "FAILED", "the run was interrupted"
    try:
        yield
        result, detail = "succeeded", ""
    except Failure as failure:
        detail = f"{failure.what}. Now: {failure.now}"
        raise
    except Exception as error:
        detail = f"unexpected error: {error!r}"
        raise
    finally:
        with signals.deferred():
            _report(run, environment, label, result, detail, time.monotonic() - began)


def find_who(run: Run) -> str:
    """Who is deploying: a pipeline execution, or an ARN. Raises AwsFailure."""
    pipeline = run.settings.env.get("CODEBUILD_INITIATOR")
    return pipeline or run.aws.caller()


def publish(run: Run, topic: str, title: str, lines: list[str], urgent: bool = False) -> None:
    """Send a message; a subscription may ask for ``urgent`` ones only. Raises AwsFailure."""
    run.aws.change(
        "sns",
        "publish",
        TopicArn=topic,
        MessageStructure="json",
        Message=structure(title, lines),
        # One line of less than 100 ASCII characters
        Subject=title.encode("ascii", "replace").decode().replace("\n", " ")[:SUBJECT_MAX],
        MessageAttributes={"urgent": {"DataType": "String", "StringValue": str(urgent).lower()}},
    )


def structure(title: str, lines: list[str]) -> str:
    """The value of ``Message`` for SNS's Publish with ``MessageStructure`` "json".

    E-mail gets the lines unchanged; Slack, through Amazon Q Developer in chat applications, gets
    the JSON that Amazon Q Developer expects for custom notifications.
    """
    text = "\n".join(lines)
    content = {
        "textType": "client-markdown",
        "title": title[:TITLE_MAX],
        "description": text[:TEXT_MAX],
    }
    custom = {"version": "1.0", "source": "custom", "content": content}
    return json.dumps({"default": json.dumps(custom), "email": f"{title}\n\n{text}\n"})


def _report(
    run: Run, environment: Environment, label: str, result: str, detail: str, seconds: float
) -> None:
    """Send the message; the deployment does not fail if that is impossible."""
    settings, name = run.settings, environment.name
    console = f"{settings.console_url}/elasticbeanstalk/home?region={settings.region}#/environments"
    try:
        topic = (stacks.find_outputs(run, settings.foundation) or {}).get("DeploymentsTopic")
        if not topic:
            run.console.say(f"no notification was sent: {settings.foundation} has no topic")
            return
        lines = [
            f"version: {label}",
            f"environment: {name}",
            f"who: {find_who(run)}",
            f"result: {result}{f': {detail}' if detail else ''}",
            f"duration: {duration(seconds)}",
            f"link: {settings.env.get('CODEBUILD_BUILD_URL') or console}",
        ]
        urgent = result != "succeeded" and environment.is_production
        publish(run, topic, f"{name}: {label} {result}", lines, urgent)
        run.changes.done(f"{name}: the notification was sent")
    except AwsFailure as failure:
        run.console.say(f"no notification was sent: {failure.what}")
