"""The commands for versions: building, deploying, testing and approving them, and the pipeline."""

import sys
from datetime import UTC, datetime

import click

from deploy.base import settings
from deploy.base.context import Run
from deploy.base.errors import InvalidConfig
from deploy.commands import pipeline, sentry
from deploy.commands.cli import arguments
from deploy.commands.cli.arguments import (
    Options,
    allow_dirty,
    confirm,
    environment,
    forward,
    label,
    lock_wait,
    moment,
    pass_options,
    target,
    with_run,
    yes,
)
from deploy.config import environments, owner, window
from deploy.config.environments import Environment
from deploy.delivery import approval, build, prune, rollout, scan, smoke, version


@click.command("build")
@allow_dirty
@with_run()
def build_command(run: Run, allow_dirty: bool) -> None:
    """Build and publish an image and a version.

    Prints the version's label as the last line, on standard output.
    """
    run.console.result(build.build(run, allow_dirty).label)


@click.command()
@environment
@label
@forward
@lock_wait
@with_run()
def deploy(run: Run, environment: Environment, label: str | None, forward: bool) -> None:
    """Deploy a version to ENV, test it, and roll back on failure.

    Without --version, deploys the version that was built last in this checkout.
    """
    target = version.find(run, label or version.last_built(run))
    rollout.deploy(run, environment, target, forward)


@click.command()
@environment
@lock_wait
@with_run()
def rollback(run: Run, environment: Environment) -> None:
    """Deploy the version that ENV ran before the current one."""
    rollout.rollback(run, environment)


@click.command("smoke")
@target
@label
@with_run()
def smoke_command(run: Run, target: Environment | str, label: str | None) -> None:
    """Smoke test ENV at its public name.

    A URL is tested with the key in SMOKE_KEY, if any.
    """
    if isinstance(target, str):
        smoke.check_url(run, target, run.settings.env.get("SMOKE_KEY", ""), label)
    else:
        smoke.check_publicly(run, target, smoke.find_key(run, target), label)


@click.command()
@click.option("--token", is_flag=True, help="Ask for the token that fetches pull requests.")
@click.option(
    "--main-is-protected", is_flag=True, help="Confirm that every push to main needs a review."
)
@with_run()
def bootstrap(run: Run, token: bool, main_is_protected: bool) -> None:
    """Create the pipeline, or update it to match devops/.

    Uses devops/owner.json, devops/release_window.toml and devops/pipeline.yml. Safe to run again. A
    dry run shows what stacks would change by change sets, which it deletes again.
    """
    ask_token = (lambda: arguments.ask_for("the token")) if token else None
    pipeline.bootstrap(run, confirm(main_is_protected), ask_token)


@click.command()
@with_run()
def release(run: Run) -> None:
    """Approve the pending version if the release window is open.

    The version is the pipeline's. While the window is closed, the team is notified instead.
    """
    approval.release(run, datetime.now(UTC))


@click.command("window")
@moment
@pass_options
def window_command(options: Options, at: datetime | None) -> bool:
    """Show whether the release window is open.

    Exit code 0 if it is, 1 if not, 2 if devops/release_window.toml is invalid.
    """
    now = at or datetime.now(UTC)
    try:
        calendar = window.read(options.root)
    except InvalidConfig as failure:  # which must not be mistaken for a closed window
        options.console.failure(failure)
        sys.exit(2)
    click.echo(calendar.explain(now))
    return calendar.is_open(now)


@click.command()
@pass_options
def check(options: Options) -> None:
    """Check the files of devops/ that people edit."""
    loaded = settings.load(env={}, root=options.root)
    responsible = owner.read(loaded.root)
    click.echo(f"{responsible.team} owns this service: {responsible.email}")
    click.echo(window.read(loaded.root).explain_now())
    click.echo(f"environments: {', '.join(environments.read(loaded))}")
    click.echo(f"accepted vulnerabilities: {len(scan.read(loaded.root))}")


@click.group("sentry")
def sentry_group() -> None:
    """Configure the notifications about errors."""


@sentry_group.command("apply")
@with_run()
def apply_sentry(run: Run) -> None:
    """Create or update Sentry's alerts, as devops/owner.json says. Safe to run again.

    Prompts for the token, unless Secrets Manager has it ("token" in NAME/sentry).
    """
    sentry.apply(run, lambda: arguments.ask_for("Sentry's token"))


@click.group()
def versions() -> None:
    """Delete versions; an application can have 1,000 at most."""


@versions.command("prune")
@yes
@with_run()
def prune_versions(run: Run, yes: bool) -> None:
    """Delete the versions that are no longer needed.

    Keeps the newest 50, those that run anywhere, and those that a rollback would deploy. Images
    are not deleted.
    """
    prune.prune(run, confirm(yes))


COMMANDS = (
    build_command,
    deploy,
    rollback,
    smoke_command,
    bootstrap,
    release,
    window_command,
    check,
    sentry_group,
    versions,
)
