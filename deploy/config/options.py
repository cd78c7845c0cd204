"""Beanstalk's options, and what each may be: options.json, from AWS's pages of general options.

Beanstalk ignores a misspelt option in a file, and refuses one in a request half an hour into a
command.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

CATALOGUE = Path(__file__).with_suffix(".json")
CUSTOM = "aws:elasticbeanstalk:customoption"


def find_problem(namespace: str, name: str, value: str) -> str:
    """What is wrong with an option or its ``value``, as text; empty if both are valid."""
    known = _find(namespace)
    if known is None:
        return f"there is no namespace {namespace}"
    rule = known.get(name, known.get("*"))
    if rule is None:
        return f"{namespace} has no option {name}"
    if rule.get("values") and value not in rule["values"]:
        return f"{namespace} {name} is {value!r}, and may be one of {rule['values']}"
    if "range" in rule and not _within(value, *rule["range"]):
        return f"{namespace} {name} is {value!r}, and may be {rule['range']}"
    return ""


def default(namespace: str, name: str) -> str | None:
    """The default value of an option, or None."""
    found: str | None = (_find(namespace) or {}).get(name, {}).get("default")
    return found


def _find(namespace: str) -> dict[str, Any] | None:
    pattern = re.sub(r"(listener|process):[\w]+$", r"\1:*", namespace)
    found: dict[str, Any] | None = _read().get(namespace) or _read().get(pattern)
    return found


@functools.cache
def _read() -> dict[str, dict[str, Any]]:
    catalogue: dict[str, dict[str, Any]] = json.loads(CATALOGUE.read_text())
    return catalogue


def _within(value: str, least: float, most: float) -> bool:
    return bool(re.fullmatch(r"-?\d+", value)) and least <= int(value) <= most
