"""The pipeline: made or changed, as devops/owner.json and devops/release_window.toml say."""

from deploy import create, owner, stacks, window
from deploy.errors import state
from deploy.owner import Owner
from deploy.run import Run

TEMPLATE = "devops/pipeline.yml"


def bootstrap(run: Run) -> None:
    """Make the foundation and the pipeline, or bring them up to date. Safe to run again.

    The connection to GitHub is completed in the console, and Slack authorised there, each once;
    until then there is no pipeline, and no Slack. Raises Failure, also when AWS does not say
    whether that was done: a guess could remove them.
    """
    root = run.settings.root
    calendar, responsible = window.read(root), owner.read_for_use(root)
    run.console.say(calendar.explain_now())
    with state("nothing was changed"):
        connected = _is_connected(run)
        parameters = responsible.pipeline_parameters() | _slack(run, responsible)
    create.apply_foundation(run, responsible.foundation_parameters())
    with state(f"the stack {run.settings.foundation} is there"):
        if run.changes.dry_run and stacks.find(run, run.settings.foundation) is None:
            run.console.say("what the pipeline would be can be shown once the foundation is there")
            return
        stacks.apply(run, _stack(run), TEMPLATE, {
            "Foundation": run.settings.foundation,
            "Connected": str(connected).lower(),
            "WindowSchedule": calendar.schedule(),
            "WindowTimeZone": calendar.zone.key,
        } | parameters)  # fmt: skip
    console = f"{run.settings.console_url}/codesuite"
    if connected:
        run.console.say(
            f"the pipeline: {console}/codepipeline/pipelines/{run.settings.application}/view"
        )
    elif not run.changes.dry_run:
        run.console.say(
            "there is no pipeline yet: complete the connection to GitHub at "
            f"{console}/settings/connections"
        )
        run.console.say("  next: run this again")


def _stack(run: Run) -> str:
    return f"{run.settings.application}-pipeline"


def _is_connected(run: Run) -> bool:
    """Whether the connection to GitHub was completed. Raises AwsFailure."""
    connection = (stacks.find_outputs(run, _stack(run)) or {}).get("Connection")
    if not connection:
        return False
    answer = run.aws.ask("codestar-connections", "get_connection", ConnectionArn=connection)
    return bool(answer["Connection"]["ConnectionStatus"] == "AVAILABLE")


def _slack(run: Run, responsible: Owner) -> dict[str, str]:
    """The parameters that leave Slack out if it is not authorised. Raises AwsFailure."""
    if responsible.slack is None:
        return {}
    wanted = responsible.slack.workspace
    found = run.aws.every("chatbot", "describe_slack_workspaces", "SlackWorkspaces")
    if any(one["SlackTeamId"] == wanted for one in found):
        return {}
    run.console.say(
        f"Slack is left out, because the workspace {wanted} is not authorised in this account. "
        f"Authorise it at {run.settings.console_url}/chatbot, and run this again"
    )
    return {"SlackWorkspace": ""}
