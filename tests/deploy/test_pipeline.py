"""`bootstrap`: the pipeline and the connection to GitHub."""

import io
from types import SimpleNamespace

import pytest

from tests.support.account import BOOTSTRAP, made
from tests.support.aws import APPLICATION, PROD, PULL_REQUEST_TOKEN, STAGING

FOUNDATION, PIPELINE = f"{APPLICATION}-foundation", f"{APPLICATION}-pipeline"


@pytest.fixture
def authorised(aws):
    """An account in which the connection to GitHub was completed in the console."""
    made(aws, "foundation")
    made(aws, "pipeline")
    aws.secrets[PULL_REQUEST_TOKEN] = {"Token": ""}


def parameters(aws):
    return aws.stacks[PIPELINE]["parameters"]


def test_bootstrap_creates_the_foundation_and_the_pipeline(aws, authorised, command):
    code, output = command(*BOOTSTRAP)
    assert code == 0, output
    assert aws.stacks[FOUNDATION]["parameters"]["EscalationEmail"] == "chief@greetings.test"
    assert parameters(aws)["Connected"] == "true"
    assert parameters(aws)["Repository"] == f"greeters/{APPLICATION}"
    assert parameters(aws)["WindowSchedule"].startswith("cron(")
    assert f"codepipeline/pipelines/{APPLICATION}/view" in output


def test_the_pipeline_may_deploy_to_existing_environments(aws, authorised, command):
    aws.add_environment("prod", "old")
    _, output = command(*BOOTSTRAP)
    assert parameters(aws)["ProductionId"] == aws.environments[PROD]["id"]
    assert parameters(aws)["StagingId"] == "none"
    assert f"there is no environment {STAGING}, so the pipeline may not deploy there" in output
    assert "next: scripts/build_and_deploy.sh create staging, then run this again" in output
    aws.add_environment("staging", "old")
    assert "there is no environment" not in command(*BOOTSTRAP)[1]
    assert parameters(aws)["StagingId"] == aws.environments[STAGING]["id"]


def test_the_parameters_are_those_of_the_template(aws, authorised, command):
    from tests.support import cloudformation

    command(*BOOTSTRAP)
    assert set(parameters(aws)) == set(cloudformation.load("devops/pipeline.yml")["Parameters"])


def test_the_first_run_asks_to_complete_the_connection(aws, command):
    code, output = command(*BOOTSTRAP)
    assert code == 0, output
    assert parameters(aws)["Connected"] == "false"
    assert "there is no pipeline yet: complete the connection to GitHub" in output


def test_a_pending_connection_is_not_connected(aws, authorised, command):
    aws.connection = "PENDING"
    assert command(*BOOTSTRAP)[0] == 0
    assert parameters(aws)["Connected"] == "false"


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", None])
@pytest.mark.parametrize(
    "action",
    [
        "cloudformation:DescribeStacks",
        "elasticbeanstalk:DescribeEnvironments",
        "codeconnections:GetConnection",
        "secretsmanager:GetSecretValue",
    ],
)
def test_a_query_without_a_response_changes_nothing(aws, authorised, fails, action, code):
    """Otherwise the pipeline would be deleted."""
    before = {name: dict(stack) for name, stack in aws.stacks.items()}
    aws.fail(action, code)
    output = fails(*BOOTSTRAP)
    assert action in output
    assert "now: nothing was changed" in output
    assert aws.stacks == before
    assert not aws.asked("cloudformation:CreateChangeSet")


def test_one_lost_response_about_the_pipeline_is_a_failure(aws, authorised, fails):
    """About the pipeline: what is only compared with a quota stops nothing."""
    ours = {"StackName": PIPELINE}
    aws.fail("cloudformation:DescribeStacks", None, times=1, when=lambda asked: asked == ours)
    fails(*BOOTSTRAP)
    assert not aws.asked("cloudformation:CreateChangeSet")


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        (
            "owner.json",
            f"greeters/{APPLICATION}",
            "example/another",
            ": placeholders. Replace",
        ),
        ("owner.json", "{", "", "invalid JSON"),
        ("release_window.toml", "Europe/Berlin", "Europe/Atlantis", "expected a name such as"),
        ("release_window.toml", "[[window]]", "[window", "invalid TOML"),
    ],
)
def test_an_invalid_file_is_refused(aws, authorised, project, fails, name, old, new, what):
    path = project / "devops" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    output = fails(*BOOTSTRAP)
    assert what in output
    assert f"correct devops/{name}" in output
    assert not aws.calls


