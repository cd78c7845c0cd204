"""The secrets of an environment: listed without values, set, and rotated in an order that locks nobody out."""

import hashlib
import io
import sys

import click
import pytest

from deploy.commands import secret_values
from tests.support.aws import OUTPUTS, PROD, STAGING
from web import config

DATABASE = OUTPUTS[STAGING]["DatabaseSecret"]
APPLICATION, SMOKE = OUTPUTS[STAGING]["ApplicationSecret"], OUTPUTS[STAGING]["SmokeTestSecret"]


@pytest.fixture
def vault(aws, staging):
    """The secrets of both environments, which are the same here."""
    aws.secrets |= {
        DATABASE: {"username": "app", "password": "old-one", "next_password": "none"},
        APPLICATION: {},
        SMOKE: {"user": "smoke test", "key": "K3y"},
    }
    return aws.secrets


@pytest.fixture
def steps(aws, programs, vault):
    """The operations that changed something, in order."""
    done = []
    put, modify = aws.secretsmanager_put_secret_value, aws.rds_modify_db_instance

    def write(SecretId, SecretString, **_):
        put(SecretId, SecretString)
        done.append(
            ("write", vault[SecretId].get("password"), vault[SecretId].get("next_password"))
        )

    def change(**parameters):
        modify(**parameters)
        done.append(("change", parameters["MasterUserPassword"]))

    aws.secretsmanager_put_secret_value, aws.rds_modify_db_instance = write, change
    programs.effects["eb deploy"] = lambda: done.append(("deploy",))
    return done


