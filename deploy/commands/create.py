"""Creates an environment and everything that it needs, or updates its settings."""

from collections.abc import Mapping
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound, Unhealthy, state
from deploy.config import environments, owner
from deploy.config.environments import FOUNDATION, TEMPLATE, Environment
from deploy.delivery import build, history, smoke, version
from deploy.resources import (
    account,
    beanstalk,
    bucket,
    budget,
    certificates,
    events,
    lock,
    monitoring,
    stacks,
)

# The parts to create, and the minutes that each takes on AWS
FOUNDATION_TIME, STACK_TIME, BUILD_TIME, ENVIRONMENT_TIME, WATCH_TIME = 2, 3, 3, 20, 1


def create(
    run: Run, environment: Environment, label: str | None = None, allow_dirty: bool = False
) -> None:
    """Create the missing parts of ``environment``, and apply devops/environments.toml.

    ``label`` is the version for a new environment; without it one is built. Safe to run again, also
    after a failure: a version that does not run is deployed then. Raises Failure if the environment
    does not serve, or did not accept the settings.
    """
    environments.refuse_region(run.settings)
    with state("nothing was changed"):
        _refuse_empty(run, environment)
    environment.refuse_plain_http()
    owner.read_for_use(run.settings.root)
    account.refuse_unsafe(run, environment)
    account.warn_of_quota(run)
    _announce(run, environment, label)
    apply_foundation(run)  # which has the bucket of the lock
    budget.apply(run)
    with lock.hold(run, environment.name):
        _create(run, environment, label, allow_dirty)


def _refuse_empty(run: Run, environment: Environment) -> None:
    """Raise Failure where a recovery is to create the environment, with its data."""
    region = run.settings.region
    if region in (environment.destinations() or ()) and not beanstalk.find(run, environment.name):
        raise Failure(
            f"there is no {environment.name} in {region} yet, and it would be without data",
            next=run.settings.elsewhere(f"recover {environment.short}"),
        )


def _create(run: Run, environment: Environment, label: str | None, allow_dirty: bool) -> None:
    name = environment.name
    with state(f"the stack {run.settings.foundation} exists"):
        outputs = apply_stack(run, environment, _elsewhere(run, environment))
        create_application(run)
        bucket.create_bundles(run)
    if outputs is None:
        run.console.say(f"the settings of {name} can be shown once its stack exists")
        return
    with state("the stacks exist"):
        options = environment.options(outputs)
        is_new = beanstalk.find(run, name) is None
        since = events.Mark() if is_new else events.find_mark(run, name)
        begin = _launch if is_new else _change
        begin(run, environment, options, label, allow_dirty)
    with state(f"{name} was not verified"):
        run.changes.quietly(lambda: _verify(run, environment, since, is_new))
        if is_new:
            restrict_instances(run, environment)
    if is_new and run.changes.dry_run:
        run.console.say("its alarms can be shown once the environment exists")
    else:
        monitoring.watch(run, environment, outputs["Certificate"])


def apply_foundation(run: Run) -> None:
    """Create or update the stack that all environments of a region share. Raises Failure."""
    parameters = owner.read_for_use(run.settings.root).foundation_parameters()
    stacks.apply(run, run.settings.foundation, FOUNDATION, parameters)


def _announce(run: Run, environment: Environment, label: str | None) -> None:
    """Print what will be created, and how long that takes."""
    missing = []
    if stacks.find(run, run.settings.foundation) is None:
        missing.append((f"the stack {run.settings.foundation}: registry, bucket, roles, topics",
                        FOUNDATION_TIME))  # fmt: skip
    if stacks.find(run, environment.name) is None:
        missing.append((f"the stack {environment.name}: network, key, secrets, roles",
                        STACK_TIME))  # fmt: skip
    if beanstalk.find(run, environment.name) is None:
        if label is None:
            missing.append(("a version: image, bundle", BUILD_TIME))
        missing.append((f"the environment {environment.name}: load balancer, instances, and the "
                        "database, which takes most of the time", ENVIRONMENT_TIME))  # fmt: skip
    if stacks.find(run, monitoring.name(environment)) is None:
        missing.append((f"the stack {monitoring.name(environment)}: dashboard, alarms, queries",
                        WATCH_TIME))  # fmt: skip
    if not missing:
        run.console.say(
            f"{environment.name} exists: its stacks and settings will be brought up to date"
        )
        return
    run.console.say(f"{environment.name}: this will create")
    for what, minutes in missing:
        run.console.say(f"  {what} (about {minutes} min)")
    run.console.say(f"  in all about {sum(minutes for _, minutes in missing)} min")


