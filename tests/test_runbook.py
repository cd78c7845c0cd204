"""docs/operations.md leads from each alarm to a cure, and the command that applies it."""

import re
from pathlib import Path

import pytest

from tests.support import runbook
from tests.support.aws import APPLICATION
from tests.support.runbook import RUNBOOK, SCRIPT, SECTIONS

FAULTS = {name: text for name, text in SECTIONS.items() if "**Users notice**" in text}
# What applies an edit of a file
APPLIED_BY = {
    "devops/environments.toml": f"{SCRIPT} create prod",
    ".ebextensions/": f"{SCRIPT} deploy prod --version LABEL",
    "devops/owner.json": f"{SCRIPT} create prod",
}


def test_every_alarm_and_event_has_its_section():
    named = set()
    for template in ("operations", "foundation", "backups", "probe"):
        text = Path(f"devops/{template}.yml").read_text()
        named |= set(re.findall(r"docs/operations\.md#([\w-]+)", text))
    assert len(named) > 12
    assert named <= set(FAULTS)


def test_the_runbook_links_to_every_section_about_a_fault():
    linked = set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK))
    assert set(SECTIONS) - linked == {
        "what-is-kept-and-for-how-long",
        "prove-that-a-message-arrives",
    }


@pytest.mark.parametrize("name", FAULTS)
def test_a_section_ends_with_the_command_that_applies_its_cure(name):
    parts = runbook.parts(FAULTS[name])
    assert [one for one in parts if one != "First"] == ["Users notice", "Decide", "Cure"]
    assert list(parts)[-1] == "Cure"
    cure, commands = parts["Cure"], runbook.commands(parts["Cure"])
    assert commands or re.match(r": \S", cure), "neither a command nor a sentence"
    for file, command in APPLIED_BY.items():
        if f"](../{file}" in FAULTS[name]:
            assert command in commands, f"{file} is edited, and nothing applies it"
    if "roll back" in parts["Decide"].lower():
        assert f"{SCRIPT} rollback prod" in commands
    if f"{SCRIPT} deploy prod --version LABEL" in commands:
        assert f"{SCRIPT} build" in commands, "nothing prints the label"


def test_sections_that_edit_a_file_are_found():
    """The rule above would hold by itself if no section linked to what it edits."""
    for file in APPLIED_BY:
        assert any(f"](../{file}" in text for text in FAULTS.values()), file


def test_every_setting_in_the_runbook_exists():
    files = [Path("devops/environments.toml"), *Path(".ebextensions").glob("*.config")]
    files += Path("devops").glob("*.yml")
    known = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z]\w*)+\b", "\n".join(map(Path.read_text, files))))
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][A-Za-z]*)+)(?: = [^`]*)?`", RUNBOOK))
    assert len(named) > 6
    assert named <= known


def test_saved_queries_in_the_runbook_exist():
    saved = {
        name.replace("${Environment}", f"{APPLICATION}-prod").replace(
            "${AWS::StackName}", f"{APPLICATION}-pipeline"
        )
        for template in ("operations", "pipeline")
        for name in re.findall(
            r"QueryDefinition\n    Properties:\n      Name: !Sub (.*)",
            Path(f"devops/{template}.yml").read_text(),
        )
    }
    text = re.sub(r"\s+", " ", RUNBOOK)
    named = set(re.findall(rf"`({APPLICATION}-\w+/[A-Z][^`]*)`", text))
    assert named == saved
