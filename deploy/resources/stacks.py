"""The life of CloudFormation stacks: created, updated, stuck, removed."""

import shlex
from collections.abc import Mapping
from typing import Any

from deploy.base import template_parameters
from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, state
from deploy.base.waiting import Pending, wait_until
from deploy.resources import change_sets, leftovers

PATIENCE = 3600  # seconds for one stack; none of ours has a resource that takes long
GOOD = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# Statuses that refuse every update: what has happened, and the command that ends them; see
# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
STUCK = {
    "CREATE_FAILED": ("its creation failed, and its resources were kept", "delete-stack"),
    "ROLLBACK_FAILED": ("its creation failed, and so did its rollback", "delete-stack"),
    "DELETE_FAILED": ("some of its resources could not be deleted", "delete-stack"),
    "UPDATE_FAILED": ("an update failed, and was not rolled back", "rollback-stack"),
    "UPDATE_ROLLBACK_FAILED": (
        "an update failed, and so did its rollback",
        "continue-update-rollback",
    ),
}
REMOVED = "ROLLBACK_COMPLETE"  # after a creation that failed
ENDED = {  # what else an operation may end with
    REMOVED: "CloudFormation removed what it had created",
    "UPDATE_ROLLBACK_COMPLETE": "CloudFormation rolled the stack back",
}
REVIEWED = "REVIEW_IN_PROGRESS"  # nothing is in progress; until a change set is executed
BEGINNINGS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
BEGUN = "cannot be created again"  # AWS's words about a stack that its answers do not show yet


def find(run: Run, name: str, executed: bool = False) -> dict[str, Any] | None:
    """The stack ``name`` as AWS describes it, or None if there is none. Raises AwsFailure.

    An empty stack, made for a change set, counts as none unless that has been ``executed``.
    """
    answer = run.aws.find(
        "cloudformation", "describe_stacks", "ValidationError: .*does not exist", StackName=name
    )
    stack: dict[str, Any] | None = answer["Stacks"][0] if answer else None
    return stack if stack and (executed or stack["StackStatus"] != REVIEWED) else None


def find_outputs(run: Run, name: str) -> dict[str, str] | None:
    """The outputs of the stack ``name``, or None if there is no such stack. Raises AwsFailure."""
    stack = find(run, name)
    if stack is None:
        return None
    return {one["OutputKey"]: one.get("OutputValue") or "" for one in stack.get("Outputs", [])}


def find_stuck(run: Run, name: str) -> tuple[str, str]:
    """The status of a stack that refuses every update, and why; both empty for any other.

    Raises AwsFailure.
    """
    stack = find(run, name)
    status = stack["StackStatus"] if stack else ""
    if status in STUCK or status == REMOVED:
        return status, _reason(run, name)
    return "", ""


def way_out(run: Run, name: str, status: str) -> str:
    """The command that ends ``status``, which refuses every update."""
    return _command(run, STUCK[status][1] if status in STUCK else "delete-stack", name)


def apply(run: Run, name: str, template: str, parameters: Mapping[str, str]) -> None:
    """Create or update the stack ``name`` to match ``template`` and ``parameters``.

    A template that has a parameter Application gets the name of ours. A dry run shows what would
    change, by a change set that it removes. Raises Failure when CloudFormation cannot do it and
    has rolled the stack back.
    """
    if "Application" in template_parameters.read_parameters(run.settings.root, template):
        parameters = {"Application": run.settings.application, **parameters}
    with state(f"the stack {name} is unchanged, or CloudFormation is still changing it"):
        _apply(run, name, template, parameters)


def remove(run: Run, name: str) -> None:
    """Delete the stack ``name``, if there is one, and wait until it is gone. Raises Failure."""
    with state(f"the stack {name} is unchanged, or CloudFormation is still deleting it"):
        if find(run, name):
            _delete(run, name)


def _delete(run: Run, name: str) -> None:
    token = change_sets.make_token("delete")
    run.aws.change("cloudformation", "delete_stack", StackName=name, ClientRequestToken=token)
    run.changes.quietly(lambda: _wait_until_gone(run, name, token))


def _apply(
    run: Run, name: str, template: str, parameters: Mapping[str, str], begun: bool = False
) -> None:
    """The same. If the creation was ``begun`` already, AWS may take a while to show that."""
    stack = _settled(run, name, begun=begun)
    if stack and stack["StackStatus"] == REMOVED:
        run.console.say(
            f"the first attempt to create the stack {name} failed: deleting what is left of it"
        )
        _delete(run, name)
        stack = None
    if stack:
        _refuse_stuck(run, name, stack["StackStatus"])
    run.console.command(_by_hand(run, name, template, parameters))
    try:
        change_set = change_sets.create(run, name, template, parameters, stack)
    except AwsFailure as failure:
        if stack or BEGUN not in failure.reason:
            raise
        _apply(run, name, template, parameters, begun=True)
        return
    if change_set is None:
        run.console.say(f"the stack {name} is up to date")
    elif run.changes.dry_run:
        change_sets.show(run, change_set)
        change_sets.discard(run, change_set, stack)
    else:
        _execute(run, name, change_set)


