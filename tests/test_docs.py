"""What the documents say must be true."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from docs import production
from tests.rehearsal import test_recovery as recovery
from web import openapi
from web.config import SETTINGS

README = Path("README.md").read_text()
ARCHITECTURE = Path("architecture.md").read_text()
MAKEFILE = Path("Makefile").read_text()
DOCUMENTS = {
    path.name: path.read_text()
    for path in map(
        Path, ("README.md", "architecture.md", "docs/operations.md", "docs/recovery.md")
    )
}


def rows(text, heading):
    """The cells of the table below ``heading``, row by row."""
    section = text.split(f"\n{heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_configuration_table_is_that_of_the_code():
    documented = [
        (name.strip("`"), default.strip("`"), text)
        for name, default, text in rows(README, "## Configure it")
    ]
    assert documented == [(one.name, one.default, one.expected) for one in SETTINGS]


def test_the_example_environment_is_that_of_the_code():
    lines = re.findall(r"^# ([A-Z_]+=.*)$", Path(".env.example").read_text(), re.MULTILINE)
    assert lines == [f"{one.name}={one.default}" for one in SETTINGS]


def test_every_setting_that_compose_passes_on_exists():
    passed_on = re.findall(r"\$\{([A-Z_]+):-", Path("docker-compose.yml").read_text())
    assert set(passed_on) <= {one.name for one in SETTINGS}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document):
    for target in re.findall(r"`?\bmake ([a-z-]+)\b", DOCUMENTS[document].replace("make sure", "")):
        if (
            f"`make {target}" in DOCUMENTS[document]
            or f"\n    make {target}" in DOCUMENTS[document]
        ):
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_calls_with_curl_work(client):
    calls = [line.strip() for line in README.splitlines() if line.strip().startswith("curl ")]
    assert len(calls) >= 3
    for call in calls:
        words = shlex.split(call)
        url = next(word for word in words if word.startswith("http://127.0.0.1:8000/"))
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        body = words[words.index("-d") + 1] if "-d" in words else None
        response = client.open(url.removeprefix("http://127.0.0.1:8000"), method=method, data=body)
        assert response.status_code < 400, call


def test_the_table_of_the_api_is_that_of_the_openapi_document(client):
    document = client.get("/openapi.json").json
    described = {
        f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"
        for path, operations in document["paths"].items()
        for method in operations
        if method in {"get", "put", "delete"}
    }
    named = {call.strip("`") for call, *_ in rows(README, "## Call it")}
    assert described | {"GET /openapi.json", "GET /docs", "GET /docs/problems"} == named


def test_the_changelog_begins_with_the_version_of_the_api():
    versions = re.findall(r"^## (\S+)", Path("CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == openapi.VERSION
    assert tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"] == versions[0]
    assert len(set(versions)) == len(versions)


def test_the_layout_names_what_is_there():
    layout = README.split("\n## Find your way\n")[1].split("\n## ")[0]
    for name in re.findall(r"^    (\S+)  ", layout, re.MULTILINE):
        assert Path(name).exists(), name


def test_every_dependency_has_its_reason():
    reasons = {name.strip("`"): why for name, why in rows(ARCHITECTURE, "## Dependencies")}
    wanted = {
        line
        for file in Path("requirements").glob("*.in")
        for line in Path(file).read_text().split("\n")
        if line and line[0] not in "#-"
    }
    assert set(reasons) == wanted
    assert all(reasons.values())


def test_the_picture_of_production_was_drawn_from_its_code(tmp_path):
    drawn = production.fingerprint(production.build(tmp_path / "production"))
    assert production.drawn_from() == drawn, "run `make diagram`, and look at it"


RUNBOOK = Path("docs/operations.md").read_text()
SECTIONS = {
    title.lower().replace(" ", "-").replace(",", ""): text
    for title, text in re.findall(
        r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL
    )
}


def test_every_alarm_and_event_has_its_section_in_the_runbook():
    named = set()
    for template in ("operations", "foundation", "backups"):
        text = Path(f"devops/{template}.yml").read_text()
        named |= set(re.findall(r"docs/operations\.md(?:#|, section )([\w-]+)", text))
    assert len(named) > 12
    assert named <= set(SECTIONS)
    for name in named:
        for part in ("**Users notice**", "**First**", "**Decide**", "**Way back**"):
            assert part in SECTIONS[name], (name, part)


def test_the_runbook_leads_to_every_section_and_to_nothing_else():
    linked = set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK))
    assert linked <= set(SECTIONS)
    unlinked = set(SECTIONS) - linked
    assert unlinked == {"what-is-kept-and-for-how-long", "prove-that-a-message-arrives"}


def test_every_command_of_the_recovery_is_one_that_the_rehearsal_types():
    source = Path("tests/rehearsal/test_recovery.py").read_text()
    commands = re.findall(
        r"^ {4,}(?=\S*(?:scripts/|aws|export))(.*)$", DOCUMENTS["recovery.md"], re.M
    )
    assert len(commands) >= 10
    assert set(commands) == set(recovery.COMMANDS.values())
    for name in recovery.COMMANDS:
        assert f'"{name}"' in source.split("\nclass ")[1], name


def test_saved_queries_that_the_runbook_names_exist():
    saved = {
        name.replace("${Environment}", "birthday-greetings-prod").replace(
            "${AWS::StackName}", "birthday-greetings-pipeline"
        )
        for template in ("operations", "pipeline")
        for name in re.findall(
            r"QueryDefinition\n    Properties:\n      Name: !Sub (.*)",
            Path(f"devops/{template}.yml").read_text(),
        )
    }
    text = re.sub(r"\s+", " ", RUNBOOK)
    named = set(re.findall(r"`(birthday-greetings-\w+/[A-Z][^`]*)`", text))
    assert named == saved


PAGES = [
    *Path().glob("*.md"), *Path("docs").glob("*.md"), *Path("tests").glob("**/*.md"),
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_that_is_linked_or_named_exists(page):
    text = page.read_text()
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:\.?[\w-]+/)+[\w.-]+\.(?:config|json|md|py|sh|toml|txt|yml))`", text)
    for name in (*(page.parent / link for link in linked), *map(Path, named)):
        assert name.exists(), name
