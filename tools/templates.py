"""Check everything that becomes CloudFormation, with cfn-lint and checkov.

Usage: python -m tools.templates FOLDER

Into FOLDER, which is emptied before, come the templates of devops/, and the Resources of
.ebextensions/ as a template of their own, in which the names that Beanstalk gives are parameters,
and options have their defaults or a placeholder. Both checks read them there, side by side.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

TEMPLATES = Path("devops")
EXTENSIONS = Path(".ebextensions")
GIVEN = "AWSEB"  # the resources that Beanstalk makes begin so
PLACEHOLDERS = {
    "VPCId": "vpc-12345678",
    "DatabaseKey": "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012",
    "DatabaseSubnetGroup": "database",
    "DatabaseMonitoringRole": "arn:aws:iam::123456789012:role/monitoring",
}


CHECKOV = (
    ".venv/checkov/bin/python", "-m", "checkov.main", "--framework=cloudformation", "--quiet",
    "--compact", "--skip-download", "--directory",
)  # fmt: skip


def main() -> None:
    """Write and check them; exit code 1 when one of the checks found something."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    write(folder)
    lint = ["cfn-lint", "--regions", "eu-west-1", "--", *map(str, sorted(folder.iterdir()))]
    lint[0] = str(Path(sys.executable).with_name(lint[0]))
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in (lint, [*CHECKOV, str(folder)])
    ]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("\n".join(outputs))


def write(folder: Path) -> None:
    """Write the templates into ``folder``, which is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted(TEMPLATES.glob("*.yml")):
        shutil.copy(path, folder)
    extensions = json.dumps(from_extensions(EXTENSIONS), indent=2)
    (folder / "ebextensions.json").write_text(extensions)


def from_extensions(folder: Path) -> dict[str, Any]:
    """One template of the Resources of all files in ``folder``."""
    resources: dict[str, Any] = {}
    for path in sorted(folder.glob("*.config")):
        resources |= yaml.safe_load(path.read_text()).get("Resources", {})
    given: set[str] = set()
    # What changes one of Beanstalk's own is a part of a resource only
    ours = {name: one for name, one in resources.items() if not name.startswith(GIVEN)}
    resources = {name: _plain(resource, given) for name, resource in ours.items()}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {name: {"Type": "String"} for name in sorted(given)},
        "Resources": resources,
    }


def _plain(value: Any, given: set[str]) -> Any:
    """``value`` without what only Beanstalk knows; its resources' names go into ``given``."""
    if isinstance(value, list):
        return [_plain(one, given) for one in value]
    if not isinstance(value, dict):
        return value
    if "Fn::GetOptionSetting" in value:
        wanted = value["Fn::GetOptionSetting"]
        return wanted.get("DefaultValue") or PLACEHOLDERS[wanted["OptionName"]]
    name = value.get("Ref") or value.get("Fn::GetAtt", [""])[0]
    if str(name).startswith(GIVEN):
        given.add(name)
        return {"Ref": name}
    return {key: _plain(inner, given) for key, inner in value.items()}


if __name__ == "__main__":
    main()
