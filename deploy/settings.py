"""What every command needs to know: .elasticbeanstalk/config.yml, and the environment variables."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.errors import Failure, InvalidConfig

PROGRAM = "scripts/build_and_deploy.sh"  # what people type
ROOT = Path(__file__).parent.parent
CONFIG = ".elasticbeanstalk/config.yml"
# Of libyaml, where PyYAML has it: six times as fast
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
    numbers = {name: _number(env.get(name) or default, name, pattern, unit)
               for name, default, pattern, unit in NUMBERS}  # fmt: skip
    try:
        document = yaml.load((root / CONFIG).read_text(), SafeLoader)  # noqa: S506
        common, artifact = document["global"], document["deploy"]["artifact"]
        return Settings(
            root=root,
            application=common["application_name"],
            artifact=root / artifact,
            platform_branch=common["default_platform"],
            region=env.get("AWS_DEFAULT_REGION")
            or env.get("AWS_REGION")
            or common["default_region"],
            home=common["default_region"],
            deploy_timeout=numbers["DEPLOY_TIMEOUT"] * 60,
            health_timeout=numbers["HEALTH_TIMEOUT"],
            smoke_timeout=numbers["SMOKE_TIMEOUT"],
            poll=numbers["POLL_SECONDS"],
            env=env,
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise Failure(
            f"{CONFIG} cannot be used: {error!r}", "nothing was changed", f"restore {CONFIG}"
        ) from error


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
