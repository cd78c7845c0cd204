"""Writes that are stopped and allowed again, from whatever state, and after each interruption."""

import hashlib

import pytest

from deploy.base.errors import Unhealthy
from deploy.delivery import smoke
from tests.support.aws import OUTPUTS, PROD, records

APPLICATION = OUTPUTS[PROD]["ApplicationSecret"]
NAMESPACE = "aws:elasticbeanstalk:application:environmentsecrets"
SMOKE, CALLER = (hashlib.sha256(key).hexdigest() for key in (b"K3y", b"caller"))
OPTION = {"Namespace": NAMESPACE, "OptionName": "API_KEYS", "Value": f"{APPLICATION}:API_KEYS"}


@pytest.fixture
def vault(aws, staging):
    aws.secrets[APPLICATION] = {"TOKEN": "a value"}
    return aws.secrets


@pytest.fixture
def refused(monkeypatch):
    """What a write without a key is answered with, and which environments were asked."""
    asked, answers = [], [401]

    def refuse_writes(run, environment, proof):
        asked.append((environment.name, hashlib.sha256(proof.encode()).hexdigest()))
        if answers[-1] != 401:
            raise Unhealthy("smoke test: every instance has the new keys: FAILED: answered 204")

    monkeypatch.setattr(smoke, "refuse_writes", refuse_writes)
    refuse_writes.asked, refuse_writes.answers = asked, answers
    return refuse_writes


def stopped(vault, before=""):
    """The secret while writes are stopped, with the digest of the key by which that is verified."""
    smoke_test, _, proof = vault[APPLICATION]["API_KEYS"].partition(",")
    assert (smoke_test, len(proof)) == (SMOKE, len(SMOKE))
    assert vault[APPLICATION]["API_KEYS_BEFORE"] == before
    return proof


def options(aws):
    return [one for one in aws.environments[PROD]["options"] if one["OptionName"] == "API_KEYS"]


def test_writes_are_stopped_and_allowed_again_without_api_keys(
    aws, vault, programs, command, refused, tested
):
    code, output = command("writes", "stop", "prod")
    assert code == 0, output
    assert refused.asked == [(PROD, stopped(vault))]
    assert options(aws) == [OPTION]
    assert "build_and_deploy.sh writes allow prod" in output
    assert not programs.calls("eb deploy")  # changed options reach the containers by themselves
    code, output = command("writes", "allow", "prod")
    assert code == 0, output
    assert vault[APPLICATION] == {"TOKEN": "a value"}
    assert options(aws) == []
    assert [key for _, key, _ in tested.calls] == [""]  # which proves that none is needed
    assert not aws.asked("s3:DeleteObject")[2:]  # one lock for each


def test_allowing_writes_restores_the_keys_of_callers(aws, vault, programs, command, refused):
    aws.environments[PROD]["options"] = [OPTION]
    vault[APPLICATION]["API_KEYS"] = f"{CALLER},{SMOKE}"
    command("writes", "stop", "prod")
    assert refused.asked == [(PROD, stopped(vault, f"{CALLER},{SMOKE}"))]
    assert len(programs.calls("eb deploy")) == 1
    code, output = command("writes", "allow", "prod")
    assert code == 0, output
    assert vault[APPLICATION] == {"TOKEN": "a value", "API_KEYS": f"{CALLER},{SMOKE}"}
    assert options(aws) == [OPTION]
    assert len(programs.calls("eb deploy")) == 2


def test_an_instance_that_still_accepts_writes_is_a_failure(aws, vault, command, fails, refused):
    refused.answers.append(204)
    output = fails("writes", "stop", "prod")
    assert "every instance has the new keys: FAILED" in output
    assert "now: the keys are replaced, but instances may still accept writes" in output
    refused.answers.append(401)
    assert command("writes", "stop", "prod")[0] == 0
    assert [proof for _, proof in refused.asked][1:] == [stopped(vault)]


def test_an_interrupted_stop_is_continued(aws, vault, command, fails, refused):
    aws.fail("elasticbeanstalk:UpdateEnvironment", times=1)
    fails("writes", "stop", "prod")
    assert command("writes", "stop", "prod")[0] == 0
    assert options(aws) == [OPTION]


