"""What every command needs to know: .elasticbeanstalk/config.yml, and the environment variables."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.base.errors import Failure, InvalidConfig

PROGRAM = "scripts/build_and_deploy.sh"  # what people type
ROOT = Path(__file__).parents[2]
CONFIG, MORE_CONFIG = ".elasticbeanstalk/config.yml", ".elasticbeanstalk/config.global.yml"
# Of libyaml, where PyYAML has it: environments.read takes 2.9 ms instead of 22 (27 November 2026,
# python -m timeit)
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
# The first wins, as in docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
# Of all tools but the EB CLI, which only knows the last one
PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_EB_PROFILE")
# Name, default, pattern, unit
NUMBERS = (
    ("DEPLOY_TIMEOUT", "40", r"[1-9][0-9]*", "minutes"),
    ("HEALTH_TIMEOUT", "300", r"[1-9][0-9]*", "seconds"),
    ("SMOKE_TIMEOUT", "60", r"[0-9]+", "seconds"),
    ("POLL_SECONDS", "10", r"[0-9]+(\.[0-9]+)?", "seconds"),
)


class InvalidSetting(ValueError):
    """An environment variable has a value that cannot be used. The message names both."""


@dataclass(frozen=True)
class Settings:
    """The application and its home region, and how long to wait (see ``--help``)."""

    root: Path  # of the checkout
    application: str
    artifact: Path  # the source bundle, where `eb` expects it
    platform_branch: str
    region: str
    home: str  # the region of .elasticbeanstalk/config.yml
    deploy_timeout: float  # seconds
    health_timeout: float  # seconds
    smoke_timeout: float  # seconds
    poll: float  # seconds between two requests
    env: Mapping[str, str]

    def name(self, environment: str) -> str:
        """The name of ``environment``, such as "staging", and of its stack on AWS."""
        return f"{self.application}-{environment}"

    @property
    def region_variable(self) -> str:
        """The environment variable that names another region than the home region, or empty."""
        return _find_set(self.env, REGION_VARIABLES)

    @property
    def program(self) -> str:
        """What people type to start this program for the region."""
        is_default = self.region == self.home and not self.region_variable
        return PROGRAM if is_default else f"AWS_REGION={self.region} {PROGRAM}"

    def elsewhere(self, command: str) -> str:
        """``command`` of this program, but that the region may be that of a forgotten terminal."""
        if self.region == self.home or not self.region_variable:
            return f"{self.program} {command}"
        stay = f"to stay in {self.region}: {self.program} {command}"
        return f"unset {self.region_variable}; or, {stay}"

    @property
    def profile(self) -> str:
        """The profile whose credentials are used, or empty: keys in the environment win."""
        if self.env.get("AWS_ACCESS_KEY_ID"):
            return ""
        return self.env.get(_find_set(self.env, PROFILE_VARIABLES)) or ""

    @property
    def eb_options(self) -> tuple[str, ...]:
        """The options for ``eb`` to work in the region, with the identity of all other requests.

        It ignores AWS_PROFILE, and this option wins over keys in the environment.
        """
        return (*(("--profile", self.profile) if self.profile else ()), "--region", self.region)

    def eb(self, command: str) -> str:
        """``command`` of the EB CLI, in a form that can be pasted into a shell."""
        return f"eb {command} {shlex.join(self.eb_options)}"

    def aws(self, command: str) -> str:
        """``command`` of the AWS CLI, in a form that can be pasted into a shell."""
        return f"aws {command} --region {self.region}"

    @property
    def foundation(self) -> str:
        """The stack that all environments share."""
        return f"{self.application}-foundation"

    @property
    def console_url(self) -> str:
        """The base URL of the AWS console of the region."""
        return f"https://{self.region}.console.aws.amazon.com"


def load(env: Mapping[str, str] | None = None, root: Path = ROOT) -> Settings:
    """The settings of the checkout in ``root``.

    Raises InvalidSetting for an environment variable and Failure for the file.
    """
    env = dict(os.environ) if env is None else env
    numbers = {
        name: _number(env.get(name) or default, name, pattern, unit)
        for name, default, pattern, unit in NUMBERS
    }
    _refuse_two_profiles(env)
    try:
        document = yaml.load((root / CONFIG).read_text(), SafeLoader)  # noqa: S506
        _refuse_profile_of_eb(root, document)
        common, artifact = document["global"], document["deploy"]["artifact"]
        return Settings(
            root=root,
            application=common["application_name"],
            artifact=root / artifact,
            platform_branch=common["default_platform"],
            region=_region(env, common["default_region"]),
            home=common["default_region"],
            deploy_timeout=numbers["DEPLOY_TIMEOUT"] * 60,
            health_timeout=numbers["HEALTH_TIMEOUT"],
            smoke_timeout=numbers["SMOKE_TIMEOUT"],
            poll=numbers["POLL_SECONDS"],
            env=env,
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"{CONFIG} cannot be used: {error!r}", "nothing was changed", f"restore {CONFIG}"
        ) from error


def _find_set(env: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((name for name in names if env.get(name)), "")


def _region(env: Mapping[str, str], home: str) -> str:
    variable = _find_set(env, REGION_VARIABLES)
    region = env.get(variable, home)
    if not REGION.fullmatch(region):  # those that are new are not in boto3's own list
        raise InvalidSetting(
            f"{variable or CONFIG} {region!r}: expected a region such as eu-west-1"
        )
    return region


def _refuse_two_profiles(env: Mapping[str, str]) -> None:
    """Raise InvalidSetting if boto3, eb and the AWS CLI would work in different accounts."""
    profile = env.get("AWS_PROFILE") or env.get("AWS_DEFAULT_PROFILE")
    for name in PROFILE_VARIABLES:
        if env.get(name, profile) not in ("", profile):
            raise InvalidSetting(
                f"{name} {env[name]!r}, but the profile is {profile or 'default'!r}: "
                "expected AWS_PROFILE only, which is used for everything"
            )


def _refuse_profile_of_eb(root: Path, document: Any) -> None:
    """Raise InvalidConfig for a profile that `eb` prefers to all that the environment says."""
    more = root / MORE_CONFIG
    other = yaml.load(more.read_text(), SafeLoader) if more.exists() else None  # noqa: S506
    for file, found in ((CONFIG, document), (MORE_CONFIG, other or {})):
        tables = [found.get("global"), *(found.get("branch-defaults") or {}).values()]
        for profile in (table["profile"] for table in tables if table and table.get("profile")):
            raise InvalidConfig(
                file,
                f"profile {profile!r} would be that of eb only. Expected none: AWS_PROFILE names "
                "the profile for everything",
            )


def read_text(root: Path, name: str) -> str:
    """The text of the file ``name`` of the checkout ``root``. Raises InvalidConfig."""
    try:
        return (root / name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(name, f"cannot be read: {error}") from error


def _number(text: str, name: str, pattern: str, unit: str) -> float:
    if not re.fullmatch(pattern, text):
        raise InvalidSetting(f"{name} {text!r}: expected a number of {unit}")
    return float(text)
