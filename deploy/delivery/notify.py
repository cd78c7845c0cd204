"""Notifications: one message for each deployment, whoever starts it and however it ends."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.base import signals
from deploy.base.console import duration
from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, Interrupted
from deploy.config.environments import Environment
from deploy.resources import stacks

TITLE_MAX, TEXT_MAX = 250, 8000  # characters of a custom notification in Slack
SUBJECT_MAX = 99  # characters of an SNS subject


@contextmanager
def reporting(run: Run, environment: Environment, label: str) -> Iterator[None]:
    """Report the deployment of ``label`` when it has ended: succeeded, failed, or interrupted."""
    began = time.monotonic()

    def report(result: str, detail: str = "") -> None:
        with signals.deferred():
            _report(run, environment, label, result, detail, time.monotonic() - began)

    try:
        yield
    except Failure as failure:
        report("FAILED", f"{failure.what}. Now: {failure.now}")
        raise
    except Interrupted:
        report("FAILED", "the run was interrupted")
        raise
    except BaseException as error:
        report("FAILED", f"unexpected error: {error!r}")
        raise
    report("succeeded")


def find_who(run: Run) -> str:
    """Who is deploying: a pipeline execution, or an ARN. Raises AwsFailure."""
    pipeline = run.settings.env.get("CODEBUILD_INITIATOR")
    return pipeline or run.aws.caller()


def structure(title: str, lines: list[str]) -> str:
    """The value of ``Message`` for SNS's Publish with ``MessageStructure`` "json".

    E-mail gets the lines unchanged; Slack, through Amazon Q Developer in chat applications, gets
    the JSON that Amazon Q Developer expects for custom notifications.
    """
    text = "\n".join(lines)
    custom = {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": title[:TITLE_MAX],
            "description": text[:TEXT_MAX] or title[:TITLE_MAX],
        },
    }
    return json.dumps({"default": json.dumps(custom), "email": f"{title}\n\n{text}\n"})


def subject(title: str) -> str:
    """``title`` as an SNS subject: one line of less than 100 ASCII characters."""
    return title.encode("ascii", "replace").decode().replace("\n", " ")[:SUBJECT_MAX]


def _report(
    run: Run, environment: Environment, label: str, result: str, detail: str, seconds: float
) -> None:
    """Send the message; the deployment does not fail if that is impossible."""
    title = f"{environment.name}: {label} {result}"
    urgent = result != "succeeded" and environment.is_production
    try:
        topic = (stacks.find_outputs(run, run.settings.foundation) or {}).get("DeploymentsTopic")
        if not topic:
            run.console.say(f"no notification was sent: {run.settings.foundation} has no topic")
            return
        lines = [
            f"version: {label}",
            f"environment: {environment.name}",
            f"who: {find_who(run)}",
            f"result: {result}{f': {detail}' if detail else ''}",
            f"duration: {duration(seconds)}",
            f"link: {_link(run)}",
        ]
        run.aws.change(
            "sns", "publish",
            TopicArn=topic, Subject=subject(title), MessageStructure="json",
            Message=structure(title, lines),
            MessageAttributes={
                "urgent": {"DataType": "String", "StringValue": str(urgent).lower()}
            },
        )  # fmt: skip
        run.changes.done(f"{environment.name}: the notification was sent")
    except AwsFailure as failure:
        run.console.say(f"no notification was sent: {failure.what}")


def _link(run: Run) -> str:
    return run.settings.env.get("CODEBUILD_BUILD_URL") or (
        f"{run.settings.console_url}/elasticbeanstalk/home"
        f"?region={run.settings.region}#/environments"
    )
