"""Environments from nothing, and their settings."""

import re
import subprocess
import urllib.error
import urllib.request

import pytest

from tests.rehearsal.project import replace
from tests.rehearsal.waiting import limit
from tests.rehearsal.world import ENVIRONMENTS, in_the_container
from tests.support.aws import APPLICATION

PROPERTIES = "aws:elasticbeanstalk:application:environment"


def test_environments_are_created_from_nothing_and_a_repetition_changes_nothing(
    world, created, base, seen
):
    label, staging, prod, seconds = created
    assert "in all about 29 min" in staging
    assert "is published" in staging
    assert "docker build" not in prod
    for name in ENVIRONMENTS:
        environment = world.environment(name)
        for instance in environment.instances:
            assert set(instance.agent()) == {"logs", "metrics"}
        assert environment.database.properties["StorageEncrypted"] is True
        warnings = [one["Message"] for one in environment.events if one["Severity"] == "WARN"]
        assert not warnings
        assert world.runs(name) == label
    staging, prod = (world.environment(name) for name in ENVIRONMENTS)
    assert staging.database.properties["MultiAZ"] == "false"
    assert prod.database.properties["MultiAZ"] == "true"
    passwords = {one.database.properties["MasterUserPassword"] for one in (staging, prod)}
    assert len(passwords) == 2
    printed = world.project.script("create", "staging")
    assert f"the stack {APPLICATION}-staging is up to date" in printed
    assert "create_environment" not in world.beanstalk.calls
    seen(f"both created from nothing in {seconds:.0f} s")


def test_options_events_and_output_contain_no_secrets(world, created, base):
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
    command = f"PGPASSWORD={password} psql 'host=127.0.0.1 user=app dbname=app sslmode=disable' -c 'SELECT 1'"
    ended = subprocess.run(
        ["docker", "exec", database.container, "bash", "-c", command],
        capture_output=True,
        text=True,
    )
    assert "no encryption" in ended.stderr


def test_outside_clients_see_neither_operators_paths_nor_the_nginx_version(world, base):
    environment = world.environment("prod")
    url = f"http://{environment.balancer.cname}"
    with urllib.request.urlopen(f"{url}/docs", timeout=limit(10)) as response:
        assert response.headers["Server"] == "nginx"
    request = urllib.request.Request(f"{url}/hello/john%0A")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=limit(10))
    command = "cat /var/log/nginx/access.log /var/log/nginx/error.log /var/log/nginx/healthd/*"
    logs = [instance.run(command) for instance in environment.instances]
    assert '"route":"/hello/<username>"' in "".join(logs)
    assert "SmokeTest" not in "".join(logs)
    for instance in environment.instances:
        health = instance.run("cat /var/log/nginx/healthd/application.log.*")
        assert re.search(r'^\d+\.\d{3}"/hello/<username>"204"\d+\.\d{3}"\d+\.\d{3}"$', health, re.M)


def test_changed_settings_reach_running_instances(world, base):
    staging = world.environment("staging")
    option = (PROPERTIES, "TIME_ZONE")
    world.beanstalk.update_environment(
        staging.name,
        OptionSettings=[
            {"Namespace": option[0], "OptionName": option[1], "Value": "Pacific/Kiritimati"}
        ],
    )
    world.beanstalk.wait(staging.name)
    zones = [in_the_container(one, "TIME_ZONE") for one in staging.instances]
    del staging.direct[option]
    for one in staging.instances:  # Beanstalk has reconfigured the agent in the meantime
        assert set(one.agent()) == {"logs", "metrics"}
    assert zones == ["Pacific/Kiritimati"] * 2
    assert staging.events[-1]["Message"] == "Environment update completed successfully."


def test_settings_that_do_not_work_are_reverted_and_reported(world, base):
    """What the application refuses to start with; for AWS, the environment is as healthy as before."""
    setting = f'[staging."{PROPERTIES}"]\nTHREADS = 0\n\n[staging.stack]'
    edit = replace("devops/environments.toml", "[staging.stack]", setting)
    with world.project.commit(edit):
        printed = world.project.script("create", "staging", fails=True)
    assert f"{APPLICATION}-staging did not accept the settings" in printed
    assert "reverted to the previous configuration" in printed
    assert world.runs("staging") == base


def test_status_shows_the_version_of_each_environment(world, base):
    printed = world.project.script("status")
    for name in ENVIRONMENTS:
        assert f"{APPLICATION}-{name}  Ready  Green/Ok  {base}" in printed
    assert printed.count(f"instances    2 run {base}") == 2
    assert printed.count("alarms       none firing") == 2
    assert "NOT WATCHED" not in printed
    assert "unknown" not in printed
    assert printed.count("NO MESSAGES  team@greetings.test has not confirmed ") == 2
    found = world.project.script("doctor", fails=True)  # nobody here confirms an e-mail
    assert "chief@greetings.test has not confirmed EscalationTopic" in found
    for name in ENVIRONMENTS:
        assert f"\n{APPLICATION}-{name}\n" in found
    assert re.findall("ready +(?:environment|secrets|platform) ", found) == 2 * [
        "ready      environment ",
        "ready      secrets ",
        "ready      platform ",
    ]
    assert not re.findall("^  unknown .*", found, re.MULTILINE)
