"""docs/operations.md: its sections, their parts, and the commands in it and in other documents."""

import re
import shlex
from pathlib import Path

import click
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from deploy.commands.cli import main as cli
from deploy.commands.cli.arguments import Options

RUNBOOK = Path("docs/operations.md").read_text()
# Of an alarm to its section
LINK = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/blob/main/docs/operations\.md#([\w-]+)")
SCRIPT = "scripts/build_and_deploy.sh"
EB = {"config", "events"}
PARTS = re.compile(r"^\*\*(Users notice|First|Decide|Cure)\*\*", re.MULTILINE)


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


SECTIONS = {
    anchor(title): text
    for title, text in re.findall(
        r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL
    )
}


def parts(section: str) -> dict[str, str]:
    """The texts of the parts of a section, by their names, in their order."""
    _, *found = PARTS.split(section)
    return dict(zip(found[::2], found[1::2], strict=True))


def commands(text: str) -> list[str]:
    """The commands in the blocks of a text, without their comments."""
    lines = re.findall(
        rf"^ {{4,}}((?:{SCRIPT}|aws|eb)(?: .*)?)$", re.sub(r"\\\n *", "", text), re.MULTILINE
    )
    return [re.split(r"\s+#\s", line)[0].strip() for line in lines]


def check(line: str) -> None:
    """Raises an exception for a command that does not exist, or would be refused as wrong usage."""
    program, *words = shlex.split(line)
    if program == SCRIPT:
        command, words = _find(words)
        command.make_context(command.name, words, obj=Options())
    elif program == "eb":
        assert words[0] in EB, line
    else:
        _check_aws(words)


def check_mentioned(text: str) -> None:
    """Raises AssertionError if a command of ours that is named between backticks, or an option of it, does not exist."""
    for one in re.findall(r"`([^`\n]+)`", text):
        words = one.removeprefix(f"{SCRIPT} ").split()
        if words[0] in cli.main.commands:
            command, rest = _find(words)
            known = {option for each in command.params for option in each.opts}
            assert {word for word in rest if word.startswith("--")} <= known, one


def _find(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that ``words`` begin with, and the rest of them."""
    command: click.Command = cli.main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    return command, words


def _check_aws(words: list[str]) -> None:
    """By the models of botocore, whose names the AWS CLI derives its own from."""
    service, operation, *options = words
    if (service, operation) in {("s3", "rm"), ("configure", "set")}:
        return  # of the CLI only
    model = ServiceModel(Loader().load_service_model(service.removesuffix("api"), "service-2"))
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    if operation == "wait":
        operation, *options = options
        waiters = Loader().load_service_model(service, "waiters-2")["waiters"]
        operation = xform_name(
            {xform_name(key, "-"): one for key, one in waiters.items()}[operation]["operation"], "-"
        )
    shape = model.operation_model(operations[operation]).input_shape
    known = {xform_name(name, "-") for name in shape.members if shape} | {
        "query",
        "output",
        "region",
    }
    for option in (one[2:] for one in options if one.startswith("--")):
        assert option.removeprefix("no-") in known, (words, option)
