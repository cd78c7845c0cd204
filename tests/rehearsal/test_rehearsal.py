"""The unmodified deploy script, from the first environment to the worst day."""

import contextlib
import os
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

from tests.rehearsal.load import Load

MIGRATION = '''"""A column that the version before does not know."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    """Add it."""
    op.add_column("person", sa.Column("note", sa.Text(), nullable=True))
'''


def replace(name, old, new):
    """An edit: ``new`` in place of ``old`` in a file."""

    def edit(folder):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


@pytest.fixture(scope="session")
def second(world, created):
    """A second version, with a migration that the first one does not know."""

    def edit(folder):
        (folder / "web/migrations/versions/0002_note.py").write_text(MIGRATION)
        world.project.git("add", "--all")

    return world.project.build(edit)


@pytest.fixture
def no_checks(tmp_path):
    """A `make` that finds everything in order, for the scenarios that are not about the checks."""
    (tmp_path / "make").write_text("#!/bin/sh\n")
    (tmp_path / "make").chmod(0o755)
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


@contextlib.contextmanager
def stalled(world):
    """AWS begins deployments and does not go on with them."""
    world.beanstalk.stalled = True
    try:
        yield
    finally:
        world.beanstalk.stalled = False


def column(world, name):
    rows = world.environment(name).database.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'person'"
    )
    return "note" in rows


def test_environments_from_nothing_and_again(world, created, base, seen):
    label, staging, prod, seconds = created
    assert "is published" in staging
    assert "docker build" not in prod
    for name in ("staging", "prod"):
        environment = world.environment(name)
        assert environment.database.properties["StorageEncrypted"] is True
        warnings = [one["Message"] for one in environment.events if one["Severity"] == "WARN"]
        assert not warnings
        assert world.runs(name) == label
    staging, prod = (world.environment(name) for name in ("staging", "prod"))
    assert staging.database.properties["MultiAZ"] == "false"
    assert prod.database.properties["MultiAZ"] == "true"
    passwords = {one.database.properties["MasterUserPassword"] for one in (staging, prod)}
    assert len(passwords) == 2
    world.project.script("create", "staging")
    assert "create_environment" not in world.beanstalk.calls
    seen(f"both from nothing in {seconds:.0f} s")


def test_nothing_secret_is_in_options_events_or_output(world, created, base):
    _, *outputs, _ = created
    for name in ("staging", "prod"):
        environment = world.environment(name)
        password = environment.database.properties["MasterUserPassword"]
        assert len(password) == 40
        shown = f"{environment.direct} {environment.release.options} {environment.events} {outputs}"
        assert password not in shown


def test_a_database_connection_without_tls_is_refused(world, base):
    database = world.environment("staging").database
    password = database.properties["MasterUserPassword"]
    command = f"PGPASSWORD={password} psql 'host={database.host} user=birthday dbname=birthday sslmode=disable' -c 'SELECT 1'"
    ended = subprocess.run(
        ["docker", "exec", database.container, "bash", "-c", command],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "no encryption" in ended.stderr


def test_the_outside_world_sees_no_operators_paths_and_no_versions_of_nginx(world, base):
    environment = world.environment("prod")
    url = f"http://{environment.balancer.cname}"
    with urllib.request.urlopen(f"{url}/docs", timeout=10) as response:
        assert response.headers["Server"] == "nginx"
    request = urllib.request.Request(f"{url}/hello/john%0A")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=10)
    command = "cat /var/log/nginx/access.log /var/log/nginx/error.log"
    logs = [instance.run(command) for instance in environment.instances]
    assert '"route":"/hello/<username>"' in "".join(logs)
    assert "SmokeTest" not in "".join(logs)
    for instance, log in zip(environment.instances, logs, strict=True):
        assert "healthd" not in log
        assert instance.run("wc -l </var/log/nginx/healthd/application.log").strip() != "0"


def test_the_whole_way_with_a_migration_while_people_use_it(world, base, seen):
    def edit(folder):
        (folder / "web/migrations/versions/0002_note.py").write_text(MIGRATION)
        world.project.git("add", "--all")

    project = world.project
    edit(project.folder)
    project.git("commit", "--quiet", "--no-verify", "--message", "Add a column")
    staging, prod = (world.environment(name) for name in ("staging", "prod"))
    try:
        with Load(staging, "S") as at_staging, Load(prod, "P") as at_prod:
            printed = project.script(BUILD_NUMBER="whole.way")
    finally:
        project.git("reset", "--quiet", "--hard", "HEAD~1")
    label = printed.split("deploy: version ")[1].split()[0]
    assert label.endswith("-whole.way")
    assert printed.count("docker build") == 1
    assert world.runs("staging") == world.runs("prod") == label
    assert column(world, "staging")
    assert column(world, "prod")
    seen(f"staging: {at_staging.check()}; prod: {at_prod.check()}")


