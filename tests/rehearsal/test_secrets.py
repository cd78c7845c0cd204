"""Secrets: listing and setting them, a missing secret, and changing the database password."""

import subprocess


def secrets(world, *arguments, text=""):
    """Run the command, and return its output."""
    return world.project.script("secrets", *arguments, text=text)


def test_the_database_password_can_be_changed(world, base):
    prod = world.environment("prod")
    before = prod.database.properties["MasterUserPassword"]
    printed = secrets(world, "rotate", "prod")
    after = prod.database.properties["MasterUserPassword"]
    assert after != before
    assert before not in printed
    assert after not in printed
    assert world.runs("prod") == base
    command = (
        f"PGPASSWORD={before} psql 'host=127.0.0.1 user=birthday dbname=birthday' -c 'SELECT 1'"
    )
    old = subprocess.run(
        ["docker", "exec", prod.database.container, "bash", "-c", command],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "password authentication failed" in old.stderr
    # Containers started from now on know only the new password
    world.project.script("deploy", "prod", "--version", base)


def test_secrets_are_listed_by_name_and_set_from_standard_input(world, base):
    listed = secrets(world, "list", "staging")
    assert "RDS_PASSWORD  birthday-greetings-staging/database" in listed
    assert world.environment("staging").database.properties["MasterUserPassword"] not in listed
    printed = secrets(world, "set", "staging", "TOKEN", text="a value\n")
    assert "TOKEN of staging is set" in printed
    assert "a value" not in printed
    assert 'TOKEN = "{ApplicationSecret}:TOKEN"' in printed


def test_a_missing_secret_fails_the_deployment(world, base, second):
    client = world.cloud.client("secretsmanager")
    name = "birthday-greetings-staging/database"
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    try:
        printed = world.project.script("deploy", "staging", "--version", second, fails=True)
    finally:
        client.restore_secret(SecretId=name)
    assert "failed to get one or more secrets" in printed
    assert f"still run {base}, and serve" in printed
    assert world.runs("staging") == base
