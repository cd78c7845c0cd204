"""Give the approval that a pipeline waits for, if the release window is open.

Usage: python -m scripts.release PIPELINE

If the window is closed, and this runs as a part of the pipeline, the team is told what waits, until
when, and where to approve it. Started by a clock, it says nothing to anybody then.

Environment variables: EXECUTION (the pipeline's execution this is a part of; absent when started
by a clock), VERSION (what waits), TEAM_TOPIC (where the team is told), and those of boto3.
"""

import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import boto3

from scripts import message, release_window

PATIENCE = 60  # seconds until the approval, which begins at the same time, must be pending
PAUSE = 2.0  # seconds
SUMMARY_MAX = 512  # characters, of an approval's


class Approval(NamedTuple):
    """An approval that is pending."""

    stage: str
    action: str
    token: str
    execution: str


def main() -> None:
    """Exits with a sentence when the usage or the release window makes no sense."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    release(sys.argv[1], datetime.now(UTC), os.environ)


def release(pipeline: str, now: datetime, env: Any) -> None:
    """Approve what waits in ``pipeline``, or tell those who can.

    Where nothing waits, there is nothing to do: by the clock, that is usual; as a part of the
    pipeline, somebody was faster.
    """
    calendar, client = release_window.read(), boto3.client("codepipeline")
    why, execution = calendar.explain(now), env.get("EXECUTION", "")
    approval = _find(client, pipeline, execution)
    if approval is None:
        print(f"release: nothing waits in {pipeline}.")
    elif calendar.is_open(now):
        client.put_approval_result(
            pipelineName=pipeline,
            stageName=approval.stage,
            actionName=approval.action,
            token=approval.token,
            result={
                "status": "Approved",
                "summary": f"By the pipeline itself. {why}"[:SUMMARY_MAX],
            },
        )
        print(f"release: approved. {why}")
    else:
        print(f"release: it waits for approval. {why}")
        if execution:
            _tell(pipeline, approval, why, env)


def _find(client: Any, pipeline: str, execution: str) -> Approval | None:
    deadline = time.monotonic() + (PATIENCE if execution else 0)
    while True:
        for approval in _pending(client.get_pipeline_state(name=pipeline)):
            if execution in ("", approval.execution):
                return approval
        if time.monotonic() >= deadline:
            return None
        time.sleep(PAUSE)


def _pending(state: dict[str, Any]) -> Iterator[Approval]:
    for stage in state["stageStates"]:
        for action in stage["actionStates"]:
            latest = action.get("latestExecution", {})
            if latest.get("token") and latest.get("status") == "InProgress":
                execution = stage["latestExecution"]["pipelineExecutionId"]
                yield Approval(stage["stageName"], action["actionName"], latest["token"], execution)


def _tell(pipeline: str, approval: Approval, why: str, env: Any) -> None:
    region = boto3.session.Session().region_name
    version = env.get("VERSION", "A version")
    title = f"{version} waits for approval before it goes to production"
    lines = [
        why,
        "It goes on by itself when the window opens. To decide before, approve or reject "
        f"'{approval.action}' in the stage {approval.stage}:",
        f"https://{region}.console.aws.amazon.com/codesuite/codepipeline/pipelines/{pipeline}/view",
        "Rejecting it lets the versions after it pass.",
    ]
    boto3.client("sns").publish(
        TopicArn=env["TEAM_TOPIC"],
        Subject=message.subject(title),
        MessageStructure="json",
        Message=message.structure(title, lines),
    )


if __name__ == "__main__":
    main()
