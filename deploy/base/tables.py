"""Tables of files that people write: what is unknown in them, not as expected, or missing."""

import re
import tomllib
from collections.abc import Callable, Container, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from deploy.base.errors import InvalidConfig


class Rule(NamedTuple):
    """Which values a key may have, and what is said of all others."""

    problem: str
    allows: Callable[[Any], bool]


def text(pattern: str, expected: str) -> Rule:
    """The rule of a text that matches ``pattern`` from its first to its last character."""
    return Rule(
        f"expected {expected}",
        lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None,
    )


def kind(wanted: type, expected: str) -> Rule:
    """The rule of a value of the type ``wanted``, and of none that is derived from it."""
    return Rule(f"expected {expected}", lambda value: type(value) is wanted)


def tables(name: str, least: int = 0) -> Rule:
    """The rule of an array of ``least`` or more tables."""
    more = f", {least} or more" if least else ""
    return Rule(
        f"expected tables that begin with [[{name}]]{more}",
        lambda found: (
            isinstance(found, list)
            and len(found) >= least
            and all(isinstance(one, dict) for one in found)
        ),
    )


def check(
    file: str,
    where: str,
    table: Mapping[str, Any],
    rules: Mapping[str, Rule],
    optional: Container[str] = (),
) -> None:
    """Raise InvalidConfig unless ``table`` has the keys of ``rules``, and no others.

    A key of ``rules`` may have wildcards. ``where`` precedes a key in the message, such as "[a] ".
    """
    for key, value in table.items():
        rule = next((one for name, one in rules.items() if fnmatchcase(key, name)), None)
        if rule is None:
            raise InvalidConfig(file, f"{where}{key}: unknown key; expected {', '.join(rules)}")
        if not rule.allows(value):
            raise InvalidConfig(file, f"{where}{key} {value!r}: {rule.problem}")
    for key, rule in rules.items():
        if key not in table and key not in optional:
            raise InvalidConfig(file, f"{where}{key} is missing: {rule.problem}")


def parse_toml(file: str, document: str) -> dict[str, Any]:
    """The tables of the TOML ``document``, the content of ``file``. Raises InvalidConfig."""
    try:
        return tomllib.loads(document)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(file, f"invalid TOML: {error}") from error