def test_an_interrupted_allow_is_continued(aws, vault, command, fails, refused):
    command("writes", "stop", "prod")
    aws.fail("secretsmanager:PutSecretValue", times=1)
    fails("writes", "allow", "prod")
    code, output = command("writes", "allow", "prod")
    assert code == 0, output
    assert vault[APPLICATION] == {"TOKEN": "a value"}


def test_an_interrupted_allow_can_be_stopped_again(aws, vault, programs, command, fails, refused):
    aws.environments[PROD]["options"] = [OPTION]
    vault[APPLICATION]["API_KEYS"] = CALLER
    command("writes", "stop", "prod")
    programs.codes["eb deploy"] = 4
    fails("writes", "allow", "prod")
    assert vault[APPLICATION]["API_KEYS"] == CALLER
    programs.codes.clear()
    assert command("writes", "stop", "prod")[0] == 0
    assert refused.asked[-1] == (PROD, stopped(vault, CALLER))


def test_options_that_aws_reverts_are_a_failure(aws, vault, fails, refused):
    update = aws.elasticbeanstalk_update_environment

    def revert(**parameters):
        aws.tell(PROD, "The secret has no key API_KEYS.", "ERROR")
        return update(**parameters)

    aws.elasticbeanstalk_update_environment = revert
    assert "did not accept the settings: The secret has" in fails("writes", "stop", "prod")
    assert not refused.asked


def test_allowing_writes_that_were_not_stopped_changes_nothing(aws, vault, command):
    code, output = command("writes", "allow", "prod")
    assert code == 0
    assert f"writes to {PROD} are not stopped" in output
    assert not aws.asked("secretsmanager:PutSecretValue")


def test_keys_under_another_name_are_not_taken_for_none(aws, vault, project, fails):
    named(project, '"{ApplicationSecret}:KEYS"')
    vault[APPLICATION]["KEYS"] = CALLER
    output = fails("writes", "stop", "prod")
    assert f"API_KEYS of {PROD} are stored as KEYS" in output
    assert 'API_KEYS = "{ApplicationSecret}:API_KEYS"; then' in output
    assert not aws.asked("secretsmanager:PutSecretValue")


def named(project, place):
    """Name the keys in devops/environments.toml."""
    path = project / "devops/environments.toml"
    table = f'[all."{NAMESPACE}"]\n'
    path.write_text(path.read_text().replace(table, f"{table}API_KEYS = {place}\n"))


def test_keys_are_not_set_while_writes_are_stopped(vault, command, fails, refused, monkeypatch):
    command("writes", "stop", "prod")
    monkeypatch.setattr("deploy.commands.cli.arguments.ask_for", lambda _: CALLER)
    assert "writes allow prod" in fails("secrets", "set", "prod", "API_KEYS")
    stopped(vault)


def held(aws):
    aws.s3_put_object(records(), f"locks/{PROD}", b"somebody@else, process 1")
    return "somebody@else, process 1"


def stuck(aws):
    name = f"awseb-{aws.environments[PROD]['id']}-stack"
    aws.stacks[name] = {"status": "UPDATE_ROLLBACK_FAILED", "outputs": {}}
    return "aws cloudformation continue-update-rollback --stack-name awseb-e-"


@pytest.mark.parametrize("cause", [held, stuck])
@pytest.mark.parametrize(
    "arguments",
    [
        ("writes", "stop", "prod"),
        ("writes", "allow", "prod"),
        ("secrets", "rotate", "prod"),
        ("secrets", "set", "prod", "TOKEN"),
    ],
)
def test_nothing_is_written_that_could_not_be_used(
    aws, vault, fails, monkeypatch, arguments, cause
):
    vault[OUTPUTS[PROD]["DatabaseSecret"]] = {"password": "old-one"}
    vault[APPLICATION]["API_KEYS_BEFORE"] = ""
    aws.environments[PROD]["options"] = [OPTION, OPTION | {"OptionName": "TOKEN"}]
    what = cause(aws)
    monkeypatch.setattr("deploy.commands.cli.arguments.ask_for", lambda _: "another value")
    assert what in fails(*arguments)
    assert not aws.asked("secretsmanager:PutSecretValue")


def test_a_dry_run_stops_nothing(aws, vault, command, refused):
    code, output = command("writes", "stop", "prod", "--dry-run")
    assert code == 0, output
    assert "+ aws secretsmanager put-secret-value" in output
    assert "+ aws elasticbeanstalk update-environment" in output
    assert vault[APPLICATION] == {"TOKEN": "a value"}
    assert not refused.asked
