"""The commands, their options and exit codes; the one place that prints a failure."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from deploy.base import settings, signals
from deploy.base.aws import Aws
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.context import Run
from deploy.base.errors import Failure, Interrupted, InvalidConfig, state
from deploy.base.programs import Tools
from deploy.base.settings import PROGRAM
from deploy.commands import (
    create,
    credentials,
    pipeline,
    protection,
    recovery,
    sentry,
    status,
    writes,
)
from deploy.config import environments, owner, window
from deploy.config.environments import Environment
from deploy.delivery import approval, build, rollout, scan, smoke, version
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


@dataclass
class Options:
    """The options that may be given before or after the command."""

    dry_run: bool = False
    allow_dirty: bool = False
    forward: bool = False
    console: Console = field(default_factory=Console)
    # Replaced in tests
    session: Any = None
    tools: Callable[[Changes, Path], Tools] = Tools
    root: Path = settings.ROOT

    def add(self, **more: bool) -> None:
        """Set those of the options that are given here, too."""
        for name, value in more.items():
            setattr(self, name, getattr(self, name) or value)

    def run(self, **more: bool) -> Run:
        """One run of a command. Raises UsageError for an invalid environment variable.

        Says which region it is for, if that is not the home region.
        """
        self.add(**more)
        try:
            loaded = settings.load(root=self.root)
        except settings.InvalidSetting as error:
            raise click.UsageError(str(error)) from error
        if loaded.region != loaded.home:
            self.console.say(
                f"in {loaded.region}, not in the home region {loaded.home} "
                f"({loaded.region_variable})"
            )
        changes = Changes(self.console, self.dry_run)
        aws = Aws(loaded.region, changes, self.session)
        return Run(loaded, self.console, changes, aws, self.tools(changes, self.root))


pass_options = click.make_pass_decorator(Options, ensure=True)
dry_run = click.option(
    "--dry-run",
    is_flag=True,
    help="Print the commands that would change something, and do not run them.",
)
allow_dirty = click.option(
    "--allow-dirty",
    is_flag=True,
    help="Build with uncommitted files; the version's label says so.",
)
forward = click.option(
    "--forward", is_flag=True,
    help="Deploy only if the running version is not newer, by git's history.",
)  # fmt: skip
label = click.option("--version", "label", metavar="LABEL", help="A published version.")
environment = click.argument("environment", metavar="ENV")


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@dry_run
@allow_dirty
@forward
@click.pass_context
def main(context: click.Context, dry_run: bool, allow_dirty: bool, forward: bool) -> None:
    """Build the image once, publish it, and deploy it to staging and then to production.

    Without a COMMAND, do all of it: checks, tests, build, tests of the image, staging and its
    smoke test, production and its smoke test. ENV is staging or prod, or another environment in
    devops/environments.toml.
    """
    options = context.ensure_object(Options)
    options.add(dry_run=dry_run, allow_dirty=allow_dirty, forward=forward)
    if context.invoked_subcommand is None:
        _everything(options.run(), options)


def _everything(run: Run, options: Options) -> None:
    run.tools.require("make", "eb")
    if run.tools.change("make", "ci"):
        raise Failure("make ci does not pass", "nothing was built", "fix what it reports")
    built = build.build(run, options.allow_dirty, test=True)
    for short in ("staging", environments.PRODUCTION):
        rollout.deploy(run, _find(run, short), built, options.forward)


@main.command("build")
@dry_run
@allow_dirty
@pass_options
def build_command(options: Options, dry_run: bool, allow_dirty: bool) -> None:
    """Build and publish an image and a version.

    Prints the version's label as the last line, on standard output.
    """
    run = options.run(dry_run=dry_run, allow_dirty=allow_dirty)
    options.console.result(build.build(run, options.allow_dirty).label)


@main.command()
@environment
@label
@dry_run
@forward
@pass_options
def deploy(
    options: Options, environment: str, label: str | None, dry_run: bool, forward: bool
) -> None:
    """Deploy a version to ENV, smoke test it, and roll back if anything is wrong.

    Without --version, deploys the version that was built last in this checkout.
    """
    run = options.run(dry_run=dry_run, forward=forward)
    target = version.find(run, label or version.last_built(run))
    rollout.deploy(run, _find(run, environment), target, options.forward)


@main.command()
@environment
@dry_run
@pass_options
def rollback(options: Options, environment: str, dry_run: bool) -> None:
    """Deploy the version that ENV ran before the current one."""
    run = options.run(dry_run=dry_run)
    rollout.rollback(run, _find(run, environment))


@main.command("smoke")
@click.argument("target", metavar="ENV|URL")
@label
@dry_run
@pass_options
def smoke_command(options: Options, target: str, label: str | None, dry_run: bool) -> None:
    """Smoke test ENV at its public name.

    A URL is tested with the key in SMOKE_KEY, if any.
    """
    run = options.run(dry_run=dry_run)
    with state("nothing was changed"):
        if target.startswith(("http://", "https://")):
            smoke.check_url(run, target, run.settings.env.get("SMOKE_KEY", ""), label)
        else:
            found = _find(run, target)
            with state("nothing was changed"):
                key = smoke.find_key(run, found)
            smoke.check_publicly(run, found, key, label)


@main.command("status")
@click.argument("environment", metavar="[ENV]", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--watch", is_flag=True, help="Refresh every POLL_SECONDS, until Ctrl-C.")
@pass_options
def status_command(options: Options, environment: str | None, as_json: bool, watch: bool) -> None:
    """Show the state of everything: versions, health, deployments, alarms, certificates, approvals.

    For ENV, or for all environments. Exit code 1 if AWS did not answer a query: what is unknown
    are shown as such.
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch do not go together")
    run = options.run()
    wanted = _find(run, environment) if environment else None
    with state("nothing was changed"):
        if watch:
            status.watch(run, wanted)
        elif not status.show(run, wanted, as_json):
            sys.exit(1)


