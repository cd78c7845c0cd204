"""The approval that the pipeline waits for: given while the release window is open."""

from datetime import datetime
from typing import NamedTuple

from deploy.base.context import Run
from deploy.base.errors import Failure, NotFound
from deploy.base.waiting import Pending, wait_until
from deploy.config import window
from deploy.delivery import notify

PATIENCE = 60  # seconds within which the approval, which starts at the same time, must be pending
SUMMARY_MAX = 512  # characters of an approval's summary


class Approval(NamedTuple):
    """An approval that is pending."""

    stage: str
    action: str
    token: str
    execution: str


def release(run: Run, now: datetime) -> None:
    """Approve the pending version if the window is open; else notify the team that it is pending.

    With EXECUTION in the environment, it is part of that pipeline execution: it waits for
    the approval of that execution, and notifies the TEAM_TOPIC about VERSION. Without it, the
    schedule started it: it approves any version, and does not notify again. If none is pending,
    that is not a failure: it is usual for the schedule, and in the pipeline somebody was faster.
    Raises Failure.
    """
    calendar, pipeline = window.read(run.settings.root), run.settings.application
    why, execution = calendar.explain(now), run.settings.env.get("EXECUTION", "")
    approval = _find(run, pipeline, execution)
    if approval is None:
        run.console.say(f"no version is pending in {pipeline}")
    elif calendar.is_open(now):
        _approve(run, pipeline, approval, why)
        run.console.say(f"approved. {why}")
    else:
        run.console.say(f"the version stays pending. {why}")
        if execution:
            _notify(run, pipeline, approval, why)


def find_pending(run: Run, pipeline: str) -> list[Approval] | None:
    """The approvals that are pending in ``pipeline``; None without one. Raises AwsFailure."""
    found = run.aws.find(
        "codepipeline", "get_pipeline_state", "PipelineNotFoundException", name=pipeline
    )
    if found is None:
        return None
    return [
        Approval(
            stage["stageName"],
            action["actionName"],
            latest["token"],
            stage["latestExecution"]["pipelineExecutionId"],
        )
        for stage in found["stageStates"]
        for action in stage["actionStates"]
        for latest in [action.get("latestExecution", {})]
        if latest.get("token") and latest.get("status") == "InProgress"
    ]


def _find(run: Run, pipeline: str, execution: str) -> Approval | None:
    def look() -> Approval | Pending:
        pending = find_pending(run, pipeline)
        if pending is None:
            raise NotFound(
                f"there is no pipeline {pipeline} in {run.settings.region}",
                next=run.settings.elsewhere("bootstrap"),
            )
        matching = (one for one in pending if execution in ("", one.execution))
        return next(matching, Pending("not pending yet"))

    found = wait_until(run, "the approval", look, PATIENCE if execution else 0)
    return None if isinstance(found, Pending) else found


def _approve(run: Run, pipeline: str, approval: Approval, why: str) -> None:
    run.aws.change(
        "codepipeline",
        "put_approval_result",
        pipelineName=pipeline,
        stageName=approval.stage,
        actionName=approval.action,
        token=approval.token,
        result={"status": "Approved", "summary": f"Approved by the pipeline. {why}"[:SUMMARY_MAX]},
    )


def _notify(run: Run, pipeline: str, approval: Approval, why: str) -> None:
    env = run.settings.env
    version, topic = env.get("VERSION", "A version"), env.get("TEAM_TOPIC")
    if not topic:
        raise Failure(
            "the team cannot be notified: TEAM_TOPIC is missing",
            next="set it to the ARN of the operations topic",
        )
    title = f"{version} waits for approval before it goes to production"
    lines = [
        why,
        "It goes to production automatically when the window opens. To decide earlier, approve or "
        f"reject '{approval.action}' in the stage {approval.stage}:",
        f"{run.settings.console_url}/codesuite/codepipeline/pipelines/{pipeline}/view",
        "Rejecting it lets the versions after it pass.",
    ]
    notify.publish(run, topic, title, lines)