@pytest.fixture
def given(monkeypatch):
    """Puts something on standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_secrets_are_listed_by_name_without_values(vault, command):
    code, printed = command("secrets", "list", "staging")
    assert code == 0
    assert "       RDS_PASSWORD  x/database-AbCdEf, key password\n" in printed
    assert "RDS_NEXT_PASSWORD" in printed
    assert "old-one" not in printed


@pytest.mark.parametrize("lost", ["the key", "the secret"])
def test_missing_secrets_are_reported(vault, command, lost):
    if lost == "the key":
        del vault[DATABASE]["next_password"]
    else:
        del vault[DATABASE]
    code, printed = command("secrets", "list", "staging")
    assert code == 1
    assert "MISSING RDS_NEXT_PASSWORD" in printed
    assert ("MISSING RDS_PASSWORD" in printed) is (lost == "the secret")


@pytest.mark.parametrize("code", ["AccessDeniedException", None])
def test_a_secret_that_cannot_be_read_is_not_missing(aws, vault, fails, code):
    aws.fail("secretsmanager:GetSecretValue", code)
    output = fails("secrets", "list", "staging")
    assert "MISSING" not in output


def test_a_rotation_reaches_every_instance_before_the_database_changes(
    vault, steps, command, tested
):
    code, printed = command("secrets", "rotate", "prod")
    assert code == 0, printed
    assert steps == [
        ("write", "old-one", "new-one"),
        ("deploy",),
        ("change", "new-one"),
        ("write", "new-one", "new-one"),
    ]
    assert [label for *_, label in tested.calls] == ["old", None]
    assert "new-one" not in printed
    assert "old-one" not in printed


def test_each_rotation_creates_another_password(vault, steps, command):
    vault[DATABASE] |= {"password": "older", "next_password": "older"}
    command("secrets", "rotate", "prod")
    assert vault[DATABASE]["password"] == "new-one"


def test_an_interrupted_rotation_is_continued(vault, steps, programs, command, fails):
    programs.codes["eb deploy"] = 4
    output = fails("secrets", "rotate", "prod")
    assert "was already deployed, and does not serve" in output
    assert vault[DATABASE] == {
        "username": "app",
        "password": "old-one",
        "next_password": "new-one",
    }
    programs.codes.clear()
    steps.clear()
    code, printed = command("secrets", "rotate", "prod")
    assert code == 0
    assert "continuing an interrupted rotation" in printed
    assert [kind for kind, *_ in steps] == ["deploy", "change", "write"]


def test_a_failed_smoke_test_after_the_change_keeps_the_new_password(vault, steps, fails, tested):
    tested.broken = {None}
    output = fails("secrets", "rotate", "prod")
    assert "now: the password is changed" in output
    assert vault[DATABASE]["password"] == "new-one"


def test_a_rotation_waits_for_the_database(aws, vault, steps, command):
    states = [("available", {"MasterUserPassword": "****"}), ("modifying", {}), ("available", {})]

    def describe(DBInstanceIdentifier):
        status, pending = states.pop(0) if len(states) > 1 else states[0]
        found = {"DBInstanceStatus": status, "PendingModifiedValues": pending}
        return {"DBInstances": [found]}

    aws.rds_describe_db_instances = describe
    code, printed = command("secrets", "rotate", "prod")
    assert code == 0
    assert len(states) == 1
    assert f"the database {PROD} is available: its password is pending" in printed


def test_a_database_that_stays_modifying_is_a_failure(aws, vault, steps, fails):
    aws.rds_describe_db_instances = lambda DBInstanceIdentifier: {
        "DBInstances": [{"DBInstanceStatus": "modifying"}]
    }
    output = fails("secrets", "rotate", "prod")
    assert "is still modifying after 1800 s" in output
    assert "now: the database has either password, and every instance knows both" in output
    assert vault[DATABASE]["password"] == "old-one"


def test_a_missing_password_is_a_failure(vault, fails):
    del vault[DATABASE]
    assert "restore it in Secrets Manager" in fails("secrets", "rotate", "prod")


def test_a_secret_is_set_from_standard_input(vault, steps, command, given):
    given("a value\n")
    code, printed = command("secrets", "set", "staging", "TOKEN")
    assert code == 0
    assert vault[APPLICATION] == {"TOKEN": "a value"}
    assert "a value" not in printed
    assert 'TOKEN = "{ApplicationSecret}:TOKEN"' in printed
    assert ("deploy",) not in steps


def test_a_dry_run_neither_sets_nor_shows_the_secret(vault, command, given):
    given("a value\n")
    code, printed = command("secrets", "set", "staging", "TOKEN", "--dry-run")
    assert code == 0
    assert vault[APPLICATION] == {}
    assert f"+ aws secretsmanager put-secret-value --secret-id {APPLICATION}" in printed
    assert "a value" not in printed
    assert "is set" not in printed


def test_a_dry_run_of_a_rotation_does_not_claim_success(aws, vault, command):
    code, printed = command("secrets", "rotate", "prod", "--dry-run")
    assert code == 0, printed
    assert "has a new password" not in printed
    assert "is stored" not in printed
    assert "+ aws rds modify-db-instance" in printed
    assert "new-one" not in printed
    assert vault[DATABASE]["password"] == "old-one"
    assert not aws.databases


@pytest.mark.parametrize("text", ["a secret that is not JSON", '["a secret"]'])
def test_an_invalid_secret_is_not_shown(aws, vault, fails, given, text):
    aws.secretsmanager_get_secret_value = lambda SecretId: {"SecretString": text}
    output = fails("secrets", "list", "staging")
    assert "is not a JSON object" in output
    assert text not in output


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("text", [digest("a"), f"{digest('a').upper()}, {digest('K3y')}\n"])
def test_the_api_keys_include_the_key_of_the_smoke_test(vault, command, given, text):
    given(text)
    code, printed = command("secrets", "set", "prod", "API_KEYS")
    assert code == 0
    assert vault[APPLICATION]["API_KEYS"] == f"{digest('a')},{digest('K3y')}"
    assert "K3y" not in printed


@pytest.mark.parametrize(
    ("text", "what"),
    [
        *(
            (text, "expected SHA-256 digests")
            for text in ("a-key-itself", digest("a")[:-1], f"{digest('a')},x", ",", " , ")
        ),
        (f"{digest('a')},{digest('')}", "the digest of an empty key"),
    ],
)
def test_an_api_key_that_is_not_a_digest_is_refused(vault, fails, given, text, what):
    given(text)
    output = fails("secrets", "set", "prod", "API_KEYS")
    assert what in output
    assert "openssl dgst -sha256" in output
    assert text.strip(", ") not in output or not text.strip(", ")
    assert vault[APPLICATION] == {}


DSN = "https://key@sentry.test/"
NAMESPACE = "aws:elasticbeanstalk:application:environmentsecrets"


@pytest.fixture
def named(project):
    """devops/environments.toml names SENTRY_DSN, and stores it by another name."""
    path = project / "devops/environments.toml"
    table = f'[all."{NAMESPACE}"]\n'
    line = 'SENTRY_DSN = "{ApplicationSecret}:DSN"\n'
    path.write_text(path.read_text().replace(table, f"{table}{line}"))


@pytest.fixture
def used(aws, vault, named):
    """And the containers of staging have it."""
    option = {"Namespace": NAMESPACE, "OptionName": "SENTRY_DSN", "Value": f"{APPLICATION}:DSN"}
    aws.environments[STAGING]["options"] = [option]


def test_the_running_version_is_deployed_again_when_it_uses_the_secret(
    vault, steps, used, command, given
):
    assert "MISSING SENTRY_DSN" in command("secrets", "list", "staging")[1]
    given(f"{DSN}1")
    assert command("secrets", "set", "staging", "SENTRY_DSN")[0] == 0
    assert vault[APPLICATION] == {"DSN": f"{DSN}1"}
    assert steps[-1] == ("deploy",)


@pytest.mark.parametrize("exists", [True, False])
def test_a_secret_that_no_container_has_comes_with_the_next_command(
    aws, vault, steps, named, command, given, exists
):
    if not exists:
        del aws.environments[STAGING]
    given(f"{DSN}1")
    code, printed = command("secrets", "set", "staging", "SENTRY_DSN")
    assert code == 0, printed
    assert 'SENTRY_DSN = "{ApplicationSecret}:DSN"' in printed
    assert "build_and_deploy.sh create staging" in printed
    assert ("deploy",) not in steps


def test_one_command_restores_the_previous_value(vault, programs, used, command, fails, given):
    vault[APPLICATION]["DSN"] = f"{DSN}1"
    programs.codes["eb deploy"] = 4
    for _ in range(2):  # a repetition forgets nothing
        given(f"{DSN}2")
        output = " ".join(fails("secrets", "set", "staging", "SENTRY_DSN").split())
        assert "build_and_deploy.sh secrets set staging SENTRY_DSN --previous" in output
    programs.codes.clear()
    given("a value")
    command("secrets", "set", "staging", "TOKEN")
    code, printed = command("secrets", "set", "staging", "SENTRY_DSN", "--previous")
    assert code == 0, printed
    assert vault[APPLICATION]["DSN"] == f"{DSN}1"
    assert "sentry.test" not in printed


def test_a_restored_value_can_be_deployed_later(vault, programs, used, command, fails):
    vault[APPLICATION] |= {"DSN": f"{DSN}2", "DSN_PREVIOUS": f"{DSN}1"}
    programs.codes["eb deploy"] = 4
    output = fails("secrets", "set", "staging", "SENTRY_DSN", "--previous")
    again = "build_and_deploy.sh deploy staging --version old"
    assert again in output
    programs.codes.clear()
    repeated = fails("secrets", "set", "staging", "SENTRY_DSN", "--previous")
    assert "no other previous value" in repeated
    assert again in repeated
    assert vault[APPLICATION]["DSN"] == f"{DSN}1"
    assert command("deploy", "staging", "--version", "old")[0] == 0


def test_a_first_value_that_fails_can_be_removed(vault, programs, used, fails, given):
    programs.codes["eb deploy"] = 4
    given(f"{DSN}1")
    output = fails("secrets", "set", "staging", "SENTRY_DSN")
    assert "take SENTRY_DSN out of devops/environments.toml, and aws elasticbeanstalk " in output
    assert f"--options-to-remove Namespace={NAMESPACE},OptionName=SENTRY_DSN --region" in output
    assert "--previous" not in output


def test_without_a_previous_value_nothing_can_be_restored(vault, fails):
    output = fails("secrets", "set", "staging", "TOKEN", "--previous")
    assert "TOKEN has no other previous value" in output


DSNS = [
    "https://0123abc@o1.ingest.sentry.io/42",
    "http://k@127.0.0.1:9000/2",
    "https://k@host/path/3",
    "htps//nonsense",
    "https://host/1",
    "https://k@host",
    "https://k@host/",
    "https://k@host/a",
    "https://k@/1",
    "ftp://k@host/1",
    "k@host/1",
    "https://k@host/1 2",
]


@pytest.mark.parametrize("text", DSNS)
def test_a_value_that_the_application_would_refuse_is_refused(vault, command, given, text):
    given(text)
    code, printed = command("secrets", "set", "staging", "SENTRY_DSN")
    try:
        config.read("SENTRY_DSN", {"SENTRY_DSN": text})
        accepted = True
    except config.ConfigError:
        accepted = False
    assert (code == 0) == accepted, printed
    assert (APPLICATION in vault and "SENTRY_DSN" in vault[APPLICATION]) == accepted
    assert text not in printed


def test_each_setting_of_the_application_is_a_secret_or_refused():
    settings = {one.name: one.secret for one in config.SETTINGS}
    settable, refused = set(secret_values.SETTABLE), set(secret_values.SETTINGS)
    rotated = {"RDS_PASSWORD", "RDS_NEXT_PASSWORD"}
    assert settable | refused | rotated == set(settings)
    assert all(settings[name] for name in settable | rotated)
    assert {name for name in refused if settings[name]} == {"DATABASE_URL"}


def test_a_secret_is_set_from_a_prompt(vault, command, monkeypatch):
    stdin = io.StringIO()
    stdin.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", stdin)
    asked = []

    def prompt(text, **how):
        asked.append(how)
        return "a value"

    monkeypatch.setattr(click, "prompt", prompt)
    assert command("secrets", "set", "staging", "TOKEN")[0] == 0
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]
    assert vault[APPLICATION] == {"TOKEN": "a value"}


@pytest.mark.parametrize(
    ("arguments", "text", "what"),
    [
        (["staging", "token"], "x", "is not a valid name of an environment variable"),
        (["staging", "TOKEN"], "\n", "would be empty"),
        (["staging", "TOKEN"], "two\nlines", "has a line break"),
        (["staging", "TIME_ZONE"], "Mars/Base", "is a setting of the application"),
        (["staging", "API_KEYS_BEFORE"], "x", "is not a valid name of an environment variable"),
        (["staging", "TOKEN_PREVIOUS"], "x", "is not a valid name of an environment variable"),
        (["staging", "RDS_PASSWORD"], "x", "secrets rotate staging"),
    ],
)
def test_invalid_names_and_values_are_refused(aws, vault, fails, given, arguments, text, what):
    given(text)
    assert what in fails("secrets", "set", *arguments)
    is_asked_for = arguments == ["staging", "TOKEN"]  # no value for a name that is refused
    assert sys.stdin.read() == ("" if is_asked_for else text)
    assert not aws.asked("secretsmanager:PutSecretValue")


@pytest.mark.parametrize("stack", [f"{STAGING.removesuffix('staging')}foundation", STAGING])
def test_a_missing_stack_is_a_failure(aws, vault, fails, stack):
    del aws.stacks[stack]
    assert f"there is no stack {stack}" in fails("secrets", "list", "staging")


def test_a_rotation_without_an_environment_is_a_failure(aws, vault, fails):
    aws.environments.clear()
    assert f"there is no environment {PROD}" in fails("secrets", "rotate", "prod")