@main.command("create")
@environment
@label
@dry_run
@allow_dirty
@pass_options
def create_command(
    options: Options, environment: str, label: str | None, dry_run: bool, allow_dirty: bool
) -> None:
    """Create the missing parts of ENV, and apply the settings in devops/environments.toml.

    Stacks, application, version (one is built without --version) and environment. Safe to run
    again. A dry run creates change sets to show what stacks would change, and removes them.
    """
    run = options.run(dry_run=dry_run, allow_dirty=allow_dirty)
    create.create(run, _find(run, environment), label, options.allow_dirty)


@main.command()
@click.option("--token", is_flag=True, help="Ask for the token that fetches pull requests.")
@click.option(
    "--main-is-protected", is_flag=True, help="Confirm that every push to main needs a review."
)
@dry_run
@pass_options
def bootstrap(options: Options, token: bool, main_is_protected: bool, dry_run: bool) -> None:
    """Create the pipeline, or update it to match devops/.

    Uses devops/owner.json, devops/release_window.toml and devops/pipeline.yml. Safe to run again. A
    dry run creates change sets to show what stacks would change, and removes them.
    """
    pipeline.bootstrap(
        options.run(dry_run=dry_run),
        lambda question: main_is_protected or _confirmed(question),
        (lambda: _ask_for("the token")) if token else None,
    )


@main.command()
@dry_run
@pass_options
def release(options: Options, dry_run: bool) -> None:
    """Approve the pipeline's pending version if the release window is open.

    While it is closed, the team is notified of the pending version.
    """
    approval.release(options.run(dry_run=dry_run), datetime.now(UTC))


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
@pass_options
def list_secrets(options: Options, environment: str) -> None:
    """List the secrets of ENV by name, never by value: exit code 1 if one is missing."""
    run = options.run()
    found = credentials.read(run, _find(run, environment))
    for one in found:
        where = f"{one.arn.rsplit(':', 1)[1]}, key {one.key}"
        options.console.result(f"{'      ' if one.exists else 'MISSING'} {one.name}  {where}")
    if not all(one.exists for one in found):
        sys.exit(1)


@secrets.command("set")
@environment
@click.argument("name")
@click.option("--previous", is_flag=True, help="Set the value from before the last change.")
@dry_run
@pass_options
def set_secret(
    options: Options, environment: str, name: str, previous: bool, dry_run: bool
) -> None:
    """Set the secret NAME of ENV, from a prompt or from standard input, and redeploy."""
    run = options.run(dry_run=dry_run)
    ask = None if previous else (lambda: _ask_for(name))
    credentials.change(run, _find(run, environment), name, ask)


@secrets.command("rotate")
@environment
@dry_run
@pass_options
def rotate_secret(options: Options, environment: str, dry_run: bool) -> None:
    """Change the database password of ENV, without a failed request."""
    run = options.run(dry_run=dry_run)
    credentials.rotate(run, _find(run, environment))


@main.group("writes")
def writes_group() -> None:
    """Stop and allow writes, such as before a last backup, or in a flood of requests."""


@writes_group.command("stop")
@environment
@dry_run
@pass_options
def stop_writes(options: Options, environment: str, dry_run: bool) -> None:
    """Answer 401 to everybody who saves or deletes in ENV, but the smoke test."""
    run = options.run(dry_run=dry_run)
    writes.stop(run, _find(run, environment))


@writes_group.command("allow")
@environment
@dry_run
@pass_options
def allow_writes(options: Options, environment: str, dry_run: bool) -> None:
    """Let ENV accept writes as before they were stopped."""
    run = options.run(dry_run=dry_run)
    writes.allow(run, _find(run, environment))


@main.group("backups")
def backups_group() -> None:
    """Install the nightly backups of an environment, and check that they exist."""


@backups_group.command("install")
@environment
@dry_run
@pass_options
def install_backups(options: Options, environment: str, dry_run: bool) -> None:
    """Create or update vaults, plan and alarms of ENV in its three regions. Safe to run again."""
    run = options.run(dry_run=dry_run)
    protection.install(run, _find(run, environment))


