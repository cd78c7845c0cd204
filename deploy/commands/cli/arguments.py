"""What commands share: their options, what they name, and how they ask people."""

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from deploy.base import settings
from deploy.base.aws import Aws
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.context import Run
from deploy.base.programs import Tools
from deploy.base.settings import Settings
from deploy.config import environments, window
from deploy.config.environments import Environment

Command = Callable[..., Any]
UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


@dataclass
class Options:
    """What a command is started with; replaced in tests."""

    console: Console = field(default_factory=Console)
    session: Any = None
    tools: Callable[[Changes, Path], Tools] = Tools
    root: Path = settings.ROOT
    lock_wait: float = 0  # seconds

    def load(self) -> Settings:
        """The settings of the checkout. Raises UsageError for an environment variable."""
        try:
            return settings.load(root=self.root)
        except settings.InvalidSetting as error:
            raise click.UsageError(str(error)) from error

    def run(self, dry_run: bool, in_region: bool = True) -> Run:
        """One run of a command. Says which region it is in, if that is not the home region."""
        loaded = self.load()
        if dry_run and self.console.quiet:
            raise click.UsageError("--dry-run and --quiet do not go together")
        if in_region and loaded.region != loaded.home:
            self.console.say(
                f"in {loaded.region}, not in the home region {loaded.home} "
                f"({loaded.region_variable})"
            )
        changes = Changes(self.console, dry_run)
        aws = Aws(loaded.region, changes, self.session)
        tools = self.tools(changes, self.root)
        return Run(loaded, self.console, changes, aws, tools, self.lock_wait)


def _keep_quiet(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    context.ensure_object(Options).console.quiet |= wanted


dry_run = click.option(
    "--dry-run",
    is_flag=True,
    help="Print the commands that would change something, and do not run them.",
)
quiet = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_keep_quiet,
    help="Do not print the commands that change something.",
)
pass_options = click.make_pass_decorator(Options, ensure=True)


def with_run(harmless: bool = False, elsewhere: bool = False) -> Callable[[Command], Command]:
    """A decorator: the command gets its Run as the first argument, and has a dry run.

    Not so if it is ``harmless``, as it changes nothing. One that acts in regions of its own, or
    ``elsewhere``, does not say which region is that of the terminal.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(options: Options, /, dry_run: bool = False, **given: Any) -> Any:
            return function(options.run(dry_run, not elsewhere), **given)

        return pass_options(command) if harmless else dry_run(quiet(pass_options(command)))

    return decorate


class _Environment(click.ParamType[Environment | str]):
    """An environment of devops/environments.toml, by its short name; or a URL, where allowed."""

    name = "environment"

    def __init__(self, or_url: bool = False) -> None:
        self._or_url = or_url

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Environment | str:
        if self._or_url and value.startswith(("http://", "https://")):
            return str(value)
        options = ctx.find_object(Options) if ctx else None
        known = environments.read((options or Options()).load())
        if value not in known:
            expected = f"{', '.join(known)}{', or a URL with http://' if self._or_url else ''}"
            self.fail(f"{value!r}: expected {expected} (devops/environments.toml)", param, ctx)
        return known[value]


class _Moment(click.ParamType[datetime]):
    """A point in time, with its time zone."""

    name, expected = "time", "a time such as 2026-11-24T09:30+01:00"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            return window.parse_moment(value)
        except ValueError:
            self.fail(f"{value!r}: expected {self.expected}", param, ctx)


class _Since(_Moment):
    """A point in time, or how long ago it was."""

    expected = "30s, 10m, 2h or 3d, or a time such as 2026-11-24T09:30+01:00"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        ago = re.fullmatch(r"([0-9]{1,5})([smhd])", value)
        if not ago:
            return super().convert(value, param, ctx)
        return datetime.now(UTC) - int(ago[1]) * UNITS[ago[2]]


class _RequestId(click.ParamType[str]):
    """The id of a request, whatever it looks like: web/log.py has the known forms."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", value):
            self.fail(f"{value!r}: expected the X-Request-ID of an answer", param, ctx)
        return str(value)


environment = click.argument("environment", metavar="ENV", type=_Environment())
any_environment = click.argument(
    "environment", metavar="[ENV]", type=_Environment(), required=False
)
target = click.argument("target", metavar="ENV|URL", type=_Environment(or_url=True))
moment = click.option(
    "--at",
    metavar="TIME",
    type=_Moment(),
    help="A time such as 2026-11-24T09:30+01:00; the default is now.",
)
since = click.option(
    "--since",
    metavar="WHEN",
    type=_Since(),
    help="Begin 30s, 10m, 2h or 3d ago, or at a time such as 2026-11-24T09:30+01:00.",
)
request = click.option(
    "--request",
    metavar="ID",
    type=_RequestId(),
    help="Show one request, by its X-Request-ID, in nginx's log too.",
)
label = click.option("--version", "label", metavar="LABEL", help="A published version.")
yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
allow_dirty = click.option(
    "--allow-dirty",
    is_flag=True,
    help="Build with uncommitted files; the version's label says so.",
)
forward = click.option(
    "--forward",
    is_flag=True,
    help="Deploy only if the running version is not newer, by git's history.",
)


def _keep_lock_wait(context: click.Context, _: click.Parameter, minutes: int | None) -> None:
    if minutes is not None:
        context.ensure_object(Options).lock_wait = 60 * minutes


lock_wait = click.option(
    "--lock-wait",
    metavar="MINUTES",
    type=click.IntRange(min=0),
    expose_value=False,
    callback=_keep_lock_wait,
    help="Wait for another run on the environment to end, instead of failing at once.",
)


def confirm(given: bool) -> Callable[[str], bool]:
    """Asks a question, unless an option has ``given`` yes; without a terminal, the answer is no."""
    return lambda question: given or (sys.stdin.isatty() and click.confirm(question, err=True))


def confirm_name(given: str | None) -> Callable[[str], bool]:
    """A prompt for a name, unless an option has ``given`` one; it returns whether the name matches.

    Without a terminal, it does not.
    """

    def ask(name: str) -> bool:
        if given is not None or not sys.stdin.isatty():
            return given == name
        typed: str = click.prompt(f"Type {name} to remove it", "", show_default=False, err=True)
        return typed == name

    return ask


def ask_for(name: str) -> str:
    """A value typed at a prompt without echo, or given on standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.read().removesuffix("\n")
    prompted: str = click.prompt(
        f"{name} (hidden)", hide_input=True, confirmation_prompt=True, err=True
    )
    return prompted
