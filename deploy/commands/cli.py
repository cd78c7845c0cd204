"""The commands, their options and exit codes; the one place that prints a failure."""

import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import click

from deploy.base import settings, signals
from deploy.base.context import Run
from deploy.base.errors import Failure, Interrupted, InvalidConfig
from deploy.base.settings import PROGRAM
from deploy.commands import (
    arguments,
    create,
    credentials,
    pipeline,
    protection,
    recovery,
    recovery_plan,
    sentry,
    status,
    writes,
)
from deploy.commands.arguments import (
    Options,
    allow_dirty,
    any_environment,
    environment,
    forward,
    label,
    lock_wait,
    pass_options,
    target,
    with_harmless_run,
    with_harmless_run_elsewhere,
    with_run,
    with_run_elsewhere,
    yes,
)
from deploy.config import environments, owner, window
from deploy.config.environments import Environment
from deploy.delivery import approval, build, prune, rollout, scan, smoke, version
from deploy.resources import backups

EPILOG = """\b
Environment variables, besides those of AWS (AWS_PROFILE and other credentials):
  AWS_REGION      the region, or else AWS_DEFAULT_REGION; the home region is default_region in
                  .elasticbeanstalk/config.yml
  BUILD_NUMBER    second part of a version's label; the time, if absent
  BASES           prefix of the image names in the Dockerfile, to use another registry
  PULL            true: pull the newest of these images, even if some are here already
  DEPLOY_TIMEOUT  minutes for one deployment (40)
  HEALTH_TIMEOUT  seconds until it is healthy after that (300)
  SMOKE_TIMEOUT   seconds for each check of the smoke test (60)
  POLL_SECONDS    seconds between two requests (10)

\b
Exit codes:
  0    done
  1    failed: the last lines say what happened, the current state, and what to do
  2    wrong usage
  130  interrupted
"""


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.option("--dry-run", is_flag=True, help="Without a COMMAND: only print what would be done.")
@allow_dirty
@forward
@lock_wait
@click.pass_context
def main(context: click.Context, dry_run: bool, allow_dirty: bool, forward: bool) -> None:
    """Build the image once, publish it, and deploy it to staging and then to production.

    Without a COMMAND, do all of it: checks, tests, build, tests of the image, staging and its
    smoke test, production and its smoke test. ENV is staging or prod, or another environment in
    devops/environments.toml.
    """
    name, options = context.invoked_subcommand, context.ensure_object(Options)
    if name is None:
        _everything(options.run(dry_run), allow_dirty, forward)
    elif dry_run or allow_dirty or forward:
        raise click.UsageError(f"the options of {name} go after {name}")


def _everything(run: Run, allow_dirty: bool, forward: bool) -> None:
    run.tools.require("make", "eb")
    if run.tools.change("make", "ci"):
        raise Failure("make ci does not pass", "nothing was built", "fix what it reports")
    built = build.build(run, allow_dirty, test=True)
    for short in ("staging", environments.PRODUCTION):
        rollout.deploy(run, environments.find(run.settings, short), built, forward)


@main.command("build")
@allow_dirty
@with_run
def build_command(run: Run, allow_dirty: bool) -> None:
    """Build and publish an image and a version.

    Prints the version's label as the last line, on standard output.
    """
    run.console.result(build.build(run, allow_dirty).label)


@main.command()
@environment
@label
@forward
@lock_wait
@with_run
def deploy(run: Run, environment: Environment, label: str | None, forward: bool) -> None:
    """Deploy a version to ENV, smoke test it, and roll back if anything is wrong.

    Without --version, deploys the version that was built last in this checkout.
    """
    target = version.find(run, label or version.last_built(run))
    rollout.deploy(run, environment, target, forward)


@main.command()
@environment
@lock_wait
@with_run
def rollback(run: Run, environment: Environment) -> None:
    """Deploy the version that ENV ran before the current one."""
    rollout.rollback(run, environment)


@main.command("smoke")
@target
@label
@with_run
def smoke_command(run: Run, target: Environment | str, label: str | None) -> None:
    """Smoke test ENV at its public name.

    A URL is tested with the key in SMOKE_KEY, if any.
    """
    if isinstance(target, str):
        smoke.check_url(run, target, run.settings.env.get("SMOKE_KEY", ""), label)
    else:
        smoke.check_publicly(run, target, smoke.find_key(run, target), label)