@backups_group.command("list")
@environment
@pass_options
def list_backups(options: Options, environment: str) -> None:
    """Show the newest complete backup of ENV in each region: exit code 1 if one is late."""
    run = options.run()
    now = datetime.now(UTC)
    with state("nothing was changed"):
        found = backups.find(run, _find(run, environment))
    for region, one in found.items():
        options.console.result(backups.explain(region, one, now))
    if any(backups.is_late(one, now) for one in found.values()):
        sys.exit(1)


@main.command("recover")
@environment
@click.option(
    "--region", metavar="REGION", help="The region; the default is the first of Destinations."
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
    "--no-backups", is_flag=True, help="Install no backups of the new environment, for an exercise."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@label
@dry_run
@pass_options
def recover_command(
    options: Options,
    /,
    environment: str,
    region: str | None,
    no_backups: bool,
    yes: bool,
    dry_run: bool,
    **wanted: str | None,
) -> None:
    """Recreate ENV from a backup, in another region or beside the old one.

    First says how old the newest complete backup is, and what is lost. Sends no request to the home
    region. After an interruption, the same command continues. A dry run says what it would create.
    """
    began = datetime.now(UTC)
    run = options.run(dry_run=dry_run)
    source = _find(run, environment)
    there = run.at(region or backups.find_destinations(source)[0])
    wish = recovery.Wish(wanted["short"] or environment, wanted["snapshot"], wanted["label"],
                         wanted["user"], not no_backups)  # fmt: skip
    with state("nothing was changed"):
        plan = recovery.plan(there, source, wish)
        for line in recovery.explain(there, plan, began):
            options.console.say(line)
        if run.changes.dry_run:
            return
        if not (yes or _confirmed("Begin?")):
            raise Failure("the recovery was not confirmed", next="run it with --yes")
    recovery.recover(there, plan, wish, began)


@main.group("sentry")
def sentry_group() -> None:
    """Configure the notifications about errors."""


@sentry_group.command("apply")
@dry_run
@pass_options
def apply_sentry(options: Options, dry_run: bool) -> None:
    """Create or update Sentry's alerts, as devops/owner.json says. Safe to run again.

    Prompts for the token, unless Secrets Manager has it ("token" in birthday-greetings/sentry).
    """
    sentry.apply(options.run(dry_run=dry_run), lambda: _ask_for("Sentry's token"))


@main.group()
def versions() -> None:
    """Keep the number of versions below the 1,000 that an application may have."""


@versions.command("prune")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@dry_run
@pass_options
def prune_versions(options: Options, yes: bool, dry_run: bool) -> None:
    """Delete the versions that are no longer needed.

    Keeps the newest 50, those that run anywhere, and those that a rollback would deploy. Images
    are not deleted.
    """
    run = options.run(dry_run=dry_run)
    with state("nothing was deleted"):
        unneeded = version.find_unneeded(run)
    if not unneeded:
        options.console.say("all versions are needed")
        return
    options.console.say(f"{len(unneeded)} versions are not needed, the oldest first:")
    for one in unneeded:
        options.console.say(f"  {one}")
    if not (yes or run.changes.dry_run or _confirmed(f"Delete these {len(unneeded)} versions?")):
        raise Failure("the deletion was not confirmed", "nothing was deleted", "run it with --yes")
    version.delete(run, unneeded)
    run.changes.done(f"{len(unneeded)} versions were deleted")


def _confirmed(question: str) -> bool:
    return sys.stdin.isatty() and click.confirm(question, err=True)


def _ask_for(name: str) -> str:
    """A value typed at a prompt without echo, or given on standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.read().removesuffix("\n")
    prompted: str = click.prompt(
        f"{name} (hidden)", hide_input=True, confirmation_prompt=True, err=True
    )
    return prompted


def _find(run: Run, short: str) -> Environment:
    return environments.find(run.settings, short)


def _report_it(options: Options) -> str:
    try:
        repository = owner.read_for_use(options.root).repository
    except Failure:
        return ""
    return f": report it with the lines above at https://github.com/{repository}/issues"


def start(arguments: list[str] | None = None, options: Options | None = None) -> int:
    """The exit code of the command in ``arguments``, by default those of the program."""
    options = options or Options()
    console = options.console
    try:
        signals.install()
        main.main(args=arguments, prog_name=PROGRAM, obj=options, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Failure as failure:
        console.failure(failure)
        return 1
    except (Interrupted, click.Abort):
        console.say("interrupted. What was started on AWS continues there")
        console.say("  next: 'status' shows it; run the same command again: it waits and continues")
        return 130
    except Exception as error:
        traceback.print_exc()
        console.failure(
            Failure(
                f"unexpected error: {error!r}",
                "unknown: it ended in the middle of a step",
                "see 'status'; this is a bug in this program" + _report_it(options),
            )
        )
        return 1
    return 0
