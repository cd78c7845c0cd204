"""The documents agree with the code."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from tests.support import openapi, runbook
from web.config import SETTINGS
from web.openapi import VERSION

README = Path("README.md").read_text()
MAKEFILE = Path("Makefile").read_text()
DEPLOYMENT = Path("docs/deployment.md").read_text()
CONFIGURATION = Path("docs/configuration.md").read_text()
PAGES = sorted(
    path
    for folder in ("*", ".github/*", "docs/*", "tests/**/*")
    for path in Path().glob(f"{folder}.md")
)
DOCUMENTS = {path.name: path.read_text() for path in PAGES if path.parts[0] != "tests"}
FILE = r"`((?:\.?[\w-]+/)+[\w.-]+\.(?:config|json|md|py|sh|toml|txt|yml))`"


def rows(text, heading):
    """The cells of the table below ``heading``, row by row."""
    section = text.split(f"\n{heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_configuration_table_agrees_with_the_code():
    heading = CONFIGURATION.split("\n\n")[0]
    documented = [
        (name.strip("`"), default.strip("`"), text)
        for name, default, text in rows(f"\n{CONFIGURATION}", heading)
    ]
    assert documented == [(one.name, one.default, one.expected) for one in SETTINGS]


def test_the_readme_has_the_same_settings_as_the_configuration_table():
    known = {one.name: (one.default, one.expected) for one in SETTINGS}
    few = rows(README, "## Configuration")
    assert few
    for name, default, text in few:
        assert known[name.strip("`")] == (default.strip("`"), text)


@pytest.mark.process
def test_the_documented_commands_for_some_of_the_tests_work():
    commands = {
        command
        for page in PAGES
        for command in re.findall(r"`(make test ARGS=\"[^\"]*\")`", page.read_text())
    }
    assert commands
    # make hands its own arguments down, and the tests' pytest its options
    env = {name: os.environ[name] for name in ("PATH", "HOME")}
    for command in commands:
        ended = subprocess.run(shlex.split(command), env=env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert re.search(r"\d+ passed", ended.stdout)
        assert ended.stdout.endswith("make ci runs them, too.\n")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere_and_every_file_that_is_named_exists(page):
    for name in re.findall(FILE, page.read_text()):
        assert Path(name).exists(), name
    for text, target in re.findall(r"\[([^]]*)\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, section = target.partition("#")
        found = (page.parent / path).resolve() if path else page.resolve()
        assert found.exists(), f"{page}: [{text}]({target})"
        if section and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert section in {runbook.anchor(one) for one in headings}, (
                f"{page}: [{text}]({target})"
            )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_exists_with_its_options(document):
    for line in runbook.commands(DOCUMENTS[document]):
        runbook.check(line.replace(" ENV", " prod"))
    runbook.check_mentioned(DOCUMENTS[document])


@pytest.mark.parametrize(
    "line",
    [
        "scripts/build_and_deploy.sh log prod",
        "scripts/build_and_deploy.sh logs prod --last 1h",
        "scripts/build_and_deploy.sh logs nowhere",
        "scripts/build_and_deploy.sh secrets show prod",
        "aws elasticbeanstalk abort-update --environment-name one",
        "aws elasticbeanstalk abort-environment-update --name one",
        "eb event one",
    ],
)
def test_a_command_that_does_not_exist_is_found(line):
    with pytest.raises((AssertionError, KeyError, click.ClickException)):
        runbook.check(line)


@pytest.mark.parametrize("text", ["`logs prod --last`", "`secrets show prod`"])
def test_a_mention_of_what_does_not_exist_is_found(text):
    runbook.check_mentioned("`logs prod`, `status` and `secrets`")
    with pytest.raises(AssertionError):
        runbook.check_mentioned(text)


def test_the_example_environment_agrees_with_the_code():
    lines = re.findall(r"^# ([A-Z_]+=.*)$", Path(".env.example").read_text(), re.MULTILINE)
    assert lines == [f"{one.name}={one.default}" for one in SETTINGS]


def test_every_setting_that_compose_passes_on_exists():
    passed_on = re.findall(r"\$\{([A-Z_]+):-", Path("docker-compose.yml").read_text())
    assert set(passed_on) <= {one.name for one in SETTINGS}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_in_the_documents_exists(document):
    for target in re.findall(r"(?:`|^ {4,})make ([a-z-]+)", DOCUMENTS[document], re.MULTILINE):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_curl_examples_work(client):
    calls = [line.strip() for line in README.splitlines() if line.strip().startswith("curl ")]
    assert len(calls) >= 3
    for call in calls:
        words = shlex.split(call)
        url = next(word for word in words if word.startswith("http://127.0.0.1:8000/"))
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        body = words[words.index("-d") + 1] if "-d" in words else None
        response = client.open(url.removeprefix("http://127.0.0.1:8000"), method=method, data=body)
        assert response.status_code < 400, call


def test_the_table_of_the_api_agrees_with_the_openapi_document(client):
    described = {
        f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"
        for path, method, _ in openapi.operations(client.get("/openapi.json").json)
    }
    named = {call.strip("`") for call, *_ in rows(README, "## Usage")}
    assert described | {"GET /openapi.json", "GET /docs", "GET /docs/problems"} == named


def test_the_costs_are_added_up_and_the_budget_is_above_them():
    """Else its message comes every month: it is sent at 80 %."""
    *parts, (total, *sums, _) = [
        [cell.strip("* ") for cell in row] for row in rows(DEPLOYMENT, "## What it costs")
    ]
    columns = zip(*(row[1:3] for row in parts), strict=True)
    assert [sum(int(cell or 0) for cell in column) for column in columns] == [*map(int, sums)]
    assert total == f"Sum: {sum(map(int, sums))}"
    budget = tomllib.loads(Path("devops/environments.toml").read_text())["account"]["MonthlyBudget"]
    assert 0.8 * budget > sum(map(int, sums))


NGINX, DATABASE = ".platform/nginx/nginx.conf", ".ebextensions/40-database.config"
# A number in a document, and its source; a measured one has its date beside it instead
NUMBERS = [
    ("api.md", r"have 1 to (\d+) letters", "web/schema.py", r"NAME_LIMIT = (\d+)"),
    ("api.md", r"JSON of at most (\d+) KiB", NGINX, r"client_max_body_size +(\d+)k"),
    ("api.md", r"more than (\d+) requests a second", NGINX, r"rate=(\d+)r/s"),
    ("api.md", r"or (\d+) at once", NGINX, r"limit_conn connections (\d+)"),
    ("operations.md", r"exceeds (\d+) requests a second", NGINX, r"rate=(\d+)r/s"),
    ("operations.md", r"near ([\d,]+) per CPU", NGINX, r"worker_connections +(\d+)"),
    ("operations.md", r"above (\d+) % CPU", ".ebextensions/30-scaling.config", r"old: (\d+)"),
    ("operations.md", r"_TIMEOUT` \((\d+) min", "deploy/base/settings.py", r'"DEPLOY\w+", "(\d+)"'),
    (
        "operations.md",
        r"stdouterr.log` \| (\d+)",
        ".ebextensions/60-monitoring.config",
        r"Days: (\d+)",
    ),
    ("deployment.md", r"newest (\d+) versions", "deploy/delivery/prune.py", r"KEPT = (\d+)"),
    ("recovery.md", r"point in the last (\d+) days", DATABASE, r"RetentionPeriod: (\d+)"),
    ("remove.md", r"expire, after (\d+) days", DATABASE, r"RetentionPeriod: (\d+)"),
    ("recovery.md", r"are kept\s+\((\d+) days", "devops/environments.toml", r"HomeDays = (\d+)"),
    ("recovery.md", r"alarm fires after (\d+)", "deploy/resources/backups.py", r"hours=(\d+)"),
]


@pytest.mark.parametrize(("document", "claim", "file", "setting"), NUMBERS)
def test_a_number_is_that_of_its_source(document, claim, file, setting):
    claimed = re.search(claim, DOCUMENTS[document])
    source = re.search(setting, Path(file).read_text())
    assert claimed, claim
    assert source, setting
    assert claimed[1].replace(",", "") == source[1]


def test_the_changelog_begins_with_the_version_of_the_api():
    versions = re.findall(r"^## (\S+)", Path("CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == VERSION
    assert len(set(versions)) == len(versions)


def test_the_layout_lists_the_folders_that_exist():
    layout = README.split("\n## Layout\n")[1].split("\n## ")[0]
    names = re.findall(r"^    (\S+)  ", layout, re.MULTILINE)
    assert len(names) > 8
    for name in names:
        assert Path(name).exists(), name


def test_every_dependency_has_its_reason():
    wanted = [
        line
        for file in Path("requirements").glob("*.in")
        for line in file.read_text().splitlines()
        if line and line[0] not in "#-"
    ]
    assert len(wanted) > 40
    for line in wanted:
        assert re.fullmatch(r"\S+  # \S.{8,}", line), line


def test_the_commands_of_the_recovery_page_are_those_of_the_rehearsal():
    from tests.rehearsal import home

    commands = re.findall(
        r"^ {4,}(?=\S*(?:scripts/|aws|export|AWS_REGION=))(.*)$", DOCUMENTS["recovery.md"], re.M
    )
    assert len(commands) >= 10
    assert set(commands) == set(home.COMMANDS.values())
