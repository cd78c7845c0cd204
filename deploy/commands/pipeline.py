"""Creates or updates the pipeline, as devops/owner.json and devops/release_window.toml say."""

import re
from collections.abc import Callable

from deploy.base.context import Run
from deploy.base.errors import Failure, NotFound, state
from deploy.commands import parts
from deploy.commands.doctor import preflight
from deploy.config import window
from deploy.config.environments import PRODUCTION
from deploy.config.owner import Owner
from deploy.config.window import Calendar
from deploy.resources import beanstalk, budget, secretsmanager, stacks

TEMPLATE = "devops/pipeline.yml"
DEPLOYED = {"StagingId": "staging", "ProductionId": PRODUCTION}  # parameters of the template
NONE = "none"  # the id of an environment that does not exist
CONNECTED = "AVAILABLE"  # a status of the connection to GitHub


def bootstrap(
    run: Run,
    is_protected: Callable[[str], bool],
    ask_token: Callable[[], str] | None = None,
) -> None:
    """Make the foundation and the pipeline, or bring them up to date. Safe to run again.

    The connection to GitHub must be completed once in the console; until then there is no pipeline.
    The pipeline deploys whatever is pushed to main: before it is created, ``is_protected`` must
    confirm that every push needs a review. ``ask_token`` returns the token that fetches pull
    requests; they are not built without one. Raises Failure, also when AWS does not answer a
    request, because a guess could remove something.
    """
    calendar, responsible = window.read(run.settings.root), preflight.require(run)
    run.console.say(calendar.explain_now())
    parameters = _parameters(run, calendar, responsible)
    if parameters["Connected"] == "true":
        _refuse_unprotected(run, responsible.repository, is_protected)
    token = _valid(ask_token()) if ask_token else None
    parts.apply_foundation(run)
    budget.apply(run)
    with state(f"the stack {run.settings.foundation} exists"):
        parts.find_made(run, run.settings.foundation)
        stacks.apply(run, _stack(run), TEMPLATE, parameters)
    if token:
        with state("the pipeline exists; the project for pull requests is unchanged"):
            _store(run, token)
            parameters["TokenStored"] = "true"
            stacks.apply(run, _stack(run), TEMPLATE, parameters)
    run.changes.quietly(lambda: _tell_what_is_next(run, parameters))


def find_ids(run: Run) -> dict[str, str]:
    """The ids by which the pipeline knows its environments, by name; empty without a pipeline.

    An environment with another id is not the one that its roles may deploy to. Raises AwsFailure.
    """
    given = _find_parameters(run)
    return {run.settings.name(short): given[key] for key, short in DEPLOYED.items() if key in given}


def _find_parameters(run: Run) -> dict[str, str]:
    """The parameters of the pipeline's stack; empty without one. Raises AwsFailure."""
    stack = stacks.find(run, _stack(run)) or {}
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}


def _parameters(run: Run, calendar: Calendar, responsible: Owner) -> dict[str, str]:
    """The parameters of the template. Raises AwsFailure."""
    found = beanstalk.find_all(run)
    names = {key: run.settings.name(short) for key, short in DEPLOYED.items()}
    return {
        "Foundation": run.settings.foundation,
        "Connected": str(find_connection(run) == CONNECTED).lower(),
        "TokenStored": str(_has_token(run)).lower(),
        "WindowSchedule": calendar.schedule(),
        "WindowTimeZone": calendar.zone.key,
        "Repository": responsible.repository,
    } | {key: found[name].id if name in found else NONE for key, name in names.items()}


def _tell_what_is_next(run: Run, parameters: dict[str, str]) -> None:
    console = f"{run.settings.console_url}/codesuite"
    if parameters["Connected"] == "true":
        run.console.say(
            f"the pipeline: {console}/codepipeline/pipelines/{run.settings.application}/view"
        )
    else:
        run.console.say(
            "there is no pipeline yet: complete the connection to GitHub at "
            f"{console}/settings/connections"
        )
        run.console.say("  next: run this again")
    for key, short in DEPLOYED.items():
        if parameters[key] == NONE:
            run.console.say(
                f"there is no environment {run.settings.name(short)}, so the pipeline may not "
                "deploy there"
            )
            run.console.say(f"  next: {run.settings.program} create {short}, then run this again")
    if parameters["TokenStored"] != "true":
        run.console.say(
            "pull requests are not built: docs/deployment.md says which token they need"
        )
        run.console.say(f"  next: {run.settings.program} bootstrap --token")


def _stack(run: Run) -> str:
    return f"{run.settings.application}-pipeline"


def find_connection(run: Run) -> str:
    """The status of the connection to GitHub, or empty if there is none. Raises AwsFailure."""
    connection = (stacks.find_outputs(run, _stack(run)) or {}).get("Connection")
    if not connection:
        return ""
    answer = run.aws.ask("codeconnections", "get_connection", ConnectionArn=connection)
    return str(answer["Connection"]["ConnectionStatus"])


def _refuse_unprotected(run: Run, repository: str, is_protected: Callable[[str], bool]) -> None:
    """Raises Failure unless the pipeline exists, or ``is_protected`` confirms that main is."""
    if run.changes.dry_run or _find_parameters(run).get("Connected") == "true":
        return
    question = (
        f"The pipeline deploys whatever is pushed to main of {repository}. Is main protected, so "
        "that nobody, administrators and GitHub Apps included, can push to it without a review?"
    )
    if not is_protected(question):
        raise Failure(
            f"it was not confirmed that main of {repository} is protected",
            next="protect it on GitHub (docs/deployment.md says how), then run it with "
            "--main-is-protected",
        )


def _valid(token: str) -> str:
    """``token``, which must be fine-grained: a classic one can write whatever its owner can."""
    if not re.fullmatch(r"github_pat_[A-Za-z0-9_]+", token):
        raise Failure(
            "the token is not a fine-grained personal access token of GitHub",
            next="create one that begins with github_pat_ (docs/deployment.md says with which "
            "permissions)",
        )
    return token


def _has_token(run: Run) -> bool:
    """Whether the token for pull requests was stored. Raises AwsFailure."""
    name = (stacks.find_outputs(run, _stack(run)) or {}).get("PullRequestToken")
    return bool(name and (secretsmanager.read(run, name) or {}).get("Token"))


def _store(run: Run, token: str) -> None:
    outputs = stacks.find_outputs(run, _stack(run)) or {}
    if "PullRequestToken" not in outputs and not run.changes.dry_run:
        raise NotFound(f"the stack {_stack(run)} has no secret for the token", next="run it again")
    secretsmanager.write(
        run,
        outputs.get("PullRequestToken", "TOKEN-SECRET"),
        {
            "ServerType": "GITHUB",
            "AuthType": "PERSONAL_ACCESS_TOKEN",
            "Token": token,
        },
    )