@main.command("status")
@any_environment
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--watch", is_flag=True, help="Refresh every POLL_SECONDS, until Ctrl-C.")
@with_harmless_run
def status_command(run: Run, environment: Environment | None, as_json: bool, watch: bool) -> None:
    """Show the state of everything: versions, health, deployments, alarms, certificates, approvals.

    For ENV, or for all environments. Exit code 1 if AWS did not answer a query: what could not be
    read is shown as unknown.
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch do not go together")
    if watch:
        status.watch(run, environment)
    elif not status.show(run, environment, as_json):
        sys.exit(1)


@main.command("create")
@environment
@label
@allow_dirty
@lock_wait
@with_run
def create_command(
    run: Run, environment: Environment, label: str | None, allow_dirty: bool
) -> None:
    """Create the missing parts of ENV, and apply the settings in devops/environments.toml.

    Stacks, application, version (one is built without --version) and environment. Safe to run
    again. A dry run creates change sets to show what stacks would change, and removes them.
    """
    create.create(run, environment, label, allow_dirty)


@main.command()
@click.option("--token", is_flag=True, help="Ask for the token that fetches pull requests.")
@click.option(
    "--main-is-protected", is_flag=True, help="Confirm that every push to main needs a review."
)
@with_run
def bootstrap(run: Run, token: bool, main_is_protected: bool) -> None:
    """Create the pipeline, or update it to match devops/.

    Uses devops/owner.json, devops/release_window.toml and devops/pipeline.yml. Safe to run again. A
    dry run creates change sets to show what stacks would change, and removes them.
    """
    pipeline.bootstrap(
        run,
        lambda question: main_is_protected or arguments.confirm(question),
        (lambda: arguments.ask_for("the token")) if token else None,
    )


@main.command()
@with_run
def release(run: Run) -> None:
    """Approve the pipeline's pending version if the release window is open.

    While it is closed, the team is notified of the pending version.
    """
    approval.release(run, datetime.now(UTC))


@main.command("window")
@click.option(
    "--at",
    "at",
    metavar="TIME",
    help="A moment such as 2026-11-24T09:30+01:00; the default is now.",
)
@pass_options
def window_command(options: Options, at: str | None) -> None:
    """Show whether the release window is open: exit code 0 if it is, 1 if not.

    Exit code 2 if devops/release_window.toml is invalid.
    """
    try:
        moment = window.parse_moment(at) if at else datetime.now(UTC)
    except ValueError as error:
        raise click.UsageError(
            f"--at {at!r}: expected a time such as 2026-11-24T09:30+01:00"
        ) from error
    try:
        calendar = window.read(options.root)
    except InvalidConfig as failure:  # which must not be mistaken for a closed window
        options.console.failure(failure)
        sys.exit(2)
    click.echo(calendar.explain(moment))
    if not calendar.is_open(moment):
        sys.exit(1)


@main.command()
@pass_options
def check(options: Options) -> None:
    """Check the files of devops/ that people edit, such as the owner and the release window."""
    loaded = settings.load(env={}, root=options.root)
    responsible = owner.read(loaded.root)
    click.echo(f"{responsible.team} owns this service: {responsible.email}")
    click.echo(window.read(loaded.root).explain_now())
    click.echo(f"environments: {', '.join(environments.read(loaded))}")
    click.echo(f"accepted vulnerabilities: {len(scan.read(loaded.root))}")


@main.group()
def secrets() -> None:
    """List, set and rotate the secrets of an environment."""


@secrets.command("list")
@environment
@with_harmless_run
def list_secrets(run: Run, environment: Environment) -> None:
    """List the secrets of ENV by name, never by value: exit code 1 if one is missing."""
    if not credentials.show(run, environment):
        sys.exit(1)


@secrets.command("set")
@environment
@click.argument("name")
@click.option("--previous", is_flag=True, help="Set the value before its last change.")
@lock_wait
@with_run
def set_secret(run: Run, environment: Environment, name: str, previous: bool) -> None:
    """Set the secret NAME of ENV, from a prompt or from standard input, and redeploy."""
    ask = None if previous else (lambda: arguments.ask_for(name))
    credentials.change(run, environment, name, ask)


@secrets.command("rotate")
@environment
@lock_wait
@with_run
def rotate_secret(run: Run, environment: Environment) -> None:
    """Change the database password of ENV, without a failed request."""
    credentials.rotate(run, environment)


@main.group("writes")
def writes_group() -> None:
    """Stop and allow writes, such as before a last backup, or in a flood of requests."""


@writes_group.command("stop")
@environment
@lock_wait
@with_run
def stop_writes(run: Run, environment: Environment) -> None:
    """Answer 401 to everybody who saves or deletes in ENV, but the smoke test."""
    writes.stop(run, environment)


@writes_group.command("allow")
@environment
@lock_wait
@with_run
def allow_writes(run: Run, environment: Environment) -> None:
    """Let ENV accept writes as before they were stopped."""
    writes.allow(run, environment)


@main.group("backups")
def backups_group() -> None:
    """Install the nightly backups of an environment, and check that they exist."""


@backups_group.command("install")
@environment
@with_run_elsewhere
def install_backups(run: Run, environment: Environment) -> None:
    """Create or update vaults, plan and alarms of ENV in its three regions. Safe to run again."""
    protection.install(run, environment)


@backups_group.command("list")
@environment
@with_harmless_run_elsewhere
def list_backups(run: Run, environment: Environment) -> None:
    """Show the newest complete backup of ENV in each region: exit code 1 if one is late."""
    if not backups.show(run, environment, datetime.now(UTC)):
        sys.exit(1)


@main.command("recover")
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
@with_run_elsewhere
def recover_command(
    run: Run, /, environment: Environment, region: str | None, yes: bool, **wanted: Any
) -> None:
    """Recreate ENV from a backup, in another region or beside the old one.

    First says how old the newest complete backup is, and what is lost. Sends no request to the home
    region. After an interruption, the same command continues. A dry run says what it would create.
    """
    wanted["short"] = wanted["short"] or environment.short
    wish = recovery_plan.Wish(**wanted)
    recovery.start(run, environment, region, wish, lambda: yes or arguments.confirm("Begin?"))


@main.group("sentry")
def sentry_group() -> None:
    """Configure the notifications about errors."""


@sentry_group.command("apply")
@with_run
def apply_sentry(run: Run) -> None:
    """Create or update Sentry's alerts, as devops/owner.json says. Safe to run again.

    Prompts for the token, unless Secrets Manager has it ("token" in birthday-greetings/sentry).
    """
    sentry.apply(run, lambda: arguments.ask_for("Sentry's token"))


@main.group()
def versions() -> None:
    """Keep the number of versions below the 1,000 that an application may have."""


@versions.command("prune")
@yes
@with_run
def prune_versions(run: Run, yes: bool) -> None:
    """Delete the versions that are no longer needed.

    Keeps the newest 50, those that run anywhere, and those that a rollback would deploy. Images
    are not deleted.
    """
    prune.prune(run, lambda question: yes or arguments.confirm(question))


def start(words: list[str] | None = None, options: Options | None = None) -> int:
    """The exit code of the command in ``words``, by default those of the program."""
    options = options or Options()
    console = options.console
    try:
        signals.install()
        main.main(args=words, prog_name=PROGRAM, obj=options, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Failure as failure:
        console.failure(failure)
        return 1
    except (Interrupted, click.Abort):
        console.say("interrupted. What was started on AWS continues there")
        console.say(f"  next: see {PROGRAM} status; run the same command again: it continues")
        return 130
    except Exception as error:
        traceback.print_exc()
        console.failure(
            Failure(
                f"unexpected error: {error!r}",
                "unknown: it ended in the middle of a step",
                f"see {PROGRAM} status; this is a bug in this program{_report_it(options)}",
            )
        )
        return 1
    return 0


def _report_it(options: Options) -> str:
    try:
        repository = owner.read_for_use(options.root).repository
    except Failure:
        return ""
    return f": report it with the lines above at https://github.com/{repository}/issues"
