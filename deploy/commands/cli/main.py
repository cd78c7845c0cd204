"""The program: the group of all commands, exit codes, and the one place that prints a failure."""

import traceback

import click

from deploy.base import signals
from deploy.base.errors import Failure, Interrupted
from deploy.base.settings import PROGRAM
from deploy.commands import ship
from deploy.commands.cli import delivery, environments
from deploy.commands.cli.arguments import Options, allow_dirty, forward, lock_wait, quiet
from deploy.commands.parts import NotYet
from deploy.config import owner

EPILOG = """\b
Environment variables, besides those of AWS (AWS_PROFILE and other credentials):
  AWS_REGION      the region, or else AWS_DEFAULT_REGION; the home region is default_region in
                  .elasticbeanstalk/config.yml
  BUILD_NUMBER    second part of a version's label; the time, if absent
  BASES           prefix of the image names in the Dockerfile, to use another registry
  PULL            true: pull the newest of these images, even if they are already present
  DEPLOY_TIMEOUT  minutes for one deployment (40)
  HEALTH_TIMEOUT  seconds to become healthy after that (300)
  SMOKE_TIMEOUT   seconds for each check of the smoke test (60)
  POLL_SECONDS    seconds between two queries to AWS (10)

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
@quiet
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
        ship.ship(options.run(dry_run), allow_dirty, forward)
    elif dry_run or allow_dirty or forward or options.lock_wait or options.console.quiet:
        raise click.UsageError(f"the options of {name} go after {name}")


for one in (*delivery.COMMANDS, *environments.COMMANDS):
    main.add_command(one)


def start(words: list[str] | None = None, options: Options | None = None) -> int:
    """The exit code of the command in ``words``, by default those of the program."""
    options = options or Options()
    console = options.console
    try:
        signals.install()
        well = main.main(args=words, prog_name=PROGRAM, obj=options, standalone_mode=False)
        return int(well is False)  # what a command found
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Failure as failure:
        console.failure(failure)
        return 1
    except NotYet as end:
        console.say(str(end))
        return 0
    except (Interrupted, click.Abort):
        if console.has_changed:
            remedy = f"see {PROGRAM} status; run the same command again: it continues"
            console.say("interrupted. What was started on AWS continues there", remedy)
        else:
            console.say("interrupted; nothing was changed")
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


def _report_it(options: Options) -> str:
    try:
        repository = owner.read_for_use(options.root).repository
    except Failure:
        return ""
    return f": report it with the lines above at https://github.com/{repository}/issues"
