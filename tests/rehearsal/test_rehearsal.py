"""The unmodified deploy script, from the first environment to the worst day."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from types import SimpleNamespace

import pytest

from tests.rehearsal.beanstalk import Environment
from tests.rehearsal.conftest import ENVIRONMENTS

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
    for name in ENVIRONMENTS:
        environment = world.environment(name)
        assert environment.database.properties["StorageEncrypted"] is True
        warnings = [one["Message"] for one in environment.events if one["Severity"] == "WARN"]
        assert not warnings
        assert world.runs(name) == label
    staging, prod = (world.environment(name) for name in ENVIRONMENTS)
    assert staging.database.properties["MultiAZ"] == "false"
    assert prod.database.properties["MultiAZ"] == "true"
    passwords = {one.database.properties["MasterUserPassword"] for one in (staging, prod)}
    assert len(passwords) == 2
    world.project.script("create", "staging")
    assert "create_environment" not in world.beanstalk.calls
    seen(f"both from nothing in {seconds:.0f} s")


def test_settings_hold_by_their_precedence(world, created):
    """An environment of its own, which has no version and so no machines."""
    health, policy = "aws:elasticbeanstalk:environment:process:default", "HealthCheckPath"
    staging = world.environment("staging")
    other = Environment("other", "x", {}, {}, staging.folder, 99)
    other.release = SimpleNamespace(options={})
    assert other.option(health, policy) == "/"
    other.release = staging.release
    assert other.option(health, policy) == "/readyz"
    world.beanstalk.create_configuration_template(
        "x", "saved", [{"Namespace": health, "OptionName": policy, "Value": "/saved"}]
    )
    other.saved = world.beanstalk.templates["saved"]
    assert other.option(health, policy) == "/saved"
    other.direct[health, policy] = "/direct"
    assert other.option(health, policy) == "/direct"


def test_nothing_secret_is_in_options_events_or_output(world, created, base):
    _, *outputs, _ = created
    for name in ENVIRONMENTS:
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
    command = "cat /var/log/nginx/access.log /var/log/nginx/error.log /var/log/nginx/healthd/*"
    logs = [instance.run(command) for instance in environment.instances]
    assert '"route":"/hello/<username>"' in "".join(logs)
    assert "SmokeTest" not in "".join(logs)
    for instance in environment.instances:
        health = instance.run("cat /var/log/nginx/healthd/application.log.*")
        assert re.search(r'^\d+\.\d{3}"/hello/<username>"204"\d+\.\d{3}"\d+\.\d{3}"$', health, re.M)


def test_the_whole_way_with_a_migration(world, base):
    def edit(folder):
        (folder / "web/migrations/versions/0002_note.py").write_text(MIGRATION)
        world.project.git("add", "--all")

    project = world.project
    edit(project.folder)
    project.git("commit", "--quiet", "--no-verify", "--message", "Add a column")
    try:
        printed = project.script(
            BUILD_NUMBER="whole.way", ARGS="tests/web/test_birthday.py --no-cov"
        )
    finally:
        project.git("reset", "--quiet", "--hard", "HEAD~1")
    label = printed.split("deploy: version ")[1].split()[0]
    assert label.endswith("-whole.way")
    assert printed.count("docker build") == 1
    assert world.runs("staging") == world.runs("prod") == label
    assert column(world, "staging")
    assert column(world, "prod")


@pytest.fixture
def immutable(world, base):
    """Staging, with the other policy that has no downtime."""
    staging = world.environment("staging")
    policy = ("aws:elasticbeanstalk:command", "DeploymentPolicy")
    staging.direct[policy] = "Immutable"
    yield staging
    del staging.direct[policy]


def test_an_immutable_deployment(world, immutable, second):
    world.project.script("deploy", "staging", "--version", second)
    assert world.runs("staging") == second


def in_the_container(instance, name):
    ended = subprocess.run(
        ["docker", "exec", instance.application, "printenv", name],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ended.stdout.strip()


def test_settings_of_a_version_come_with_it(world, base):
    other = replace(".ebextensions/50-application.config", "LOG_LEVEL: INFO", "LOG_LEVEL: WARNING")
    label = world.project.build(other)
    world.project.script("deploy", "staging", "--version", label)
    assert world.runs("staging") == label
    levels = [in_the_container(one, "LOG_LEVEL") for one in world.environment("staging").instances]
    assert levels == ["WARNING"] * 2


def test_a_deployment_that_stops_half_way_leaves_no_mixture(world, base):
    hook, line = ".platform/hooks/predeploy/10_migrate.sh", "set -euo pipefail\n"
    fails_on_the_second = replace(hook, line, f"{line}[ ! -d /var/app/current ] || exit 7\n")
    label = world.project.build(fails_on_the_second)
    printed = world.project.script("deploy", "staging", "--version", label, check=False)
    assert "Command failed on instance" in printed
    assert f"birthday-greetings-staging: rolling back to {base}" in printed
    assert "failed in staging and was rolled back" in printed
    assert world.runs("staging") == base


def test_a_rollback_to_an_image_that_is_older_than_the_database(world, base, second):
    world.project.script("deploy", "prod", "--version", second)
    assert column(world, "prod")
    printed = world.project.script("rollback", "prod")
    assert f"from {second} to {base}" in printed
    assert world.runs("prod") == base
    assert column(world, "prod")


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
def test_a_version_that_cannot_be_deployed(world, base, no_checks, edit, reason):
    project, staging = world.project, world.environment("staging")
    edit(project.folder)
    project.git("commit", "--quiet", "--all", "--no-verify", "--message", "A mistake")
    world.beanstalk.calls.clear()
    try:
        printed = project.script(check=False, **no_checks)
    finally:
        project.git("reset", "--quiet", "--hard", "HEAD~1")
    assert reason in printed
    assert f"all instances of {staging.name} still run {base}, and serve" in printed
    assert world.runs("staging") == world.runs("prod") == base
    assert world.beanstalk.calls.count("update_environment") == 1


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


def test_a_version_that_is_healthy_and_wrong(world, base, no_checks):
    project, staging = world.project, world.environment("staging")
    replace("web/birthday.py", "Your birthday is", "Your day is")(project.folder)
    project.git("commit", "--quiet", "--all", "--no-verify", "--message", "A mistake")
    try:
        printed = project.script(check=False, **no_checks)
    finally:
        project.git("reset", "--quiet", "--hard", "HEAD~1")
    assert "a birthday is saved and greeted: FAILED" in printed
    assert "failed in staging and was rolled back" in printed
    assert f"{staging.name} runs {base}, and serves" in printed
    assert world.runs("staging") == world.runs("prod") == base


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
    assert "is published, no version was created" in printed
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
    assert "is Updating, waiting until it is Ready" in printed
    assert world.runs("staging") == second


def test_a_deployment_that_does_not_end_is_stopped(world, base, second):
    with stalled(world):
        printed = world.project.script(
            "deploy", "staging", "--version", second, check=False, DEPLOY_TIMEOUT="1"
        )
    assert "eb deploy ended with exit code 4" in printed
    assert "stopping the operation" in printed
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
    assert "What was started on AWS continues there" in output
    printed = world.project.script("deploy", "staging", "--version", second)
    assert f"runs {second}" in printed
    assert world.runs("staging") == second


def test_a_dry_run_changes_nothing(world, base, no_checks):
    printed = world.project.script("--dry-run", **no_checks)
    for command in ("docker build", "docker push", "eb appversion", "eb deploy"):
        assert f"+ {command}" in printed
    assert world.beanstalk.calls == []
    assert world.runs("staging") == world.runs("prod") == base


def test_changed_settings_reach_running_instances(world, base):
    staging = world.environment("staging")
    option = ("aws:elasticbeanstalk:application:environment", "TIME_ZONE")
    world.beanstalk.update_environment(
        staging.name,
        OptionSettings=[
            {"Namespace": option[0], "OptionName": option[1], "Value": "Pacific/Kiritimati"}
        ],
    )
    world.beanstalk.wait(staging.name)
    zones = [in_the_container(one, "TIME_ZONE") for one in staging.instances]
    del staging.direct[option]
    assert zones == ["Pacific/Kiritimati"] * 2
    assert staging.events[-1]["Message"] == "Environment update completed successfully."


def test_settings_that_do_not_work_are_taken_back_and_said_so(world, base):
    """What the application refuses to start with; for AWS, the environment is as healthy as before."""
    project, file = world.project, "devops/environments.toml"
    setting = '[staging."aws:elasticbeanstalk:application:environment"]\nTHREADS = 0\n\n'
    replace(file, "[staging.stack]", f"{setting}[staging.stack]")(project.folder)
    try:
        printed = project.script("create", "staging", check=False)
    finally:
        project.git("reset", "--quiet", "--hard", project.base)
    assert "birthday-greetings-staging did not take the settings" in printed
    assert "reverted to the previous configuration" in printed
    assert world.runs("staging") == base


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


def test_another_password_for_the_database(world, base):
    prod = world.environment("prod")
    before = prod.database.properties["MasterUserPassword"]
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
        ["scripts/build_and_deploy.sh", "secrets", *arguments], cwd=world.project.folder, input=text,
        env=world.project.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout
