"""Secrets of an environment: listed without values, set, and rotated in an order that loses nobody."""

import hashlib
import io
import json

import pytest

from scripts import secrets
from tests.infrastructure.conftest import OUTPUTS

DATABASE, APPLICATION = OUTPUTS["DatabaseSecret"], OUTPUTS["ApplicationSecret"]


class NotFound(Exception):
    """Of Secrets Manager."""


class Aws:
    """All clients in one; what was done, in order."""

    class exceptions:
        ResourceNotFoundException = NotFound
        InvalidRequestException = NotFound

    def __init__(self):
        self.values = {
            DATABASE: {"username": "birthday", "password": "old-one", "next_password": "none"},
            APPLICATION: {},
            OUTPUTS["SmokeTestSecret"]: {"user": "smoke test", "key": "K3y"},
        }
        self.done, self.states = [], ["available"]
        self.environments = [{"VersionLabel": "abc-1"}]

    def describe_stacks(self, StackName):
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()]
        return {"Stacks": [{"Outputs": outputs}]}

    def get_secret_value(self, SecretId):
        if SecretId not in self.values:
            raise NotFound
        return {"SecretString": json.dumps(self.values[SecretId])}

    def put_secret_value(self, SecretId, SecretString):
        self.values[SecretId] = json.loads(SecretString)
        self.done.append(("put", self.values[SecretId]))

    def get_random_password(self, PasswordLength, ExcludePunctuation):
        assert PasswordLength == 40
        assert ExcludePunctuation
        return {"RandomPassword": "new-one"}

    def modify_db_instance(self, **parameters):
        self.done.append(("modify", parameters))

    def describe_db_instances(self, DBInstanceIdentifier):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        pending = {"MasterUserPassword": "****"} if state == "pending" else {}
        status = "available" if state == "pending" else state
        return {"DBInstances": [{"DBInstanceStatus": status, "PendingModifiedValues": pending}]}

    def describe_environments(self, **_):
        return {"Environments": self.environments}