def test_a_rolling_deployment_while_people_use_it(world, base, second, seen):
    staging = world.environment("staging")
    staging.direct["aws:elasticbeanstalk:command", "DeploymentPolicy"] = (
        "RollingWithAdditionalBatch"
    )
    with Load(staging, "R") as load:
        world.project.script("deploy", "staging", "--version", second)
    assert world.runs("staging") == second
    seen(load.check())


def test_a_rollback_to_an_image_that_is_older_than_the_database(world, base, second, seen):
    world.project.script("deploy", "prod", "--version", second)
    assert column(world, "prod")
    with Load(world.environment("prod"), "B") as load:
        printed = world.project.script("rollback", "prod")
    assert f"from {second} to {base}" in printed
    assert world.runs("prod") == base
    assert column(world, "prod")
    seen(load.check())


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        pytest.param(
            replace("web/__main__.py", '"""', 'raise SystemExit("broken")\n"""'),
            "quit unexpectedly",
            id="the image crashes",
        ),
        pytest.param(
            replace(".platform/hooks/predeploy/10_migrate.sh", "set -euo", "exit 7\nset -euo"),
            "Command failed",
            id="a hook fails",
        ),
        pytest.param(
            replace("web/health.py", '"/readyz"', '"/ready"'),
            "is not healthy",
            id="it is not healthy",
        ),
        pytest.param(
            replace(".ebextensions/40-database.config", "DBName: birthday", "DBName: other"),
            "requires replacing",
            id="it would replace the database",
        ),
    ],
)
def test_a_version_that_cannot_be_deployed(world, base, no_checks, edit, reason, seen):
    project, staging = world.project, world.environment("staging")
    edit(project.folder)
    project.git("commit", "--quiet", "--all", "--no-verify", "--message", "A mistake")
    world.beanstalk.calls.clear()
    try:
        with Load(staging, "F") as load:
            printed = project.script(check=False, **no_checks)
    finally:
        project.git("reset", "--quiet", "--hard", "HEAD~1")
    assert reason in printed
    assert f"all instances of {staging.name} still run {base}, and serve" in printed
    assert world.runs("staging") == world.runs("prod") == base
    assert world.beanstalk.calls.count("update_environment") == 1
    seen(load.check())


def test_a_secret_that_is_missing(world, base, second):
    secrets = world.cloud.client("secretsmanager")
    name = "birthday-greetings-staging/database"
    secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    try:
        printed = world.project.script("deploy", "staging", "--version", second, check=False)
    finally:
        secrets.restore_secret(SecretId=name)
    assert "failed to get one or more secrets" in printed
    assert f"still run {base}, and serve" in printed
    assert world.runs("staging") == base


def test_a_version_that_is_healthy_and_wrong(world, base, no_checks, seen):
    project, staging = world.project, world.environment("staging")
    replace("web/birthday.py", "Your birthday is", "Your day is")(project.folder)
    project.git("commit", "--quiet", "--all", "--no-verify", "--message", "A mistake")
    try:
        with Load(staging, "W") as load:
            printed = project.script(check=False, **no_checks)
    finally:
        project.git("reset", "--quiet", "--hard", "HEAD~1")
    assert "a birthday is saved and greeted: FAILED" in printed
    assert "failed in staging and was rolled back" in printed
    assert f"{staging.name} runs {base}, and serves" in printed
    assert world.runs("staging") == world.runs("prod") == base
    seen(load.check())


def test_a_version_is_never_published_twice(world, base):
    number = base.partition("-")[2]
    printed = world.project.script("build", BUILD_NUMBER=number, check=False)
    assert f"version {base} exists, and is never replaced" in printed
    assert "docker build" not in printed


def test_a_build_that_did_not_end_is_continued(world, base):
    world.beanstalk.denied = {"create_application_version"}
    try:
        printed = world.project.script("build", BUILD_NUMBER="unfinished", check=False)
    finally:
        world.beanstalk.denied = set()
    assert "its image is published, nothing is deployed" in printed
    printed = world.project.script("build", BUILD_NUMBER="unfinished")
    assert "is published already" in printed
    assert "docker build" not in printed


def test_an_environment_that_is_busy_is_waited_for(world, base, second):
    staging = world.environment("staging")
    with stalled(world):
        world.beanstalk.update_environment(staging.name, VersionLabel=base)
        release = threading.Timer(3, lambda: setattr(world.beanstalk, "stalled", False))
        release.start()
        printed = world.project.script("deploy", "staging", "--version", second)
    release.join()
    assert "is Updating; waiting until it is Ready" in printed
    assert world.runs("staging") == second


def test_a_deployment_that_does_not_end_is_stopped(world, base, second):
    with stalled(world):
        printed = world.project.script(
            "deploy", "staging", "--version", second, check=False, DEPLOY_TIMEOUT="1"
        )
    assert "eb deploy ended with exit code 4" in printed
    assert "stopping what it does" in printed
    assert f"still run {base}, and serve" in printed
    assert world.runs("staging") == base


