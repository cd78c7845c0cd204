"""Beanstalk's options, and what each may be: options.json, from AWS's pages of general options.

The custom options are those of .ebextensions; docs.aws.amazon.com/AmazonRDS/latest/APIReference/
API_CreateDBInstance.html has the limits of the database's.

Beanstalk ignores a misspelt option in a file, and refuses one in a request half an hour into a
command.
"""

import functools
import json
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from deploy.base.settings import read_text
from deploy.base.template_parameters import as_text

CATALOGUE = Path(__file__).with_suffix(".json")
CUSTOM = "aws:elasticbeanstalk:customoption"
EXTENSIONS = ".ebextensions"


def collect(table: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """The options in a table of devops/environments.toml, by namespace and name."""
    return {
        (namespace, name): value
        for namespace, values in table.items()
        if ":" in namespace
        for name, value in values.items()
    }


def read_extensions(root: Path) -> str:
    """The text of the files of .ebextensions. Raises InvalidConfig."""
    files = sorted((root / EXTENSIONS).glob("*.config"))
    return "".join(read_text(root, str(path.relative_to(root))) for path in files)


def find_outputs(value: str) -> list[str]:
    """The names of the outputs of stacks that a ``value`` refers to, such as "{Key}"."""
    return re.findall(r"{(\w+)}", value)


def find_first_problem(root: Path, table: Mapping[str, Any], outputs: Set[str]) -> str:
    """What is wrong with the first invalid option in ``table``; empty if all are valid.

    ``outputs`` are those that it may refer to. Raises InvalidConfig for a file of .ebextensions.
    """
    used = re.findall(r"OptionName\"?: \"?(\w+)", read_extensions(root))
    for (namespace, name), value in collect(table).items():
        problem = find_problem(namespace, name, value)
        if unknown := set(find_outputs(str(value))) - outputs:
            problem = f"{name}: {{{min(unknown)}}} is not an output of a stack, or is empty"
        if namespace == CUSTOM and name not in used:
            problem = f"no file of {EXTENSIONS} uses {name}"
        if problem:
            return problem
    return ""


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
