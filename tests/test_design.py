"""The boundaries between the application's modules: which imports are allowed, and where SQL is."""

import ast
import re
from pathlib import Path

import pytest

WEB = Path("web")
MODULES = {path.stem: ast.parse(path.read_text()) for path in WEB.glob("*.py")}
DATABASE = {"psycopg2", "sqlalchemy", "flask_sqlalchemy", "flask_migrate"}
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP)\b\s")


def imports(module):
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def roots(module):
    return {name.split(".")[0] for name in imports(module)}


def test_birthday_imports_only_the_standard_library():
    assert roots("birthday") == {"calendar", "datetime"}


def test_schema_imports_neither_flask_nor_the_database():
    for module in ("schema", "clock"):
        assert not roots(module) & (DATABASE | {"flask", "flask_smorest", "werkzeug"})
    assert {name for name in imports("schema") if name.startswith("web")} == {"web", "web.clock"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"storage"}))
def test_sql_is_in_storage_only(module):
    strings = [node.value for node in ast.walk(MODULES[module]) if isinstance(node, ast.Constant)]
    assert not [text for text in strings if isinstance(text, str) and SQL.search(text)]


@pytest.mark.parametrize(
    "module", sorted(set(MODULES) - {"storage", "pool", "connection", "config"})
)
def test_only_storage_and_the_modules_below_it_use_the_database(module):
    assert not roots(module) & DATABASE


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__"}))
def test_only_the_factory_imports_the_views(module):
    assert not {"web.hello", "web.health"} & set(imports(module))


def test_the_application_is_small_and_its_functions_are_short():
    code = "\n".join(ast.unparse(tree) for tree in MODULES.values())  # without comments
    assert sum(bool(line.strip()) for line in code.splitlines()) < 1200
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 30, f"{name}.{node.name}"


def test_every_module_says_what_it_is_for():
    for tree in MODULES.values():
        assert ast.get_docstring(tree)


def test_tests_refuse_a_database_that_is_not_for_tests():
    from tests.conftest import refuse_unless_test

    assert refuse_unless_test("postgresql://me@host/birthday_test")
    for url in (
        "postgresql://me@host/birthday",
        "postgresql://me@host",
        "postgresql://me@host/test_x",
    ):
        with pytest.raises(pytest.UsageError, match="ends in _test"):
            refuse_unless_test(url)


# --- The deploy tool ----------------------------------------------------------------------------

DEPLOY = {path.stem: ast.parse(path.read_text()) for path in Path("deploy").glob("*.py")}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("library", "module"),
    [("boto3", "aws"), ("botocore", "aws"), ("subprocess", "tools"), ("click", "cli")],
)
def test_aws_and_other_programs_are_called_through_one_module(library, module):
    """So that errors are translated, and changes shown, in one place."""
    using = {
        name
        for name, tree in DEPLOY.items()
        if library in {one.split(".")[0] for one in imported(tree)}
    }
    assert using == {module}


def test_the_modules_of_the_deploy_tool_have_no_circular_imports():
    below = {
        name: {one.split(".")[1] for one in imported(tree) if one.startswith("deploy.")}
        & set(DEPLOY)
        for name, tree in DEPLOY.items()
    }
    while ready := {name for name, wanted in below.items() if not wanted}:
        below = {name: wanted - ready for name, wanted in below.items() if name not in ready}
    assert not below


def test_the_deploy_tool_does_not_import_the_application():
    for tree in DEPLOY.values():
        assert not {"web", "tools", "tests", "flask"} & {
            one.split(".")[0] for one in imported(tree)
        }


def test_the_functions_of_the_deploy_tool_are_short():
    for name, tree in DEPLOY.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 38, f"{name}.{node.name}"


def test_a_failure_says_what_to_do():
    """Each has its three sentences, or is raised where a caller adds how things are."""
    for name, tree in DEPLOY.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "Failure",
                "NotFound",
            ):
                assert len(node.args) == 3 or "next" in {one.arg for one in node.keywords}, (
                    name,
                    node.lineno,
                )
