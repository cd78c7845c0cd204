"""The boundaries between modules: which imports are allowed, and where SQL is.

The check "import rules" runs this file with Python alone, which takes a third of the time of pytest.
"""

import ast
import functools
import re
from pathlib import Path

DATABASE = {"psycopg2", "sqlalchemy", "flask_sqlalchemy", "flask_migrate"}
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE FROM|CREATE|ALTER|DROP)\b\s")


class Module:
    """What a module says: its syntax tree and nodes, and the names that it imports."""

    def __init__(self, path):
        self.tree = ast.parse(path.read_text())
        self.nodes = list(ast.walk(self.tree))
        self.imports = set(self._read_imports())
        self.roots = {name.split(".")[0] for name in self.imports}
        assigned = [node.targets for node in self.tree.body if isinstance(node, ast.Assign)]
        self.globals = {getattr(target, "id", "") for targets in assigned for target in targets}

    def _read_imports(self):
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def read(package):
    """The modules of a package and of its folders, by name."""
    pattern = "**/*.py" if package == "deploy" else "*.py"  # web's other folder has migrations
    names = {path: path.relative_to(package) for path in Path(package).glob(pattern)}
    return {".".join(name.with_suffix("").parts): Module(path) for path, name in names.items()}


def test_birthday_imports_only_the_standard_library():
    assert read("web")["birthday"].roots == {"calendar", "datetime"}


def test_schema_imports_neither_flask_nor_the_database():
    for name in ("schema", "inputs", "clock"):
        assert not read("web")[name].roots & (DATABASE | {"flask", "flask_smorest", "werkzeug"}), (
            name
        )
    imports = read("web")["schema"].imports | read("web")["inputs"].imports
    ours = {name.split(".")[1] for name in imports if name.startswith("web.")}
    assert ours == {"clock", "inputs"}


def test_sql_is_in_storage_only():
    for name, module in read("web").items():
        texts = [str(node.value) for node in module.nodes if isinstance(node, ast.Constant)]
        # The others set connections up, and name no table
        allowed = name in ("storage", "database", "connection")
        assert allowed or not any(map(SQL.search, texts)), name


def test_only_storage_and_the_modules_below_it_use_the_database():
    using = {name for name, module in read("web").items() if module.roots & DATABASE}
    assert using <= {"storage", "database", "connection", "config"}


def test_only_the_factory_imports_the_views():
    views = {f"web.{name}" for name, module in read("web").items() if "blueprint" in module.globals}
    assert views
    assert {name for name, module in read("web").items() if views & module.imports} == {"__init__"}


def test_modules_and_functions_are_short():
    """The limits are far above what is written today: they stop what has grown unnoticed."""
    for folder, name, module in (
        (one, *each) for one in ("web", "deploy") for each in read(one).items()
    ):
        # As Python prints it: what is only wrapped, or a comment, does not count
        lines = ast.unparse(module.tree).count("\n")
        assert lines <= 250, f"{folder}/{name}.py has {lines} lines: move an idea to a module"
        for node in module.nodes:
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                where = f"{node.name} in {folder}/{name}.py"
                assert lines <= 40, f"{where} has {lines} lines: make its steps functions"


# --- The deploy tool ----------------------------------------------------------------------------


def test_aws_and_other_programs_are_called_through_one_module():
    """So that errors are translated, and changes shown, in one place."""
    places = {
        "boto3": {"base.aws"},
        "botocore": {"base.aws", "base.answers"},
        "subprocess": {"base.programs"},
    }
    for library, place in places.items():
        using = {name for name, module in read("deploy").items() if library in module.roots}
        assert using == place, library
    using = {name for name, module in read("deploy").items() if "click" in module.roots}
    assert all(name.startswith("commands.cli.") for name in using), using


def test_a_command_declares_only_its_arguments_and_its_help():
    """What it does is a module of its own, for tests and other commands."""
    for name, module in read("deploy").items():
        found = [node for node in module.nodes if isinstance(node, ast.FunctionDef)]
        for node in found if name.startswith("commands.cli.") else ():
            if any("command(" in ast.unparse(one) for one in node.decorator_list):
                lines = "\n".join(map(ast.unparse, node.body[1:])).count("\n") + 1
                assert lines <= 10, f"{node.name} in {name} has {lines} lines"


def test_only_one_module_waits_for_aws():
    """So that no wait ends at one lost answer, and none continues when there is no hope."""
    using = {
        name
        for name, module in read("deploy").items()
        if any(isinstance(node, ast.Attribute) and node.attr == "sleep" for node in module.nodes)
    }
    # The smoke test waits for the service, and `status --watch` for a reader
    assert using == {"base.waiting", "delivery.smoke", "commands.status_text"}


def test_printed_commands_of_aws_and_eb_are_completed_by_the_settings():
    """They add the region, and the profile: without them, a command works where the shell does."""
    command = re.compile(r"\baws [a-z0-9]+ [a-z]+-(?!.*--region)|\beb (events|logs|terminate)\b")
    for name, module in read("deploy").items():
        texts = [
            "".join(str(getattr(part, "value", "")) for part in getattr(node, "values", [node]))
            for node in module.nodes
            if isinstance(node, (ast.Constant, ast.JoinedStr))
        ]
        texts = [one for one in texts if one != ast.get_docstring(module.tree, clean=False)]
        assert not list(filter(command.search, texts)), name


def imported(module):
    """The modules of the deploy tool that ``module`` imports, by name."""
    names = {name.removeprefix("deploy.") for name in module.imports if name.startswith("deploy.")}
    return names & set(read("deploy"))


def test_the_deploy_tool_imports_downwards_only():
    """From the ground up, as in deploy/__init__.py."""
    layers = ("base", "config", "resources", "delivery", "commands")
    for name, module in read("deploy").items():
        if "." in name:
            own = layers.index(name.split(".")[0])
            above = [one for one in imported(module) if layers.index(one.split(".")[0]) > own]
            assert not above, f"{name} imports {above}: move it up, or what it needs down"


def test_the_modules_of_the_deploy_tool_have_no_circular_imports():
    below = {name: imported(module) for name, module in read("deploy").items()}
    while ready := {name for name, wanted in below.items() if not wanted}:
        below = {name: wanted - ready for name, wanted in below.items() if name not in ready}
    assert not below


def test_the_deploy_tool_does_not_import_the_application():
    for name, module in read("deploy").items():
        assert not {"web", "tools", "tests", "flask"} & module.roots, name


def test_every_failure_says_what_to_do():
    """Each has its three sentences, or is raised where a caller adds how things are."""
    for name, module in read("deploy").items():
        for node in module.nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "Failure",
                "NotFound",
            ):
                whole = len(node.args) == 3 or "next" in {one.arg for one in node.keywords}
                assert whole, f"{name}:{node.lineno}"


# --- The tests ----------------------------------------------------------------------------------


def test_no_test_imports_a_conftest_or_another_test():
    """What tests share is in tests/support, or in a module beside the only ones that share it."""
    statement = re.compile(r"^ *(?:from|import) tests\b[^\n(]*(?:\([^)]*\))?", re.MULTILINE)
    for path in Path("tests").glob("**/*.py"):
        imports = " ".join(statement.findall(path.read_text()))
        assert not re.search(r"\b(conftest|test_\w+)", imports), path


def test_a_conftest_defines_only_fixtures_and_hooks():
    for path in Path("tests").glob("**/conftest.py"):
        for node in Module(path).tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                is_fixture = any("fixture" in ast.unparse(one) for one in node.decorator_list)
                assert is_fixture or node.name.startswith("pytest_"), f"{node.name} in {path}"


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
