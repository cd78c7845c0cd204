"""Check all CloudFormation resources with cfn-lint and checkov.

Usage: python -m tools.templates FOLDER

Each template is checked for the regions to which it is deployed: home and the destinations of
backups, to which a recovery may move everything, or the region of the budget and the probe.

FOLDER, which is emptied first, receives the templates of devops/, and the Resources of
.ebextensions/ as one more template, in which the names that Beanstalk generates are parameters,
and options have their defaults or a placeholder. The two checks read them there in parallel.

What passed is not checked again: FOLDER.passed has a digest of all that decides. If the variable CI
is set, it is not asked.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from deploy.base import settings
from deploy.config import environments
from deploy.resources import budget, probe
from tools import interrupts

TEMPLATES = Path("devops")
EXTENSIONS = Path(".ebextensions")
GIVEN = "AWSEB"  # the prefix of the resources that Beanstalk creates
PLACEHOLDERS = {
    "VPCId": "vpc-12345678",
    "DatabaseKey": "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012",
    "DatabaseSubnetGroup": "database",
    "DatabaseMonitoringRole": "arn:aws:iam::123456789012:role/monitoring",
}


CHECKOV = [
    *(".venv/checkov/bin/python", "-m", "checkov.main", "--framework=cloudformation", "--quiet"),
    *("--compact", "--skip-download"),
    # The other checks that are left out are under Metadata of their resource, which .ebextensions
    # must not have. The database: a password from Secrets Manager serves everywhere; IAM's tokens
    # would tie the image to AWS
    "--skip-check=CKV_AWS_161",
    "--directory",
]
LOCKS = (Path("requirements/dev.txt"), Path("requirements/checkov.txt"))  # the two programs
# Settings that the two programs read from the checkout or the home folder
REGIONS = (Path(settings.CONFIG), Path(environments.NAME))  # where templates are deployed
SETTINGS = (".cfnlintrc", ".cfnlintrc.yaml", ".cfnlintrc.yml", ".checkov.yaml", ".checkov.yml")


def main() -> None:
    """Write and check the templates; exit code 1 if one of the checks found something."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    write(folder)
    digest, stamp = digest_of(folder), folder.with_name(f"{folder.name}.passed")
    if not os.environ.get("CI") and stamp.is_file() and stamp.read_bytes() == digest:
        print("unchanged since the templates passed")
        return
    stamp.unlink(missing_ok=True)
    check(folder)
    stamp.write_bytes(digest)


def check(folder: Path) -> None:
    """Run both programs on the templates in ``folder``; exits if one of them found something."""
    lint = str(Path(sys.executable).with_name("cfn-lint"))
    commands = [
        [lint, "--regions", *regions, "--", *files] for regions, files in by_regions(folder).items()
    ]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in (*commands, [*CHECKOV, str(folder)])
    ]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("\n".join(outputs))


def by_regions(folder: Path) -> dict[tuple[str, ...], list[str]]:
    """The templates in ``folder`` by the regions to which they are deployed."""
    loaded = settings.load({})
    copied = [one.destinations() or () for one in environments.read(loaded).values()]
    usual = tuple(sorted({loaded.home, *(region for regions in copied for region in regions)}))
    own = {environments.BUDGET: budget.REGION, environments.PROBE: probe.REGION}
    regions = {Path(template).name: (region,) for template, region in own.items()}
    found: dict[tuple[str, ...], list[str]] = {}
    for path in sorted(folder.iterdir()):
        found.setdefault(regions.get(path.name, usual), []).append(str(path))
    return found


def digest_of(folder: Path) -> bytes:
    """What decides whether ``folder`` passes: templates, programs, their settings, this module."""
    places = [place / name for place in (Path(), Path.home()) for name in SETTINGS]
    files = [*sorted(folder.iterdir()), *LOCKS, *REGIONS, Path(__file__), *places]
    contents = {str(file): file.read_bytes() for file in files if file.is_file()}
    return hashlib.sha256(repr((sys.version, contents)).encode()).hexdigest().encode()


def write(folder: Path) -> None:
    """Write the templates into ``folder``, which is emptied first."""
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
    # A change to one of Beanstalk's own resources is not a complete resource
    ours = {name: one for name, one in resources.items() if not name.startswith(GIVEN)}
    resources = {name: _plain(resource, given) for name, resource in ours.items()}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {name: {"Type": "String"} for name in sorted(given)},
        "Resources": resources,
    }


def _plain(value: Any, given: set[str]) -> Any:
    """``value`` without what only Beanstalk knows; adds the names of its resources to ``given``."""
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
    interrupts.run(main, "not all templates were checked")
