"""The commands for the project: its pipeline, its release window, its files and its alerts."""

import sys
from datetime import UTC, datetime

import click

from deploy.base import settings
from deploy.base.context import Run
from deploy.base.errors import InvalidConfig
from deploy.commands import pipeline, sentry
from deploy.commands.cli import arguments
from deploy.commands.cli.arguments import Options, confirm, moment, pass_options, with_run
from deploy.config import environments, owner, window
from deploy.delivery import scan


@click.command()
@click.option("--token", is_flag=True, help="Ask for the token that fetches pull requests.")
@click.option(
    "--main-is-protected", is_flag=True, help="Confirm that every push to main needs a review."
)
@with_run()
def bootstrap(run: Run, token: bool, main_is_protected: bool) -> None:
    """Create the pipeline, or update it to match devops/.

    Uses devops/owner.json, devops/release_window.toml and devops/pipeline.yml. Safe to run again. A
    dry run creates change sets to show what stacks would change, and removes them.
    """
    ask_token = (lambda: arguments.ask_for("the token")) if token else None
    pipeline.bootstrap(run, confirm(main_is_protected), ask_token)


@click.command("window")
@moment
@pass_options
def window_command(options: Options, at: datetime | None) -> bool:
    """Show whether the release window is open: exit code 0 if it is, 1 if not.

    Exit code 2 if devops/release_window.toml is invalid.
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
    """Check the files of devops/ that people edit, such as the owner and the release window."""
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

    Prompts for the token, unless Secrets Manager has it ("token" in birthday-greetings/sentry).
    """
    sentry.apply(run, lambda: arguments.ask_for("Sentry's token"))


COMMANDS = (bootstrap, window_command, check, sentry_group)
