"""Creates an environment and everything that it needs, or updates its settings."""

from deploy.base.context import Run
from deploy.base.errors import Failure, state
from deploy.commands import parts
from deploy.commands.doctor import preflight
from deploy.config import environments, owner
from deploy.config.environments import Environment
from deploy.delivery import build, history, smoke, version
from deploy.resources import (
    beanstalk,
    budget,
    certificates,
    database,
    events,
    lock,
    monitoring,
    probe,
    slack,
    stacks,
    stuck,
    subscriptions,
)


def create(
    run: Run, environment: Environment, label: str | None = None, allow_dirty: bool = False
) -> None:
    """Create the missing parts of ``environment``, and apply devops/environments.toml.

    ``label`` is the version for a new environment; without it one is built. Safe to run again, also
    after a failure: a version that does not run is deployed then. Raises Failure if the environment
    does not serve, or did not accept the settings.
    """
    _refuse_empty(run, environment)
    preflight.require(run, environment)
    _announce(run, environment, label)
    parts.apply_foundation(run)  # which has the bucket of the lock
    budget.apply(run)
    with lock.hold(run, environment.name):
        _create(run, environment, label, allow_dirty)
    preflight.hint(run, "messages", subscriptions.check)


def _refuse_empty(run: Run, environment: Environment) -> None:
    """Raise Failure where a recovery is to create the environment, with its data."""
    region = run.settings.region
    if region in (environment.destinations() or ()) and not beanstalk.find(run, environment.name):
        raise Failure(
            f"there is no {environment.name} in {region} yet, and it would be without data",
            next=run.settings.elsewhere(f"recover {environment.short}"),
        )


def _announce(run: Run, environment: Environment, label: str | None) -> None:
    """Print what will be created, and how many minutes that takes on AWS."""
    name, watch = environment.name, monitoring.name(environment)
    exists = beanstalk.find(run, name)
    steps = (
        (
            stacks.find(run, run.settings.foundation),
            2,
            f"the stack {run.settings.foundation}: registry, bucket, roles, topics",
        ),
        (stacks.find(run, name), 3, f"the stack {name}: network, key, secrets, roles"),
        (exists or label, 3, "a version: image, bundle"),
        (
            exists,
            20,
            f"the environment {name}: load balancer, instances, and the database, which takes most "
            "of the time",
        ),
        (stacks.find(run, watch), 1, f"the stack {watch}: dashboard, alarms, queries"),
    )
    missing = [(minutes, what) for found, minutes, what in steps if not found]
    if not missing:
        run.console.say(f"{name} exists: its stacks and settings will be brought up to date")
        return
    run.console.say(f"{name}: this will create")
    for minutes, what in missing:
        run.console.say(f"  {what} (about {minutes} min)")
    run.console.say(f"  in all about {sum(minutes for minutes, _ in missing)} min")


def _create(run: Run, environment: Environment, label: str | None, allow_dirty: bool) -> None:
    name = environment.name
    with state(f"the stack {run.settings.foundation} exists"):
        outputs = parts.apply_stack(run, environment, _elsewhere(run, environment))
    with state("the stacks exist"):
        options = environment.options(outputs)
        since = None
        if beanstalk.find(run, name) is None:
            target = version.find(run, label) if label else build.build(run, allow_dirty)
            parts.launch(run, environment, options, target.label)
        else:
            since = _change(run, environment, options, label)
    with state(f"{name} was not verified"):
        is_reached = not run.changes.dry_run and _verify(run, environment, since)
        if since is None:
            parts.restrict_instances(run, environment)
    if since is None and run.changes.dry_run:
        raise parts.NotYet("its alarms can be shown once the environment exists")
    monitoring.watch(run, environment, outputs["Certificate"])
    if probe.install(run, environment, is_reached):  # the team's channel gets its topic, too
        slack.connect(run, owner.read_for_use(run.settings.root))


def _elsewhere(run: Run, environment: Environment) -> dict[str, str]:
    """The parameters that depend on the region: replicas of secrets, or another certificate."""
    if run.settings.region != run.settings.home:
        return {"Certificate": certificates.find(run, environment)}
    regions = environment.destinations()
    return {"FirstCopyRegion": regions[0], "SecondCopyRegion": regions[1]} if regions else {}


def _change(
    run: Run, environment: Environment, options: parts.Options, label: str | None
) -> events.Mark:
    """Start the change, with a version that was not deployed. Returns when. Raises Failure."""
    current = stuck.wait_until_usable(run, environment)
    since = events.find_mark(run, current.name)
    if label is None and not parts.runs(run, environment, current.version):  # its launch failed
        label = current.version or version.last_built(run)
    parts.change(run, environment, options, version.find(run, label).label if label else "")
    return since


def _verify(run: Run, environment: Environment, since: events.Mark | None) -> bool:
    """See that ``environment`` accepted what was changed after ``since``, if anything, and serves.

    Returns whether its URL leads there. Raises Failure.
    """
    name = environment.name
    current = stuck.wait_until_usable(run, environment)  # before waiting for its health
    label = current.version
    with state(f"{name} has version {label or 'none'}, which was not verified"):
        if since:
            remedy = f"correct {environments.NAME}, and run it again"
            events.refuse_errors(run, name, since, remedy)
        key = smoke.find_key(run, environment)
        with parts.serving(run, environment, label, since or events.Mark()):
            is_reached = smoke.check(run, environment, key, label, then="create")
    history.record(run, environment, "deploy", label)
    if since is None or not database.is_known(run, name):
        database.remember(run, name)
    run.console.say(f"{name} runs {label}: {smoke.locate(run, environment).url}")
    return is_reached