def test_a_dry_run_shows_what_would_change_and_leaves_nothing(aws, authorised, command):
    before = {name: dict(stack) for name, stack in aws.stacks.items()}
    code, output = command("bootstrap", "--dry-run")
    assert code == 0, output
    assert f"{PIPELINE} would change:" in output
    assert "Add      Topic AWS::SNS::Topic" in output
    assert f"+ aws cloudformation deploy --stack-name {PIPELINE} --template-file" in output
    assert "WindowTimeZone=Europe/Berlin" in output
    assert aws.stacks == before
    assert not aws.change_sets
    assert not aws.asked("cloudformation:ExecuteChangeSet")


def test_the_first_dry_run_removes_the_empty_stack_of_its_change_set(aws, command):
    code, output = command("bootstrap", "--dry-run")
    assert code == 0, output
    assert f"the next steps can be shown once the stack {FOUNDATION} exists" in output
    assert not aws.stacks


def test_a_dry_run_without_changes_says_so(aws, authorised, command):
    command(*BOOTSTRAP)
    _, output = command("bootstrap", "--dry-run")
    assert output.count(" is up to date") == 3
    assert not aws.change_sets


# --- main must be protected ---------------------------------------------------------------------


def test_nothing_is_created_until_the_protection_of_main_is_confirmed(aws, authorised, fails):
    output = fails("bootstrap")
    assert f"it was not confirmed that main of greeters/{APPLICATION} is protected" in output
    assert "--main-is-protected" in output
    assert "now: nothing was changed" in output
    assert not aws.asked("cloudformation:CreateChangeSet")


def test_the_confirmation_is_requested_on_a_terminal(aws, authorised, command, monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.confirm", lambda question, **_: not asked.append(question))
    assert command("bootstrap")[0] == 0
    [question] = asked
    assert f"deploys whatever is pushed to main of greeters/{APPLICATION}" in question
    assert parameters(aws)["Connected"] == "true"


def test_an_existing_pipeline_needs_no_confirmation(aws, authorised, command):
    command(*BOOTSTRAP)
    assert command("bootstrap")[0] == 0


def test_a_completed_connection_needs_the_confirmation(aws, authorised, command, fails):
    aws.connection = "PENDING"
    assert command("bootstrap")[0] == 0
    aws.connection = "AVAILABLE"
    assert "is protected" in fails("bootstrap")


# --- The token that fetches pull requests -------------------------------------------------------

TOKEN = "github_pat_for_tests"


@pytest.fixture
def given(monkeypatch):
    def give(text):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return give


def test_without_a_token_pull_requests_are_not_built(aws, authorised, command):
    _, output = command(*BOOTSTRAP)
    assert parameters(aws)["TokenStored"] == "false"
    assert "pull requests are not built" in output
    assert "next: scripts/build_and_deploy.sh bootstrap --token" in output


def test_a_token_is_stored_as_codebuild_reads_it(aws, authorised, command, given):
    given(f"{TOKEN}\n")
    code, output = command(*BOOTSTRAP, "--token")
    assert code == 0, output
    assert aws.secrets[PULL_REQUEST_TOKEN] == {
        "ServerType": "GITHUB",
        "AuthType": "PERSONAL_ACCESS_TOKEN",
        "Token": TOKEN,
    }
    assert parameters(aws)["TokenStored"] == "true"
    assert TOKEN not in output
    assert "pull requests are not built" not in output


def test_a_stored_token_is_kept(aws, authorised, command, given):
    given(TOKEN)
    command(*BOOTSTRAP, "--token")
    command(*BOOTSTRAP)
    assert parameters(aws)["TokenStored"] == "true"
    assert aws.secrets[PULL_REQUEST_TOKEN]["Token"] == TOKEN


def test_the_first_run_can_store_a_token(aws, command, given):
    given(TOKEN)
    code, output = command("bootstrap", "--token")
    assert code == 0, output
    assert parameters(aws)["TokenStored"] == "true"


@pytest.mark.parametrize("text", ["", "ghp_for_tests", "github_pat_", "github_pat_a b", "nonsense"])
def test_a_token_that_may_write_is_refused_and_not_shown(aws, authorised, fails, given, text):
    given(text)
    output = fails(*BOOTSTRAP, "--token")
    assert "is not a fine-grained personal access token" in output
    assert not text or text not in output.replace("begins with github_pat_", "")
    assert "now: nothing was changed" in output
    assert not aws.asked("cloudformation:CreateChangeSet")


def test_a_dry_run_does_not_store_a_token(aws, authorised, command, given):
    given(TOKEN)
    code, output = command("bootstrap", "--token", "--dry-run")
    assert code == 0, output
    assert "+ aws secretsmanager put-secret-value" in output
    assert TOKEN not in output
    assert aws.secrets[PULL_REQUEST_TOKEN] == {"Token": ""}