def apply_stack(
    run: Run, environment: Environment, more: Mapping[str, str]
) -> dict[str, str] | None:
    """Create or update the stack of ``environment``, with ``more`` parameters than the file has.

    Returns the outputs of the stacks; None in a dry run if they do not exist yet. Raises Failure.
    """
    current = beanstalk.find(run, environment.name)
    parameters = {
        "Environment": environment.name,
        "Foundation": run.settings.foundation,
        "EnvironmentId": current.id if current else "",  # or a new environment could not start
    } | environment.parameters()
    shared = stacks.find_outputs(run, run.settings.foundation)
    if shared is None and run.changes.dry_run:
        run.console.say(f"{environment.name}: its stack can be shown once the foundation exists")
        return None
    stacks.apply(run, environment.name, TEMPLATE, {**parameters, **more})
    own = stacks.find_outputs(run, environment.name)
    if shared is None or own is None:
        if run.changes.dry_run:
            return None
        raise NotFound(f"the stacks of {environment.name} are gone", next="run it again")
    return shared | own


def restrict_instances(run: Run, environment: Environment) -> None:
    """Deny the instances of a new ``environment`` the files of all others. Raises Failure.

    That needs the environment's id, which is not known before its first instances start.
    """
    current = beanstalk.find(run, environment.name)
    if current is not None:  # a dry run creates none
        stacks.apply(run, environment.name, TEMPLATE, {"EnvironmentId": current.id})


def _elsewhere(run: Run, environment: Environment) -> dict[str, str]:
    """The parameters that depend on the region: replicas of secrets, or another certificate."""
    if run.settings.region != run.settings.home:
        return {"Certificate": certificates.find(run, environment)}
    regions = environment.destinations()
    return {"FirstCopyRegion": regions[0], "SecondCopyRegion": regions[1]} if regions else {}


def create_application(run: Run) -> None:
    """Create the Beanstalk application unless it exists. Raises AwsFailure."""
    try:
        run.aws.change(
            "elasticbeanstalk", "create_application", ApplicationName=run.settings.application
        )
    except AwsFailure as failure:
        if "already exists" not in failure.reason:
            raise


def _launch(
    run: Run,
    environment: Environment,
    options: list[dict[str, str]],
    label: str | None,
    allow_dirty: bool,
) -> None:
    target = version.find(run, label) if label else build.build(run, allow_dirty)
    launch(run, environment, options, target.label)


def launch(run: Run, environment: Environment, options: list[dict[str, str]], label: str) -> None:
    """Start the creation of the environment. Raises Failure."""
    run.aws.change(
        "elasticbeanstalk", "create_environment",
        ApplicationName=run.settings.application, EnvironmentName=environment.name,
        VersionLabel=label, SolutionStackName=_platform(run), OptionSettings=options,
        Tags=[{"Key": "Application", "Value": run.settings.application}],
    )  # fmt: skip


def runs(run: Run, name: str, label: str) -> bool:
    """Whether all instances of the environment ``name`` run ``label``. Raises AwsFailure.

    After a launch that failed the environment has a version that none of them may run.
    """
    return set(beanstalk.find_running(run, name)) == {label}


def _change(
    run: Run, environment: Environment, options: list[dict[str, str]], label: str | None, _: bool
) -> None:
    current = beanstalk.wait_until_ready(run, environment)
    beanstalk.refuse_stuck(run, current)
    if label is None and not runs(run, current.name, current.version):  # its creation failed
        label = current.version or version.last_built(run)
    parameters: dict[str, Any] = {"EnvironmentName": environment.name, "OptionSettings": options}
    if label:
        parameters["VersionLabel"] = version.find(run, label).label
    # In one request, as in github.com/hashicorp/terraform-provider-aws
    # internal/service/elasticbeanstalk/environment.go
    unwanted = environment.unwanted(options) & set(beanstalk.find_options(run, environment.name))
    if unwanted:
        parameters["OptionsToRemove"] = [
            {"Namespace": namespace, "OptionName": name} for namespace, name in sorted(unwanted)
        ]
    with state(f"{environment.name} is unchanged"):
        run.aws.change("elasticbeanstalk", "update_environment", **parameters)


def _verify(run: Run, environment: Environment, since: events.Mark, is_new: bool) -> None:
    name = environment.name
    current = beanstalk.wait_until_ready(run, environment)
    beanstalk.refuse_stuck(run, current)  # before waiting for what cannot become well
    with state(f"{name} has version {current.version or 'none'}, which was not verified"):
        if not is_new:
            remedy = f"correct {environments.NAME}, and run it again"
            events.refuse_errors(run, name, since, remedy)
        key = smoke.find_key(run, environment)
    try:
        if not current.version:
            raise Unhealthy("its creation failed")
        beanstalk.wait_until_running(run, name, current.version)
        events.refuse_ignored_files(run, name, since)
        smoke.check(run, environment, key, current.version)
    except Unhealthy as failure:
        events.show(run, name)
        raise Failure(
            f"{name} exists, but does not serve as it should: {failure.what}",
            f"{name} has version {current.version or 'none'}",
            "fix the cause shown in the events above, and run it again",
        ) from failure
    history.record(run, environment, "deploy", current.version)
    run.console.say(f"{name} runs {current.version}: {smoke.locate(run, environment).url}")


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
