"""The contents of .ebextensions, read as Beanstalk reads them, but without its tolerance for mistakes."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.base.settings import SafeLoader
from deploy.config.options import find_problem

KEYS = {
    "option_settings",
    "packages",
    "groups",
    "users",
    "sources",
    "files",
    "commands",
    "services",
    "container_commands",
    "Resources",
    "Parameters",
    "Outputs",
    "Mappings",
}
# Of a resource. Nothing documents that Beanstalk's own parser passes others on, such as Metadata
ATTRIBUTES = {"Type", "Properties", "DeletionPolicy", "UpdateReplacePolicy"}
FUNCTIONS = {"Ref", "Fn::GetAtt", "Fn::Join", "Fn::GetOptionSetting"}

NOTHING = object()  # of AWS::NoValue: the property is not given

Options = dict[tuple[str, str], str]  # by namespace and name


class Mistake(Exception):
    """A mistake for which Beanstalk would ignore a file, or interpret it differently."""


class _Loader(SafeLoader):  # type: ignore[misc]  # one of two classes
    """YAML 1.1 that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {str(key) for key in keys if keys.count(key) > 1}:
            raise Mistake(f"{', '.join(sorted(twice))} is given twice in {node.start_mark}")
        return super().construct_mapping(node, deep)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The content of each file by its name, in the order in which they apply. Raises Mistake."""
    return {path.name: parse(path.read_text(), path.name) for path in sorted(folder.iterdir())}


def parse(text: str, name: str) -> dict[str, Any]:
    """The content of one file. Raises Mistake."""
    if not name.endswith(".config"):
        raise Mistake(f"{name} is ignored: its name does not end in .config")
    try:
        content = yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise Mistake(f"{name} is ignored: {error}") from error
    if not isinstance(content, dict):
        raise Mistake(f"{name} is ignored: it is not a mapping")
    if unknown := set(content) - KEYS:
        raise Mistake(f"{name} is ignored: unknown keys {sorted(unknown)}")
    for resource in content.get("Resources", {}).values():
        if unusual := set(resource) - ATTRIBUTES:
            raise Mistake(f"{name}: {sorted(unusual)} is not in AWS's samples of resources")
    for used in functions(content.get("Resources", {})):
        if used not in FUNCTIONS:
            raise Mistake(f"{name}: {used} is not among the functions that Beanstalk supports")
    return content


def functions(value: Any) -> Iterator[str]:
    """The names of the CloudFormation functions in ``value``, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref" or str(key).startswith("Fn::"):
                yield key
            yield from functions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from functions(inner)


def options(content: Mapping[str, Any]) -> Options:
    """The option settings of one file, as text; a document as JSON."""
    return {
        (namespace, name): as_text(value)
        for namespace, values in content.get("option_settings", {}).items()
        for name, value in values.items()
    }


def merge(files: Iterable[Mapping[str, Any]]) -> Options:
    """The options of several files, as strings."""
    return {option: value for one in files for option, value in options(one).items()}


def as_text(value: Any) -> str:
    """A value as the API represents it."""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def check(option: tuple[str, str], value: str) -> None:
    """Raises Mistake if the option does not exist, or does not allow ``value``."""
    if problem := find_problem(*option, value):
        raise Mistake(problem)


def evaluate(
    value: Any, option: Callable[[str, str], str | None], ref: Callable[[str, str | None], Any]
) -> Any:
    """``value`` with its functions replaced.

    ``option(namespace, name)`` is the value of an option or None; ``ref(id, attribute)`` what Ref
    (attribute None) and Fn::GetAtt say. In option settings, functions are in backquotes.
    """
    if isinstance(value, str) and value.startswith("`") and value.endswith("`"):
        value = json.loads(value[1:-1])
    if isinstance(value, list):
        return [evaluate(one, option, ref) for one in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("Ref", "AWS::NoValue")]:
            return NOTHING
        case [("Ref", name)]:
            return ref(name, None)
        case [("Fn::GetAtt", [name, attribute])]:
            return ref(name, attribute)
        case [("Fn::Join", [glue, parts])]:
            return glue.join(str(evaluate(part, option, ref)) for part in parts)
        case [("Fn::GetOptionSetting", wanted)]:
            found = option(wanted["Namespace"], wanted["OptionName"])
            return evaluate(wanted.get("DefaultValue"), option, ref) if found is None else found
    evaluated = {key: evaluate(inner, option, ref) for key, inner in value.items()}
    return {key: inner for key, inner in evaluated.items() if inner is not NOTHING}