@pytest.fixture
def aws(monkeypatch):
    fake = Aws()
    monkeypatch.setattr(secrets.boto3, "client", lambda _: fake)
    monkeypatch.setattr(secrets, "PAUSE", 0)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    def run(command):
        fake.done.append(("run", command[1:]))
        return type("Ended", (), {"returncode": fake.codes.get(command[1], 0)})

    fake.codes = {}
    monkeypatch.setattr(secrets.subprocess, "run", run)
    return fake


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command; its exit code or sentence, and what it printed."""

    def run(*arguments, text="", typed=None):
        monkeypatch.setattr("sys.argv", ["secrets", *arguments])
        stdin = io.StringIO(text)
        stdin.isatty = lambda: typed is not None
        monkeypatch.setattr("sys.stdin", stdin)
        answers = iter(typed or [])
        monkeypatch.setattr(secrets.getpass, "getpass", lambda _: next(answers))
        try:
            secrets.main()
            end = 0
        except SystemExit as exit_:
            end = exit_.code
        return end, capsys.readouterr().out

    return run


def test_names_are_listed_and_no_values(aws, command):
    end, printed = command("list", "staging")
    assert end == 0
    assert "       RDS_PASSWORD  x/database-AbCdEf, key password\n" in printed
    assert "RDS_NEXT_PASSWORD" in printed
    assert "old-one" not in printed


@pytest.mark.parametrize("lost", ["the key", "the secret"])
def test_what_is_missing_is_said(aws, command, lost):
    if lost == "the key":
        del aws.values[DATABASE]["next_password"]
    else:
        del aws.values[DATABASE]
    end, printed = command("list", "staging")
    assert end == 1
    assert "MISSING RDS_NEXT_PASSWORD" in printed
    assert ("MISSING RDS_PASSWORD" in printed) is (lost == "the secret")


def test_a_rotation_lets_everybody_know_before_anything_changes(aws, command):
    end, printed = command("rotate", "prod")
    assert end == 0
    user = {"username": "birthday"}
    assert aws.done == [
        ("put", user | {"password": "old-one", "next_password": "new-one"}),
        ("run", ["deploy", "prod", "--version", "abc-1"]),
        ("modify", {"DBInstanceIdentifier": "birthday-greetings-prod",
                    "MasterUserPassword": "new-one", "ApplyImmediately": True}),
        ("put", user | {"password": "new-one", "next_password": "new-one"}),
        ("run", ["smoke", "prod"]),
    ]  # fmt: skip
    assert "new-one" not in printed


def test_the_next_rotation_makes_another_one(aws, command):
    aws.values[DATABASE] |= {"password": "older", "next_password": "older"}
    command("rotate", "prod")
    assert aws.values[DATABASE]["password"] == "new-one"


def test_a_rotation_that_did_not_end_is_continued(aws, command):
    aws.codes = {"deploy": 1}
    end, _ = command("rotate", "prod")
    assert "what runs was not renewed" in end
    assert [kind for kind, _ in aws.done] == ["put", "run"]
    aws.codes = {}
    aws.done.clear()
    end, printed = command("rotate", "prod")
    assert end == 0
    assert "going on with a rotation that did not end" in printed
    assert [kind for kind, _ in aws.done] == ["run", "modify", "put", "run"]


def test_a_smoke_test_that_fails_after_the_change_is_no_reason_for_another_rotation(aws, command):
    aws.codes = {"smoke": 1}
    end, _ = command("rotate", "prod")
    assert "the password is changed, but the smoke test failed" in end
    assert "scripts/build_and_deploy.sh smoke prod" in end
    assert aws.values[DATABASE]["password"] == "new-one"


def test_the_database_is_waited_for(aws, command):
    aws.states = ["pending", "modifying", "available"]
    end, _ = command("rotate", "prod")
    assert end == 0
    assert aws.states == ["available"]


def test_a_database_that_does_not_end_changing(aws, command, monkeypatch):
    monkeypatch.setattr(secrets, "PATIENCE", 0)
    aws.states = ["modifying"]
    end, _ = command("rotate", "prod")
    assert "is still modifying" in end
    assert "run it again: it goes on" in end
    assert aws.values[DATABASE]["password"] == "old-one"


def test_a_secret_is_set_from_standard_input(aws, command):
    end, printed = command("set", "staging", "TOKEN", text="a value\n")
    assert end == 0
    assert aws.values[APPLICATION] == {"TOKEN": "a value"}
    assert "a value" not in printed
    assert 'TOKEN = "{ApplicationSecret}:TOKEN"' in printed
    assert not [one for kind, one in aws.done if kind == "run"]


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("given", [digest("a"), f"{digest('a').upper()}, {digest('K3y')}\n"])
def test_the_keys_for_writing_include_that_of_the_smoke_test(aws, command, given):
    end, printed = command("set", "prod", "API_KEYS", text=given)
    assert end == 0
    assert aws.values[APPLICATION]["API_KEYS"] == f"{digest('a')},{digest('K3y')}"
    assert "K3y" not in printed


@pytest.mark.parametrize("given", ["a-key-itself", digest("a")[:-1], f"{digest('a')},x"])
def test_what_is_not_a_digest_is_refused(aws, command, given):
    end, printed = command("set", "prod", "API_KEYS", text=given)
    assert "not SHA-256 digests" in end
    assert "openssl dgst -sha256" in end
    assert given not in printed + end
    assert aws.values[APPLICATION] == {}


def test_what_runs_is_renewed_when_it_knows_the_secret(aws, command, monkeypatch, tmp_path):
    text = secrets.environments.FILE.read_text()
    table = '"aws:elasticbeanstalk:application:environmentsecrets"]\n'
    changed = text.replace(table, f'{table}TOKEN = "{{ApplicationSecret}}:TOKEN"\n')
    (tmp_path / "environments.toml").write_text(changed)
    monkeypatch.setattr(secrets.environments, "FILE", tmp_path / "environments.toml")
    assert "MISSING TOKEN" in command("list", "staging")[1]
    command("set", "staging", "TOKEN", text="a value")
    assert aws.done[-1] == ("run", ["deploy", "staging", "--version", "abc-1"])


def test_a_secret_is_set_from_a_prompt_twice(aws, command):
    command("set", "staging", "TOKEN", typed=["a value", "a value"])
    assert aws.values[APPLICATION] == {"TOKEN": "a value"}
    end, _ = command("set", "staging", "TOKEN", typed=["a value", "another"])
    assert "two different values" in end


@pytest.mark.parametrize(
    ("arguments", "text", "what"),
    [
        (["set", "staging", "token"], "x", "no name of an environment variable"),
        (["set", "staging", "TOKEN"], "\n", "would be empty"),
        (["set", "staging", "RDS_PASSWORD"], "x", "is not set by hand"),
        (["set", "nowhere", "TOKEN"], "x", "There are: staging, prod"),
        (["rotate"], "", "Usage"),
        (["set", "staging", "TOKEN", "a value"], "", "Usage"),
    ],
)
def test_what_is_refused(aws, command, arguments, text, what):
    end, _ = command(*arguments, text=text)
    assert what in end
    assert not aws.done


def test_an_environment_that_is_not_there(aws, command):
    aws.environments = []
    end, _ = command("rotate", "prod")
    assert "there is no environment prod" in end


def test_a_password_that_is_not_there(aws, command):
    del aws.values[DATABASE]
    end, _ = command("rotate", "prod")
    assert "restore it in Secrets Manager" in end
