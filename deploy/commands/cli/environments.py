"""The commands for one environment: creating it, its state, its secrets and its writes."""

import click

from deploy.base.context import Run
from deploy.commands import create, credentials, rotation, secret_change, status_text, writes
from deploy.commands.cli import arguments
from deploy.commands.cli.arguments import (
    allow_dirty,
    any_environment,
    environment,
    label,
    lock_wait,
    with_run,
)
from deploy.config.environments import Environment


@click.command("create")
@environment
@label
@allow_dirty
@lock_wait
@with_run()
def create_command(
    run: Run, environment: Environment, label: str | None, allow_dirty: bool
) -> None:
    """Create the missing parts of ENV, and apply the settings in devops/environments.toml.

    Stacks, application, version (one is built without --version) and environment. Safe to run
    again. A dry run creates change sets to show what stacks would change, and removes them.
    """
    create.create(run, environment, label, allow_dirty)


@click.command("status")
@any_environment
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--watch", is_flag=True, help="Refresh every POLL_SECONDS, until Ctrl-C.")
@with_run(harmless=True)
def status_command(run: Run, environment: Environment | None, as_json: bool, watch: bool) -> bool:
    """Show the state of everything: versions, health, deployments, alarms, certificates, approvals.

    For ENV, or for all environments. Exit code 1 if AWS did not answer a query: what could not be
    read is shown as unknown.
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch do not go together")
    if watch:
        status_text.watch(run, environment)
        return True
    return status_text.show(run, environment, as_json)


@click.group()
def secrets() -> None:
    """List, set and rotate the secrets of an environment."""


@secrets.command("list")
@environment
@with_run(harmless=True)
def list_secrets(run: Run, environment: Environment) -> bool:
    """List the secrets of ENV by name, never by value: exit code 1 if one is missing."""
    return credentials.show(run, environment)


@secrets.command("set")
@environment
@click.argument("name")
@click.option("--previous", is_flag=True, help="Set the value before its last change.")
@lock_wait
@with_run()
def set_secret(run: Run, environment: Environment, name: str, previous: bool) -> None:
    """Set the secret NAME of ENV, from a prompt or from standard input, and redeploy."""
    ask = None if previous else (lambda: arguments.ask_for(name))
    secret_change.change(run, environment, name, ask)


@secrets.command("rotate")
@environment
@lock_wait
@with_run()
def rotate_secret(run: Run, environment: Environment) -> None:
    """Change the database password of ENV, without a failed request."""
    rotation.rotate(run, environment)


@click.group("writes")
def writes_group() -> None:
    """Stop and allow writes, such as before a last backup, or in a flood of requests."""


@writes_group.command("stop")
@environment
@lock_wait
@with_run()
def stop_writes(run: Run, environment: Environment) -> None:
    """Answer 401 to everybody who saves or deletes in ENV, but the smoke test."""
    writes.stop(run, environment)


@writes_group.command("allow")
@environment
@lock_wait
@with_run()
def allow_writes(run: Run, environment: Environment) -> None:
    """Let ENV accept writes as before they were stopped."""
    writes.allow(run, environment)


COMMANDS = (create_command, status_command, secrets, writes_group)
