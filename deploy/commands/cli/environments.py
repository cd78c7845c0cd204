"""The commands for one environment: creating it, its state, secrets, writes, backups, recovery."""

from datetime import UTC, datetime
from typing import Any

import click

from deploy.base.context import Run
from deploy.commands import (
    create,
    credentials,
    logs,
    protection,
    recovery,
    recovery_plan,
    rotation,
    secret_change,
    status_text,
    writes,
)
from deploy.commands.cli import arguments
from deploy.commands.cli.arguments import (
    Command,
    allow_dirty,
    any_environment,
    confirm,
    environment,
    label,
    lock_wait,
    request,
    since,
    with_run,
    yes,
)
from deploy.commands.doctor import report
from deploy.commands.logs import Wish
from deploy.commands.removal import environment as environment_removal
from deploy.commands.removal import service as service_removal
from deploy.config.environments import Environment
from deploy.resources import backups


@click.command("create")
@environment
@label
@allow_dirty
@lock_wait
@with_run()
def create_command(
    run: Run, environment: Environment, label: str | None, allow_dirty: bool
) -> None:
    """Create what ENV lacks, and apply devops/environments.toml.

    These are stacks, application, version (without --version, it builds one) and environment. Safe
    to run again. A dry run shows what stacks would change by change sets, which it deletes again.
    """
    create.create(run, environment, label, allow_dirty)


@click.command("status")
@any_environment
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--watch", is_flag=True, help="Refresh every POLL_SECONDS, until Ctrl-C.")
@with_run(harmless=True)
def status_command(run: Run, environment: Environment | None, as_json: bool, watch: bool) -> bool:
    """Show versions, health, deployments, alarms and approvals.

    Of ENV, or of all environments. Exit code 1 if AWS did not answer a query; values that could
    not be read are shown as unknown.
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch do not go together")
    if watch:
        status_text.watch(run, environment)
        return True
    return status_text.show(run, environment, as_json)


@click.command("logs")
@environment
@since
@request
@click.option("--lines", "count", metavar="N", type=click.IntRange(1, 10_000), help="Show N lines.")
@click.option("--errors", is_flag=True, help="Show warnings, errors, and status 500 to 599.")
@click.option(
    "--file",
    metavar="PATH",
    help="Read another log: a path below /var/log, such as nginx/access.log.",
)
@click.option("--follow", is_flag=True, help="Keep showing new lines.")
@with_run(harmless=True)
def logs_command(run: Run, environment: Environment, follow: bool, **wish: Any) -> None:
    """Show the newest log lines of the application in ENV.

    Up to 100 of the last 24 hours; with --since or --request, all of them. The application and
    nginx log JSON; --errors leaves out any other line, such as the stacks of a stuck worker.
    """
    if wish["request"] and wish["errors"]:
        raise click.UsageError("--request and --errors do not go together")
    logs.show(run, environment, Wish(**wish), follow)


@click.command("doctor")
@any_environment
@with_run(harmless=True)
def doctor_command(run: Run, environment: Environment | None) -> bool:
    """Check what is ready for AWS, and what is not.

    Checks ENV, or all environments, and shows the command that solves each problem. An unknown
    result comes with the missing permission. Changes nothing. Exit code 1 if a check is not ready
    or unknown; those that are not possible yet ("later") do not count.
    """
    return report.show(run, environment)


@click.group()
def secrets() -> None:
    """List, set and rotate the secrets of an environment."""


@secrets.command("set")
@environment
@click.argument("name")
@click.option("--previous", is_flag=True, help="Restore the value from before the last change.")
@lock_wait
@with_run()
def set_secret(run: Run, environment: Environment, name: str, previous: bool) -> None:
    """Set the secret NAME of ENV, and redeploy.

    Its value is typed at a prompt, or comes from standard input.
    """
    ask = None if previous else (lambda: arguments.ask_for(name))
    secret_change.change(run, environment, name, ask)


@click.group("writes")
def writes_group() -> None:
    """Stop and allow writes, before a final backup or during a flood."""


@click.group("backups")
def backups_group() -> None:
    """Install the nightly backups of an environment, and check them."""


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
    help="A user in the backup; fails if they are not greeted afterwards. Never printed.",
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
    """Recreate ENV from a backup.

    In another region, or beside the old one. First says how old the newest complete backup is, and
    what is lost. Sends no request to the home region. After an interruption, the same command
    continues. A dry run says what it would create.
    """
    recovery.start(run, environment, region, recovery_plan.Wish(**wanted), confirm(yes))


@click.command("remove")
@click.argument("short", metavar="[ENV]", required=False)
@click.option("--all", "everything", is_flag=True, help="Remove everything, in all regions.")
@click.option(
    "--protected",
    is_flag=True,
    help="Remove it even if it is production, or protected against deletion.",
)
@click.option("--confirm", "name", metavar="NAME", help="The full name, instead of a prompt.")
@lock_wait
@with_run()
def remove_command(
    run: Run, short: str | None, everything: bool, protected: bool, name: str | None
) -> None:
    """Remove ENV, or everything, and list what stays.

    Acts in the region of AWS_REGION, else in the home region; backups are removed in all regions.
    With --all, also removes the pipeline and what environments share, such as images and records.
    Keeps a snapshot of the database, and locked backups until they expire. Safe to run again: it
    continues, or finds nothing left.
    """
    if bool(short) is everything:
        raise click.UsageError("name an ENV, or --all")
    confirm = arguments.confirm_name(name)
    if short:
        environment_removal.remove(run, short, protected, confirm)
    else:
        service_removal.remove(run, protected, confirm)


def _show_backups(run: Run, environment: Environment) -> bool:
    return backups.show(run, environment, datetime.now(UTC))


# Those that need no more than the environment: their group, name, function and help
SIMPLE: tuple[tuple[click.Group, str, Command, str], ...] = (
    (
        secrets,
        "list",
        with_run(harmless=True)(credentials.show),
        "List the secrets of ENV by name, never by value. Exit code 1 if one is missing.",
    ),
    (
        secrets,
        "rotate",
        lock_wait(with_run()(rotation.rotate)),
        "Change the database password of ENV, without a failed request.",
    ),
    (
        writes_group,
        "stop",
        lock_wait(with_run()(writes.stop)),
        "Reject all writes to ENV with 401, except those of the smoke test.",
    ),
    (
        writes_group,
        "allow",
        lock_wait(with_run()(writes.allow)),
        "Allow writes to ENV again, as before they were stopped.",
    ),
    (
        backups_group,
        "install",
        with_run(elsewhere=True)(protection.install),
        "Create or update vaults, plan and alarms of ENV. Safe to run again.",
    ),
    (
        backups_group,
        "list",
        with_run(harmless=True, elsewhere=True)(_show_backups),
        "Show the newest backup of ENV in each region. Exit code 1 if one is late.",
    ),
)
for group, name, function, text in SIMPLE:
    group.command(name, help=text)(environment(function))
COMMANDS = (
    create_command,
    doctor_command,
    status_command,
    logs_command,
    secrets,
    writes_group,
    backups_group,
    recover_command,
    remove_command,
)