def test_a_registry_that_refuses_the_login(world, base):
    world.cloud.login_password = "wrong"
    try:
        printed = world.project.script("build", BUILD_NUMBER="refused", check=False)
    finally:
        world.cloud.login_password = "123456789012-auth-token"
    assert "refuses the login" in printed
    assert "nothing was published" in printed


def test_a_permission_that_is_missing(world, base, second):
    world.beanstalk.denied = {"update_environment"}
    try:
        printed = world.project.script("deploy", "staging", "--version", second, check=False)
    finally:
        world.beanstalk.denied = set()
    assert "not authorized to perform: elasticbeanstalk:update_environment" in printed
    assert f"still run {base}, and serve" in printed
    assert world.runs("staging") == base


def test_two_runs_at_once(world, base, second):
    project = world.project
    with stalled(world):
        first = begin(world, "deploy", "staging", "--version", second)
        wait_for_call(world, "update_environment")
        printed = project.script("deploy", "staging", "--version", base, check=False)
    assert "another run is at work on birthday-greetings-staging" in printed
    assert "nothing was changed by this run" in printed
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output
    assert world.runs("staging") == second


def test_a_run_that_is_interrupted_can_be_repeated(world, base, second):
    with stalled(world):
        first = begin(world, "deploy", "staging", "--version", second)
        wait_for_call(world, "update_environment")
        began = time.monotonic()
        first.send_signal(signal.SIGTERM)
        output, _ = first.communicate(timeout=30)
        assert time.monotonic() - began < 10
    assert first.returncode == 130
    assert "What AWS has begun, it goes on with" in output
    printed = world.project.script("deploy", "staging", "--version", second)
    assert f"runs {second}" in printed
    assert world.runs("staging") == second


def test_a_dry_run_changes_nothing(world, base, no_checks):
    printed = world.project.script("--dry-run", **no_checks)
    for command in ("docker build", "docker push", "eb appversion", "eb deploy"):
        assert f"+ {command}" in printed
    assert world.beanstalk.calls == []
    assert world.runs("staging") == world.runs("prod") == base


def test_changed_settings_reach_running_instances(world, base, seen):
    staging = world.environment("staging")
    option = ("aws:elasticbeanstalk:application:environment", "TIME_ZONE")
    with Load(staging, "C") as load:
        world.beanstalk.update_environment(
            staging.name,
            OptionSettings=[
                {"Namespace": option[0], "OptionName": option[1], "Value": "Pacific/Kiritimati"}
            ],
        )
        world.beanstalk.wait(staging.name)
    environment = [
        subprocess.run(
            ["docker", "exec", one.application, "printenv", "TIME_ZONE"],
            capture_output=True, text=True, check=True,
        ).stdout
        for one in staging.instances
    ]  # fmt: skip
    del staging.direct[option]
    assert environment == ["Pacific/Kiritimati\n"] * 2
    assert staging.events[-1]["Message"] == "Environment update completed successfully."
    seen(load.check())


def test_status_shows_what_runs_where(world, base):
    printed = world.project.script("status")
    assert printed.count(base) == 2
    assert "birthday-greetings-prod" in printed


def begin(world, *arguments):
    return subprocess.Popen(
        ["scripts/build_and_deploy.sh", *arguments], cwd=world.project.folder,
        env=world.project.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for_call(world, action):
    deadline = time.monotonic() + 60
    while action not in world.beanstalk.calls:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_another_password_for_the_database_while_people_use_it(world, base, seen):
    prod = world.environment("prod")
    before = prod.database.properties["MasterUserPassword"]
    with Load(prod, "N") as load:
        printed = secrets_command(world, "rotate", "prod")
    after = prod.database.properties["MasterUserPassword"]
    assert after != before
    assert before not in printed
    assert after not in printed
    assert world.runs("prod") == base
    command = f"PGPASSWORD={before} psql 'host={prod.database.host} user=birthday dbname=birthday' -c 'SELECT 1'"
    old = subprocess.run(
        ["docker", "exec", prod.database.container, "bash", "-c", command],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "password authentication failed" in old.stderr
    # Whatever starts from now on knows the new one alone
    world.project.script("deploy", "prod", "--version", base)
    seen(load.check())


def test_secrets_are_listed_by_name_and_set_from_standard_input(world, base):
    listed = secrets_command(world, "list", "staging")
    assert "RDS_PASSWORD  birthday-greetings-staging/database" in listed
    assert world.environment("staging").database.properties["MasterUserPassword"] not in listed
    printed = secrets_command(world, "set", "staging", "TOKEN", text="a value\n")
    assert "TOKEN of staging is set" in printed
    assert "a value" not in printed
    assert 'TOKEN = "{ApplicationSecret}:TOKEN"' in printed


def secrets_command(world, *arguments, text=""):
    ended = subprocess.run(
        [".venv/bin/python", "-m", "scripts.secrets", *arguments], cwd=world.project.folder, input=text,
        env=world.project.environment() | {"AWS_DEFAULT_REGION": "eu-west-1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout
