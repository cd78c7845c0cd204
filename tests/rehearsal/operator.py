"""What an operator types: the commands of the runbook, as they are written there."""

import shlex
import subprocess
import sys
from pathlib import Path

from botocore import xform_name

from tests.rehearsal.project import SCRIPT
from tests.rehearsal.waiting import limit
from tests.support.aws import REGION


def run(world, line):
    """Run a command; returns its output."""
    words = shlex.split(line)
    if words[0] == SCRIPT:
        text = "github_pat_rehearsal" if "--token" in words else "0" * 64
        return world.project.script(*words[1:], text=text)
    if words[0] == "aws":
        return str(_ask_aws(world, words[1:]))
    assert words[0] == "eb"
    ended = subprocess.run(
        [Path(sys.executable).with_name("eb"), *words[1:]],
        cwd=world.project.folder,
        env=world.project.environment,
        capture_output=True,
        text=True,
        timeout=limit(300),
    )
    assert ended.returncode == 0, ended.stderr
    assert "environment" in ended.stdout
    return ended.stdout


def _ask_aws(world, words):
    """Do what the AWS CLI does with ``words``: send the request of that name, with the options as parameters."""
    service, operation, *rest = words
    options = dict(zip(*[iter(rest)] * 2, strict=True))
    client = world.cloud.client(service, options.pop("--region", REGION))
    method = operation.replace("-", "_")
    shape = client.meta.service_model.operation_model(
        client.meta.method_to_api_mapping[method]
    ).input_shape
    names = {f"--{xform_name(name, '-')}": name for name in shape.members}
    return getattr(client, method)(**{names[key]: value for key, value in options.items()})
