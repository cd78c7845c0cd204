"""Parameters of CloudFormation templates: their values are checked here before AWS checks them."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.base.errors import InvalidConfig
from deploy.base.settings import SafeLoader, read_text
from deploy.base.tables import Rule

# Parameters that depend on the owner, AWS or a name
GIVEN = {
    "OperationsEmail",
    "EscalationEmail",
    "Environment",
    "Foundation",
    "Repository",
    "Escalate",
    "LoadBalancer",
    "TargetGroup",
    "AutoScalingGroup",
    "ApplicationLog",
    "ProxyLog",
    "WatchedCertificate",
    "Vault",
    "FirstVaultArn",
    "SecondVaultArn",
    "DatabaseKey",
    "ApplicationSecretArn",
    "SmokeTestSecretArn",
    "FirstCopyRegion",
    "SecondCopyRegion",
    "EnvironmentId",
    "Application",
}


class _Loader(SafeLoader):  # type: ignore[misc]
    """A YAML loader that ignores functions such as !Ref, which parameters do not contain."""


_Loader.add_multi_constructor("!", lambda *_: None)


def read_parameters(root: Path, template: str) -> dict[str, Any]:
    """The declarations of the parameters of ``template``, by name. Raises InvalidConfig."""
    return _read(root, template, "Parameters")


def read_outputs(root: Path, *templates: str) -> set[str]:
    """The names of the outputs of ``templates``. Raises InvalidConfig."""
    return {name for one in templates for name in _read(root, one, "Outputs")}


def _read(root: Path, template: str, section: str) -> dict[str, Any]:
    text = read_text(root, template)
    if not re.search(rf"^{section}:", text, re.MULTILINE):
        return {}
    _, _, rest = text.partition(f"\n{section}:\n")
    try:
        # Only up to the next section: the rest is long, and takes a second to parse
        return dict(_parse(re.split(r"\n(?=\w)", rest)[0]))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise InvalidConfig(template, f"its {section} cannot be read: {error}") from error


@functools.cache  # of the text: a command reads the same templates several times
def _parse(section: str) -> Any:
    return yaml.load(section, _Loader)  # noqa: S506  # a SafeLoader


def read_rules(root: Path, template: str) -> dict[str, Rule]:
    """The rules of the parameters of ``template`` that people choose. Raises InvalidConfig."""
    declared = read_parameters(root, template)
    return {name: _rule(one) for name, one in declared.items() if name not in GIVEN}


def _rule(declared: Mapping[str, Any]) -> Rule:
    """A number whose minimum is a whole one is whole."""
    if declared["Type"] == "Number":
        low, high = declared.get("MinValue", float("-inf")), declared.get("MaxValue", float("inf"))
        kind, name = (int, "a whole number, ") if isinstance(low, int) else (int | float, "")
        return Rule(
            f"expected {name}{low} to {high}",
            lambda value: (
                isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high
            ),
        )
    pattern = re.compile(declared.get("AllowedPattern", r"(?s).*"))
    return Rule(
        declared.get("ConstraintDescription", "expected text"),
        lambda value: pattern.fullmatch(as_text(value)) is not None,
    )


def as_text(value: Any) -> str:
    """``value`` as CloudFormation wants it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The same for each of ``values``."""
    return {name: as_text(value) for name, value in values.items()}
