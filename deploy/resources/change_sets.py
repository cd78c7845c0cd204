"""The plan of a change to a stack: a change set, which is shown and discarded, or executed.

`aws cloudformation deploy`, which the output names, does not say which resource failed or what
would change, and updates no stack whose first creation failed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure
from deploy.base.template_parameters import read_parameters
from deploy.base.waiting import Pending, wait_until
from deploy.resources import leftovers

PATIENCE = 3600  # seconds
ENDED = ("CREATE_COMPLETE", "FAILED")
EMPTY = ("didn't contain changes", "No updates are to be performed")
# A name that is taken is found before anything is created; the reason only says where to look. See
# docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
ELSEWHERE = "DescribeEvents"

ChangeSet = dict[str, Any]  # as AWS describes it
Stack = dict[str, Any] | None  # the same, of the stack that is there


def create(
    run: Run,
    name: str,
    template: str,
    parameters: Mapping[str, str],
    stack: Stack,
) -> ChangeSet | None:
    """What would change in ``stack`` of this name, or create it; None if nothing would.

    Raises Failure.
    """
    given = {one["ParameterKey"] for one in (stack or {}).get("Parameters", [])}
    declared = read_parameters(run.settings.root, template)
    # As `aws cloudformation deploy` does it: what is not given now keeps its previous value
    kept = sorted(given & declared.keys() - parameters.keys())
    answer = ask(
        run,
        "create_change_set",
        StackName=name,
        ChangeSetName=make_token("change"),
        ChangeSetType="UPDATE" if stack else "CREATE",
        TemplateBody=(run.settings.root / template).read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            *({"ParameterKey": key, "ParameterValue": one} for key, one in parameters.items()),
            *({"ParameterKey": key, "UsePreviousValue": True} for key in kept),
        ],
        Tags=[{"Key": "Application", "Value": run.settings.application}],
    )
    return _complete(run, name, template, answer["Id"], stack)


def _complete(run: Run, name: str, template: str, identity: str, stack: Stack) -> ChangeSet | None:
    def look() -> ChangeSet | Pending:
        found = ask(run, "describe_change_set", ChangeSetName=identity)
        return found if found["Status"] in ENDED else Pending(found["Status"])

    found = wait_until(run, f"the change set of {name}", look, PATIENCE)
    if isinstance(found, Pending):
        raise Failure(f"the change set of {name} is still {found.state}", next="run it again")
    if found["Status"] == "CREATE_COMPLETE":
        return found
    reason = found.get("StatusReason", "")
    if ELSEWHERE in reason:
        reason = _find_reasons(run, found) or reason
    discard(run, found, stack)
    if any(words in reason for words in EMPTY):
        return None
    raise Failure(
        f"CloudFormation refuses the change of {name}: {reason}",
        next=leftovers.advise(run, name, reason) or f"correct {template} or its parameters",
    )


def _find_reasons(run: Run, change_set: ChangeSet) -> str:
    """Why AWS does not accept the resources of a change set; why that is unknown, if it is."""
    try:
        events = run.aws.every(
            "cloudformation",
            "describe_events",
            "OperationEvents",
            ChangeSetName=change_set["ChangeSetId"],
            Filters={"FailedEvents": True},
        )
    except AwsFailure as failure:
        return f"{change_set['StatusReason']} But {failure.what}"
    return "; ".join(
        f"{one.get('LogicalResourceId', 'the template')}: {one['ValidationStatusReason']}"
        for one in events
        if one.get("ValidationStatusReason") and one.get("ValidationFailureMode") != "WARN"
    )


def make_token(operation: str) -> str:
    """A name for an operation that nothing else has; AWS's events have it, too."""
    return f"{operation}-{datetime.now(UTC):%Y%m%d%H%M%S%f}"


def show(run: Run, change_set: ChangeSet) -> None:
    """Print what would change. Raises AwsFailure."""
    run.console.say(f"{change_set['StackName']} would change:")
    for one in run.aws.every(
        "cloudformation", "describe_change_set", "Changes", ChangeSetName=change_set["ChangeSetId"]
    ):
        resource = one["ResourceChange"]
        replaced = resource.get("Replacement", "False")
        run.console.say(
            f"  {resource['Action']:8} {resource['LogicalResourceId']} {resource['ResourceType']}"
            f"{'' if replaced == 'False' else f', replacement: {replaced}'}"
        )


def discard(run: Run, change_set: ChangeSet, stack: Stack) -> None:
    """Remove the change set; without a ``stack``, the empty one that was made for it, too."""
    if stack:
        ask(run, "delete_change_set", ChangeSetName=change_set["ChangeSetId"])
    else:
        ask(run, "delete_stack", StackName=change_set["StackName"])


def ask(run: Run, operation: str, **parameters: Any) -> dict[str, Any]:
    """The response of CloudFormation. Raises AwsFailure.

    Also for what changes something: it is shown as one command, which a dry run only plans.
    """
    return run.aws.ask("cloudformation", operation, **parameters)