def _by_hand(run: Run, name: str, template: str, parameters: Mapping[str, str]) -> str:
    settings = f"--tags Application={run.settings.application} --parameter-overrides"
    words = f"cloudformation deploy --stack-name {name} --template-file {template} "
    words += f"--capabilities CAPABILITY_IAM --no-fail-on-empty-changeset {settings}"
    overrides = shlex.join(f"{key}={value}" for key, value in parameters.items())
    return run.settings.aws(f"{words} {overrides}")


def _execute(run: Run, name: str, change_set: change_sets.ChangeSet) -> None:
    token = change_set["ChangeSetName"]  # identifies the events of this change
    change_sets.ask(
        run,
        "execute_change_set",
        ChangeSetName=change_set["ChangeSetId"],
        ClientRequestToken=token,
    )
    stack = _settled(run, name, token)
    status = stack["StackStatus"] if stack else "deleted"
    _refuse_stuck(run, name, status, token)
    if status not in GOOD:
        reason = _reason(run, name, token) if stack else "somebody deleted it"
        raise Failure(
            f"the stack {name} is {status}: {reason}",
            ENDED.get(status, "somebody changed the stack meanwhile"),
            leftovers.advise(run, name, reason)
            or f"see {_command(run, 'describe-stack-events', name)}",
        )


def _command(run: Run, operation: str, name: str) -> str:
    return run.settings.aws(f"cloudformation {operation} --stack-name {name}")


def _refuse_stuck(run: Run, name: str, status: str, token: str = "") -> None:
    """Raise Failure for a status that refuses every update; ``token`` is of the present change."""
    if status in STUCK:
        happened, _ = STUCK[status]
        raise Failure(
            f"the stack {name} is {status}: {_reason(run, name, token)}",
            f"{happened}; CloudFormation refuses to update it",
            f"see {_command(run, 'describe-stack-events', name)}, remove the cause, then "
            f"{way_out(run, name, status)}, and run this again",
        )


def _settled(run: Run, name: str, token: str = "", begun: bool = False) -> dict[str, Any] | None:
    """The stack ``name`` when no operation is in progress, or None if there is none.

    With the ``token`` of an operation, not before that has begun: for a moment, CloudFormation may
    answer with the status of before. Nor does that of a stack mean that it was not ``begun``.
    Raises Failure.
    """

    def look() -> dict[str, Any] | Pending | None:
        stack = find(run, name, executed=bool(token) or begun)
        if stack is None:
            return None
        status = str(stack["StackStatus"])
        if status.endswith("_IN_PROGRESS") or (token and not _has_begun(run, stack, token)):
            return Pending(status)
        return stack

    found = wait_until(run, f"the stack {name}", look, PATIENCE)
    if isinstance(found, Pending):
        raise Failure(
            f"the stack {name} is still {found.state}",
            "the operation continues on AWS",
            f"see {_command(run, 'describe-stack-events', name)}",
        )
    return found


def _has_begun(run: Run, stack: dict[str, Any], token: str) -> bool:
    """Whether the operation with this token has. Asked by id, as the stack may be gone by now."""
    return any(one.get("ClientRequestToken") == token for one in _events(run, stack["StackId"]))


def _wait_until_gone(run: Run, name: str, token: str) -> None:
    stack = _settled(run, name, token)
    if stack:
        raise Failure(
            f"the stack {name} cannot be deleted: {_reason(run, name, token)}",
            f"its status is {stack['StackStatus']}",
            f"see {_command(run, 'describe-stack-events', name)}, remove the cause, and run this "
            "again",
        )


def _reason(run: Run, name: str, token: str = "") -> str:
    """The first failure of a resource, which CloudFormation's others follow from.

    Of the change ``token``, or of whatever changed the stack last. If no resource failed, what is
    said about the stack. Raises AwsFailure.
    """
    failed, own = "", ""
    for one in _events(run, name):
        status, resource = one.get("ResourceStatus", ""), one["LogicalResourceId"]
        if token not in ("", one.get("ClientRequestToken")):
            continue
        if resource != name and status.endswith("_FAILED"):
            failed = f"{resource}: {one.get('ResourceStatusReason', 'no reason was given')}"
        if resource == name and status in BEGINNINGS:
            break
        if resource == name:
            own = one.get("ResourceStatusReason") or own
    return failed or own or "see its events"


def _events(run: Run, name: str) -> list[dict[str, Any]]:
    """The events of a stack, by name or id, the newest first. Raises AwsFailure."""
    return run.aws.every("cloudformation", "describe_stack_events", "StackEvents", StackName=name)
