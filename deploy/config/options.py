"""Beanstalk's options, and what each may be: options.json, from AWS's pages of general options.

The custom options are those of .ebextensions; docs.aws.amazon.com/AmazonRDS/latest/APIReference/
API_CreateDBInstance.html has the limits of the database's.

Beanstalk ignores a misspelt option in a file, and refuses one in a request half an hour into a
command.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

from deploy.base.template_parameters import as_text

CATALOGUE = Path(__file__).with_suffix(".json")
CUSTOM = "aws:elasticbeanstalk:customoption"


def find_problem(namespace: str, name: str, value: Any) -> str:
    """What is wrong with an option or its ``value``; empty if both are valid."""
    known = _find(namespace)
    if known is None:
        return f"there is no namespace {namespace}"
    rule = known.get(name, known.get("*"))
    if rule is None:
        return f"{namespace} has no option {name}"
    if not isinstance(value, str | int | float):
        return f"{namespace} {name}: expected text, a number, true or false"
    text = as_text(value)
    if rule.get("values") and text not in rule["values"]:
        return f"{namespace} {name} is {text!r}, and may be one of {rule['values']}"
    if "range" in rule and not _within(text, *rule["range"]):
        return f"{namespace} {name} is {text!r}, and may be {rule['range']}"
    if "pattern" in rule and not re.fullmatch(rule["pattern"], text):  # it may be a secret
        return f"{namespace} {name}: expected {rule['expected']}"
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
    return bool(re.fullmatch(r"-?[0-9]+", value)) and least <= int(value) <= most
