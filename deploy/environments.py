"""The environments of devops/environments.toml, and what is set on each of them."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.errors import InvalidConfig
from deploy.settings import Settings, read_text

NAME = "devops/environments.toml"
COMMON = ("all", "certificate")  # tables that are no environments
SECRETS = "aws:elasticbeanstalk:application:environmentsecrets"
PRODUCTION = "prod"
STACK, PLAIN_HTTP = "stack", "PlainHttp"  # what a table has besides namespaces of Beanstalk


@dataclass(frozen=True)
class Environment:
    """One environment by its short name, such as "staging"."""

    short: str
    name: str  # of the Beanstalk environment and of its stack
    tables: Mapping[str, Any]

    @property
    def is_production(self) -> bool:
        """Whether a failure in it concerns the escalation."""
        return self.short == PRODUCTION

    def parameters(self) -> dict[str, str]:
        """The parameters of its stack, devops/environment.yml."""
        return {name: str(value) for name, value in self.tables[self.short][STACK].items()}

    def refuse_plain_http(self) -> None:
        """Raises InvalidConfig for production without a certificate, unless it is asked for."""
        table = self.tables[self.short]
        if not self.is_production or table[STACK].get("Certificate") or table.get(PLAIN_HTTP):
            return
        raise InvalidConfig(
            NAME,
            f"{self.short} has no certificate, so that whoever is between people and the service "
            "can read and change names, dates of birth and keys. Give "
            f"[{self.short}.{STACK}] a Certificate and a PublicName. To accept that all the same, "
            f"set {PLAIN_HTTP} = true in [{self.short}]",
        )

    def options(self, outputs: Mapping[str, str]) -> list[dict[str, str]]:
        """The option settings, by namespace and name, with the stacks' ``outputs`` filled in.

        Those for environments with a certificate are among them if ``outputs`` has one. Raises
        InvalidConfig when an output that is named is missing.
        """
        wanted = ["all", *(["certificate"] if outputs.get("Certificate") else []), self.short]
        settings = {
            (namespace, name): _fill(value, outputs)
            for table in wanted
            for namespace, values in self.tables.get(table, {}).items()
            if ":" in namespace
            for name, value in values.items()
        }
        return [
            {"Namespace": namespace, "OptionName": name, "Value": value}
            for (namespace, name), value in sorted(settings.items())
        ]


def read(settings: Settings) -> dict[str, Environment]:
    """All environments of the checkout, by their short names. Raises InvalidConfig."""
    try:
        tables = tomllib.loads(read_text(settings.root, NAME))
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(NAME, f"invalid TOML: {error}") from error
    found = {}
    for short in tables:
        if short in COMMON:
            continue
        if not re.fullmatch(r"[a-z0-9]{2,20}", short):
            raise InvalidConfig(NAME, f"{short!r}: expected 2 to 20 small letters or digits")
        if not isinstance(tables[short], dict) or STACK not in tables[short]:
            raise InvalidConfig(NAME, f"[{short}.{STACK}] is missing")
        _refuse_unknown(short, tables[short])
        found[short] = Environment(short, settings.name(short), tables)
    return found


def _refuse_unknown(short: str, table: Mapping[str, Any]) -> None:
    """Raises InvalidConfig for what would be ignored."""
    for key, value in table.items():
        if key == PLAIN_HTTP and not isinstance(value, bool):
            raise InvalidConfig(NAME, f"[{short}] {key}: expected true or false")
        if key != PLAIN_HTTP and not (isinstance(value, dict) and (key == STACK or ":" in key)):
            raise InvalidConfig(
                NAME,
                f"[{short}] has {key!r}: expected {PLAIN_HTTP}, [{short}.{STACK}], or a namespace "
                f'such as [{short}."aws:autoscaling:asg"]',
            )


def find(settings: Settings, short: str) -> Environment:
    """The environment ``short``. Raises InvalidConfig when the file does not have it."""
    known = read(settings)
    if short not in known:
        raise InvalidConfig(NAME, f"there is no {short!r}. There are: {', '.join(known)}")
    return known[short]


def _fill(value: Any, outputs: Mapping[str, str]) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    for name in re.findall(r"{(\w+)}", text):
        if not outputs.get(name):
            raise InvalidConfig(
                NAME,
                f"{{{name}}} is an output of no stack: name one of devops/foundation.yml or "
                "devops/environment.yml",
            )
    return re.sub(r"{(\w+)}", lambda match: outputs[match[1]], text)
