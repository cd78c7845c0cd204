"""Print what is set directly on an environment, for the AWS CLI.

Usage: python -m scripts.environments options ENVIRONMENT < OUTPUTS    option settings, as JSON
       python -m scripts.environments parameters ENVIRONMENT           of its stack, as NAME=VALUE

OUTPUTS are the outputs of CloudFormation stacks as `describe-stacks` prints them: a list of
{"OutputKey": ..., "OutputValue": ...}. They fill the braces of devops/environments.toml.
"""

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "devops/environments.toml"
COMMON = ("all", "certificate")


def main() -> None:
    """Exits with a sentence when the environment is unknown or an output is missing."""
    match sys.argv[1:]:
        case ["options", environment]:
            outputs = {one["OutputKey"]: one["OutputValue"] or "" for one in json.load(sys.stdin)}
            print(json.dumps(options(environment, outputs), indent=2))
        case ["parameters", environment]:
            for name, value in parameters(environment).items():
                print(f"{name}={value}")
        case _:
            raise SystemExit(__doc__)


def parameters(environment: str) -> dict[str, str]:
    """The parameters of the stack below ``environment``.

    Raises SystemExit when ``environment`` is not in the file.
    """
    return {name: str(value) for name, value in _tables(environment)[environment]["stack"].items()}


def options(environment: str, outputs: Mapping[str, str]) -> list[dict[str, str]]:
    """The option settings of ``environment``, by namespace and name, with ``outputs`` filled in.

    Those for environments with a certificate are among them if ``outputs`` has one. Raises
    SystemExit when ``environment`` is not in the file, or an output that it names is missing.
    """
    tables = _tables(environment)
    wanted = ["all", *(["certificate"] if outputs.get("Certificate") else []), environment]
    settings = {
        (namespace, name): _fill(value, outputs)
        for table in wanted
        for namespace, values in tables.get(table, {}).items()
        if namespace != "stack"
        for name, value in values.items()
    }
    return [
        {"Namespace": namespace, "OptionName": name, "Value": value}
        for (namespace, name), value in sorted(settings.items())
    ]


def _tables(environment: str) -> dict[str, Any]:
    tables = tomllib.loads(FILE.read_text())
    names = [name for name in tables if name not in COMMON]
    if environment not in names:
        raise SystemExit(f"{FILE.name} has no {environment!r}. There are: {', '.join(names)}.")
    return tables


def _fill(value: Any, outputs: Mapping[str, str]) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    missing = [name for name in re.findall(r"{(\w+)}", text) if not outputs.get(name)]
    if missing:
        raise SystemExit(
            f"{FILE.name} wants the output {missing[0]!r}, which no stack has. "
            "Name one of devops/foundation.yml or devops/environment.yml."
        )
    return re.sub(r"{(\w+)}", lambda match: outputs[match[1]], text)


if __name__ == "__main__":
    main()
