"""The commands for versions: building, deploying, testing, approving and deleting them."""

from datetime import UTC, datetime

import click

from deploy.base.context import Run
from deploy.commands.cli.arguments import (
    allow_dirty,
    confirm,
    environment,
    forward,
    label,
    lock_wait,
    target,
    with_run,
    yes,
)
from deploy.config.environments import Environment
from deploy.delivery import approval, build, prune, rollout, smoke, version


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
    """Deploy a version to ENV, smoke test it, and roll back if anything is wrong.

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
@with_run()
def release(run: Run) -> None:
    """Approve the pipeline's pending version if the release window is open.

    While it is closed, the team is notified of the pending version.
    """
    approval.release(run, datetime.now(UTC))


@click.group()
def versions() -> None:
    """Keep the number of versions below the 1,000 that an application may have."""


@versions.command("prune")
@yes
@with_run()
def prune_versions(run: Run, yes: bool) -> None:
    """Delete the versions that are no longer needed.

    Keeps the newest 50, those that run anywhere, and those that a rollback would deploy. Images
    are not deleted.
    """
    prune.prune(run, confirm(yes))


COMMANDS = (build_command, deploy, rollback, smoke_command, release, versions)
