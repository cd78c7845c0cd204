"""The parts of an environment, as `create`, `recover` and `bootstrap` need them.

Each is created unless it exists, so that the same command continues after an interruption.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound, Unhealthy, state
from deploy.config import owner
from deploy.config.environments import FOUNDATION, TEMPLATE, Environment
from deploy.resources import beanstalk, bucket, events, slack, stacks

Options = list[dict[str, str]]


class NotYet(Exception):
    """A dry run cannot show more: what comes next needs what it has not made."""


def apply_foundation(run: Run) -> None:
    """Create or update the stack that all environments of a region share, and connect Slack.

    Its topics reach the channels from then on. Raises Failure.
    """
    responsible = owner.read_for_use(run.settings.root)
    stacks.apply(run, run.settings.foundation, FOUNDATION, responsible.foundation_parameters())
    slack.connect(run, responsible)


def find_made(run: Run, stack: str) -> dict[str, str]:
    """The outputs of a ``stack`` that this run has applied. Raises Failure, in a dry run NotYet."""
    outputs = stacks.find_outputs(run, stack)
    if outputs is not None:
        return outputs
    if run.changes.dry_run:
        raise NotYet(f"the next steps can be shown once the stack {stack} exists")
    raise NotFound(f"the stack {stack} no longer exists", next="run it again")


def apply_stack(run: Run, environment: Environment, more: Mapping[str, str]) -> dict[str, str]:
    """Create or update what precedes ``environment``, with ``more`` parameters than the file has.

    The application, Beanstalk's bucket and the stack. Returns the outputs of the stacks. Raises
    Failure, and NotYet.
    """
    _create_application(run)
    bucket.create_bundles(run)
    current = beanstalk.find(run, environment.name)
    parameters = {
        "Environment": environment.name,
        "Foundation": run.settings.foundation,
        "EnvironmentId": current.id if current else "",  # or a new environment could not start
    } | environment.parameters()
    shared = find_made(run, run.settings.foundation)
    stacks.apply(run, environment.name, TEMPLATE, {**parameters, **more})
    return shared | find_made(run, environment.name)


def restrict_instances(run: Run, environment: Environment) -> None:
    """Deny the instances of a new ``environment`` the files of all others. Raises Failure.

    That needs the environment's id, which is not known before its first instances start.
    """
    current = beanstalk.find(run, environment.name)
    if current is not None:  # a dry run creates none
        stacks.apply(run, environment.name, TEMPLATE, {"EnvironmentId": current.id})


def launch(run: Run, environment: Environment, options: Options, label: str) -> None:
    """Start the creation of the environment. Raises Failure."""
    run.aws.change(
        "elasticbeanstalk",
        "create_environment",
        ApplicationName=run.settings.application,
        EnvironmentName=environment.name,
        VersionLabel=label,
        SolutionStackName=_platform(run),
        OptionSettings=options,
        Tags=[{"Key": "Application", "Value": run.settings.application}],
    )


def change(run: Run, environment: Environment, options: Options, label: str = "") -> None:
    """Start the change of an existing environment, and the deployment of ``label`` if given.

    Options that it should not have any more are removed. Raises Failure.
    """
    parameters: dict[str, Any] = {"EnvironmentName": environment.name, "OptionSettings": options}
    if label:
        parameters["VersionLabel"] = label
    # In one request, as in github.com/hashicorp/terraform-provider-aws
    # internal/service/elasticbeanstalk/environment.go
    unwanted = environment.unwanted(options) & set(beanstalk.find_options(run, environment.name))
    if unwanted:
        parameters["OptionsToRemove"] = [
            {"Namespace": namespace, "OptionName": name} for namespace, name in sorted(unwanted)
        ]
    with state(f"{environment.name} is unchanged"):
        run.aws.change("elasticbeanstalk", "update_environment", **parameters)


def runs(run: Run, environment: Environment, label: str) -> bool:
    """Whether all instances of ``environment`` run ``label``. Raises AwsFailure.

    After a launch that failed the environment has a version that none of them may run.
    """
    return set(beanstalk.find_running(run, environment.name)) == {label}


@contextmanager
def serving(run: Run, environment: Environment, label: str, since: events.Mark) -> Iterator[None]:
    """A context for tests of an environment whose instances run ``label``; empty if it has none.

    Raises Failure, after the last events, if they do not run it, if a file of the version was
    ignored after ``since``, or if the tests raise Unhealthy.
    """
    name = environment.name
    try:
        if not label:
            raise Unhealthy("its creation failed")
        beanstalk.wait_until_running(run, name, label)
        events.refuse_ignored_files(run, name, since)
        yield
    except Unhealthy as failure:
        events.show(run, name)
        raise Failure(
            f"{name} exists, but does not serve correctly: {failure.what}",
            next="fix the cause shown in the events above, and run it again; for "
            "another version, add --version",
        ) from failure


def _create_application(run: Run) -> None:
    try:
        run.aws.change(
            "elasticbeanstalk", "create_application", ApplicationName=run.settings.application
        )
    except AwsFailure as failure:
        if "already exists" not in failure.reason:
            raise


def _platform(run: Run) -> str:
    """The newest version of the platform branch. Raises NotFound.

    The branch "Docker running on X" has versions called "X vN running Docker".
    """
    kind, _, system = run.settings.platform_branch.partition(" running on ")
    found = run.aws.ask("elasticbeanstalk", "list_available_solution_stacks")["SolutionStacks"]
    for one in found:  # the newest come first
        if one.startswith(f"{system} v") and one.endswith(f" running {kind}"):
            return str(one)
    raise NotFound(
        f"AWS has no platform {run.settings.platform_branch!r} in {run.settings.region}",
        next="name another one in .elasticbeanstalk/config.yml: "
        + run.settings.aws("elasticbeanstalk list-available-solution-stacks"),
    )
