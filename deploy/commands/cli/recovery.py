"""The commands for the worst day: backups, and an environment from one of them."""

from datetime import UTC, datetime
from typing import Any

import click

from deploy.base.context import Run
from deploy.commands import protection, recovery
from deploy.commands.cli.arguments import confirm, environment, label, lock_wait, with_run, yes
from deploy.commands.recovery_plan import Wish
from deploy.config.environments import Environment
from deploy.resources import backups


@click.group("backups")
def backups_group() -> None:
    """Install the nightly backups of an environment, and check that they exist."""


@backups_group.command("install")
@environment
@with_run(elsewhere=True)
def install_backups(run: Run, environment: Environment) -> None:
    """Create or update vaults, plan and alarms of ENV in its three regions. Safe to run again."""
    protection.install(run, environment)


@backups_group.command("list")
@environment
@with_run(harmless=True, elsewhere=True)
def list_backups(run: Run, environment: Environment) -> bool:
    """Show the newest complete backup of ENV in each region: exit code 1 if one is late."""
    return backups.show(run, environment, datetime.now(UTC))


@click.command("recover")
@environment
@click.option(
    "--region",
    metavar="REGION",
    help="The region; the default is AWS_REGION if it is not home, or the first of Destinations.",
)
@click.option(
    "--as", "short", metavar="NAME", help="The new environment's name; the default is ENV."
)
@click.option(
    "--to-snapshot",
    "snapshot",
    metavar="ID",
    help="A snapshot in that region; the default is the newest complete backup.",
)
@click.option(
    "--greet",
    "user",
    metavar="USER",
    help="A user saved before, who must be greeted afterwards. Never shown.",
)
@click.option(
    "--no-backups",
    "protect",
    is_flag=True,
    default=True,
    flag_value=False,
    help="Install no backups of the new environment, for an exercise.",
)
@yes
@label
@lock_wait
@with_run(elsewhere=True)
def recover_command(
    run: Run, /, environment: Environment, region: str | None, yes: bool, **wanted: Any
) -> None:
    """Recreate ENV from a backup, in another region or beside the old one.

    First says how old the newest complete backup is, and what is lost. Sends no request to the home
    region. After an interruption, the same command continues. A dry run says what it would create.
    """
    recovery.start(run, environment, region, Wish(**wanted), confirm(yes))


COMMANDS = (backups_group, recover_command)
