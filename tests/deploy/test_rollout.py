"""A deployment and each way in which it can fail; a rollback; and who is notified."""

import json

import pytest

from tests.support.account import DESTINATIONS, add_history, recorded
from tests.support.aws import APPLICATION, PROD, REGION, STAGING, bundles, identify, records
from tests.support.checkout import commit

BUCKET = records()
LOCK = f"locks/{STAGING}"


def sent(aws):
    """The texts of the notifications, as sent by e-mail."""
    return [json.loads(one["Message"])["email"] for one in aws.published]


def test_a_deployment_is_verified_tested_and_recorded(aws, staging, programs, command, tested):
    add_history(aws, "deploy old")
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 0, output
    assert f"{STAGING} runs new" in output
    assert programs.calls() == [
        f"eb deploy {STAGING} --version new --timeout 40 --region eu-west-1"
    ]
    assert tested.calls == [("http://staging.elasticbeanstalk.test", "K3y", "new")]
    assert recorded(aws) == ["deploy old", "deploy new"]
    assert LOCK not in aws.objects
    assert "K3y" not in output


def test_each_step_is_shown_as_it_runs(staging, command):
    _, output = command("deploy", "prod", "--version", "new")
    said = [line.removeprefix("deploy: ") for line in output.splitlines() if " aws " not in line]
    regions = ", ".join((REGION, *DESTINATIONS))
    assert said == [
        f"{PROD}: locked",
        f"{PROD}: recorded in {regions}: deploy old",  # which nobody had recorded
        f"{PROD}: from old to new",
        f"+ eb deploy {PROD} --version new --timeout 40 --region {REGION}",
        f"{PROD}: every instance runs new",
        f"{PROD}: recorded in {regions}: deploy new",
        f"{PROD}: the notification was sent",
        f"{PROD}: unlocked",
        f"{PROD} runs new",
    ]


def test_the_public_name_is_tested_wherever_its_dns_record_leads(aws, staging, command, tested):
    aws.stacks[STAGING]["outputs"]["PublicName"] = "hello.example.com"
    tested.detour = "another service answers there, with 404"
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 0, output
    host = "staging.elasticbeanstalk.test"
    assert tested.calls == [("https://hello.example.com", "K3y", "new", host)]
    assert f"only DNS is missing: point hello.example.com to {host}: another service" in output


def stuck(aws):
    aws.stacks[f"awseb-{identify('staging')}-stack"] = {
        "status": "UPDATE_ROLLBACK_FAILED",
        "outputs": {},
    }


def no_environment(aws):
    aws.environments.clear()


def terminating(aws):
    aws.environments[STAGING]["status"] = "Terminating"


def no_image(aws):
    del aws.images["new"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (no_environment, f"there is no environment {STAGING}"),
        (terminating, f"{STAGING} is being terminated"),
        (stuck, "aws cloudformation continue-update-rollback --stack-name awseb-e-"),
        (no_image, "the image of version new is no longer in the registry"),
    ],
)
def test_each_refusal_says_what_to_do(aws, staging, programs, fails, change, what):
    change(aws)
    assert what in fails("deploy", "staging", "--version", "new")
    assert not programs.calls("eb deploy")
    assert LOCK not in aws.objects
    assert not aws.published


@pytest.mark.parametrize("code", ["AccessDenied", "Throttling", "ExpiredToken", None])
@pytest.mark.parametrize(
    "action",
    [
        "elasticbeanstalk:DescribeApplicationVersions",
        "ecr:DescribeImages",
        "s3:PutObject",
        "s3:ListObjectsV2",
        "elasticbeanstalk:DescribeEnvironments",
        "elasticbeanstalk:DescribeEvents",
        "secretsmanager:GetSecretValue",
        "sts:GetCallerIdentity",
    ],
)
def test_a_query_without_a_response_prevents_the_deployment(
    aws, staging, programs, fails, action, code
):
    aws.fail(action, code)
    output = fails("deploy", "staging", "--version", "new")
    assert "gone" not in output
    assert "there is no" not in output
    assert "now: nothing was changed" in output
    assert not programs.calls("eb deploy")
    assert staging["label"] == "old"


def test_an_unknown_version_is_refused(staging, fails):
    output = fails("deploy", "staging", "--version", "newest")
    assert "there is no version newest" in output
    assert "new old older" in output


def test_without_a_build_there_is_nothing_to_deploy(staging, programs, fails):
    assert "no version was built in this checkout" in fails("deploy", "staging")
    assert not programs.calls()


def test_the_version_built_last_is_deployed(staging, project, command):
    (project / "dist").mkdir()
    (project / "dist/version").write_text("new\n")
    assert command("deploy", "staging")[0] == 0
    assert staging["label"] == "new"


# --- Failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "more"),
    [
        ("old", {}),  # eb's exit code is 0, and nothing was deployed
        ("new", {"instances": ["new", "old"]}),  # one instance was left behind
        ("new", {"instances": ["new", "new"], "colour": "Red", "health": "Severe"}),
        ("new", {"instances": ["new", "new"], "health": "Warning"}),
        ("new", {"instances": []}),  # AWS does not say which version the instances run
        ("new", {"instances": ["new", None]}),
    ],
)
def test_success_of_eb_is_verified(aws, staging, programs, fails, label, more):
    programs.results["--version new"] = lambda: staging.update(good(label) | more)
    programs.results["--version old"] = lambda: staging.update(good("old"))
    output = fails("deploy", "staging", "--version", "new")
    assert "eb deploy ended" not in output
    assert recorded(aws)[-1] != "deploy new"
    assert LOCK not in aws.objects


def good(label):
    return {"label": label, "instances": [label] * 2, "colour": "Green", "health": "Ok"}


def test_a_failure_that_left_everything_as_it_was_needs_no_rollback(staging, programs, fails):
    programs.codes["eb deploy"] = 4
    output = fails("deploy", "staging", "--version", "new")
    assert "eb deploy ended with exit code 4" in output
    assert f"all instances of {STAGING} still run old, and serve" in output
    assert len(programs.calls("eb deploy")) == 1


def test_a_failed_deployment_is_rolled_back(aws, staging, programs, fails, tested):
    add_history(aws, "deploy old")
    tested.broken = {"new"}
    output = fails("deploy", "staging", "--version", "new")
    assert f"{STAGING}: rolling back to old" in output
    assert "version new failed in staging and was rolled back" in output
    assert staging["label"] == "old"
    assert recorded(aws) == ["deploy old", "failed new", "rollback old"]
    assert len(programs.calls("eb deploy")) == 2


def test_a_failed_rollback_is_reported(staging, programs, fails, tested):
    tested.broken = {"new", "old"}
    output = fails("deploy", "staging", "--version", "new")
    assert "the rollback to old failed too" in output
    assert f"now: {STAGING} runs old" in output
    assert len(programs.calls("eb deploy")) == 2


def test_a_mixture_of_versions_is_reported(staging, programs, fails):
    programs.codes["eb deploy"] = 4
    staging |= {"instances": ["new", "old"], "colour": "Red", "health": "Severe"}
    output = fails("deploy", "staging", "--version", "new")
    assert "the rollback to old failed too" in output
    assert "Red/Severe, its instances at: new, old" in output


def test_a_failed_smoke_test_of_the_running_version_suggests_a_rollback(
    staging, programs, fails, tested
):
    tested.broken = {"old"}
    output = fails("deploy", "staging", "--version", "old")
    assert "version old was already deployed, and does not serve" in output
    assert "rollback staging" in output
    assert len(programs.calls("eb deploy")) == 1


@pytest.mark.parametrize(
    "warning",
    [
        "Error processing file (Skipping): '.ebextensions/40-database.config' - Contains invalid "
        "key: 'Resource'. For information about valid keys, see the documentation.",
        "Configuration files cannot be extracted from the application version new.",
    ],
)
def test_a_configuration_file_that_beanstalk_ignored_is_a_failure(
    aws, staging, programs, fails, warning
):
    """The ignored file might be the one that declares the database, which would then be deleted."""
    aws.tell(STAGING, warning.replace("new", "older"), "WARN")  # from an earlier day
    programs.effects["--version new"] = lambda: aws.tell(STAGING, warning, "WARN")
    output = fails("deploy", "staging", "--version", "new")
    assert "Beanstalk ignored a configuration file" in output
    assert staging["label"] == "old"


def test_other_warnings_are_not_failures(aws, staging, programs, command):
    text = "Environment health has transitioned from Ok to Warning."
    programs.effects["eb deploy"] = lambda: aws.tell(STAGING, text, "WARN")
    assert command("deploy", "staging", "--version", "new")[0] == 0


def test_a_deployment_waits_for_a_busy_environment(aws, staging, command, clock):
    staging["status"] = "Updating"
    aws.tell(STAGING, "Deploying new version to instance(s).")
    answer = aws.elasticbeanstalk_describe_environments

    def describe(**parameters):
        if clock.at > 60:
            staging["status"] = "Ready"
        return answer(**parameters)

    aws.elasticbeanstalk_describe_environments = describe
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 0
    waiting = f"{STAGING} is Updating: Deploying new version to instance"
    assert output.count(waiting) == 1


def test_an_environment_that_never_becomes_ready_is_a_failure(staging, fails):
    staging["status"] = "Updating"
    output = fails("deploy", "staging", "--version", "new")
    assert "still Updating after 40 minutes" in output
    assert "abort-environment-update" in output


def test_a_deployment_that_does_not_end_is_stopped(aws, staging, programs, fails):
    programs.codes["eb deploy"] = 4
    programs.effects["eb deploy"] = lambda: staging.update(status="Updating")
    output = fails("deploy", "staging", "--version", "new")
    assert f"{STAGING} is Updating: stopping the operation" in output
    assert len(aws.asked("elasticbeanstalk:AbortEnvironmentUpdate")) == 1
    assert "still run old, and serve" in output


def test_a_lost_response_does_not_prevent_a_rollback(aws, staging, programs, fails, tested):
    tested.broken = {"new"}
    programs.effects["--version new"] = lambda: aws.fail(
        "elasticbeanstalk:DescribeEnvironments", None, times=3
    )
    assert "was rolled back" in fails("deploy", "staging", "--version", "new")


def test_the_notification_is_right_when_aws_does_not_respond_after_a_failure(
    aws, staging, programs, fails
):
    programs.codes["eb deploy"] = 4
    programs.effects["eb deploy"] = lambda: aws.fail("elasticbeanstalk:DescribeEnvironments", None)
    output = fails("deploy", "staging", "--version", "new")
    assert "AWS did not answer elasticbeanstalk:DescribeEnvironments" in output
    [text] = sent(aws)
    assert "result: FAILED: AWS did not answer" in text
    assert f"Now: some instances of {STAGING} may run new, and others old" in text


def test_expired_credentials_end_the_wait(aws, staging, programs, fails, clock):
    def expire():
        for action in ("DescribeEnvironments", "DescribeInstancesHealth", "DescribeEvents"):
            aws.fail(f"elasticbeanstalk:{action}", "ExpiredToken")

    programs.effects["eb deploy"] = expire
    output = fails("deploy", "staging", "--version", "new")
    assert "AWS does not accept the credentials" in output
    assert f"now: some instances of {STAGING} may run new, and others old" in output
    assert clock.slept == []


# --- Rollback -----------------------------------------------------------------------------------


def test_a_rollback_deploys_the_previous_version(aws, staging, command):
    add_history(aws, "deploy older", "deploy old")
    code, output = command("rollback", "staging")
    assert code == 0, output
    assert staging["label"] == "older"
    assert recorded(aws)[-1] == "rollback older"


def test_a_rollback_without_a_previous_version_is_refused(staging, programs, fails):
    output = fails("rollback", "staging")
    assert f"the history of {STAGING} has no version before old" in output
    assert "deploy staging --version new; or another one: older\n" in output
    assert not programs.calls("eb deploy")


def test_a_first_version_cannot_be_rolled_back(aws, staging, fails):
    for label in ("older", "new"):
        del aws.versions[label]
    assert "build_and_deploy.sh build, as there is no other version\n" in fails(
        "rollback", "staging"
    )


def test_deploying_the_running_version_is_announced_as_such(staging, command):
    same = "the same version: its instances are replaced"
    assert same in command("deploy", "staging", "--version", "old")[1]
    assert same not in command("deploy", "staging", "--version", "new")[1]


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_a_history_that_cannot_be_read_is_not_an_empty_one(aws, staging, programs, fails, code):
    add_history(aws, "deploy older", "deploy old")
    aws.fail("s3:ListObjectsV2", code)
    output = fails("rollback", "staging")
    assert "has no version before" not in output
    assert not code or "the permission s3:ListBucket is missing" in output
    assert not programs.calls("eb deploy")


def test_a_version_that_was_deployed_by_other_means_is_recorded(aws, staging, command):
    add_history(aws, "deploy older")
    command("deploy", "staging", "--version", "new")
    assert recorded(aws) == ["deploy older", "deploy old", "deploy new"]


# --- Notifications ------------------------------------------------------------------------------


def test_everybody_is_notified_of_a_deployment(aws, staging, command):
    command("deploy", "staging", "--version", "new")
    [message] = aws.published
    assert message["TopicArn"].endswith(":deployments")
    assert message["Subject"] == f"{STAGING}: new succeeded"
    assert message["MessageAttributes"]["urgent"]["StringValue"] == "false"
    [text] = sent(aws)
    assert text.startswith(f"{STAGING}: new succeeded\n\nversion: new\nenvironment: {STAGING}\n")
    assert "who: arn:aws:iam::123456789012:user/somebody\n" in text
    assert "result: succeeded\nduration: 0 min 0 s\n" in text
    assert "link: https://eu-west-1.console.aws.amazon.com/elasticbeanstalk" in text


def test_a_notification_names_the_pipeline_as_its_sender(aws, staging, command, monkeypatch):
    monkeypatch.setenv("CODEBUILD_INITIATOR", f"codepipeline/{APPLICATION}")
    monkeypatch.setenv("CODEBUILD_BUILD_URL", "https://build")
    command("deploy", "staging", "--version", "new")
    [text] = sent(aws)
    assert f"who: codepipeline/{APPLICATION}\n" in text
    assert "link: https://build\n" in text


@pytest.mark.parametrize(("environment", "urgent"), [("staging", "false"), ("prod", "true")])
def test_the_escalation_is_notified_of_a_failure_in_production(
    aws, staging, programs, command, environment, urgent
):
    programs.codes["eb deploy"] = 4
    assert command("deploy", environment, "--version", "new")[0] == 1
    [text] = sent(aws)
    assert "new FAILED" in text
    assert "result: FAILED: version new was not deployed" in text
    assert "Now: all instances of" in text
    assert aws.published[0]["MessageAttributes"]["urgent"]["StringValue"] == urgent


def no_topic(aws):
    del aws.stacks[f"{APPLICATION}-foundation"]["outputs"]["DeploymentsTopic"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda aws: aws.fail("sns:Publish", "AuthorizationError"), "sns:Publish is missing"),
        (no_topic, f"{APPLICATION}-foundation has no topic"),
        (
            lambda aws: aws.fail(
                "cloudformation:DescribeStacks",
                None,
                when=lambda one: one["StackName"].endswith("foundation"),
            ),
            "AWS did not answer cloudformation:DescribeStacks",
        ),
    ],
)
def test_a_failed_notification_is_not_a_failed_deployment(aws, staging, command, change, why):
    change(aws)
    code, output = command("deploy", "staging", "--version", "new")
    assert code == 0, output
    assert "no notification was sent" in output
    assert why in output


# --- Order --------------------------------------------------------------------------------------


@pytest.fixture
def labels(aws, staging, project):
    """Published versions of two commits, the older one first."""
    found = [f"{commit(project, 'Older')}-1", f"{commit(project, 'Newer')}-1"]
    aws.add_version(*found)
    return found


def test_forward_deploys_a_newer_version(labels, staging, command):
    staging.update(good(labels[0]))
    assert command("deploy", "staging", "--version", labels[1], "--forward")[0] == 0
    assert staging["label"] == labels[1]


def test_forward_refuses_an_older_version(aws, labels, staging, programs, fails):
    staging.update(good(labels[1]))
    output = fails("deploy", "staging", "--version", labels[0], "--forward")
    assert f"{STAGING} runs {labels[1]}, which is not older than {labels[0]}" in output
    assert not programs.calls("eb deploy")
    assert LOCK not in aws.objects


@pytest.mark.parametrize("breaks", [None, "merge-base"])
def test_forward_refuses_versions_that_git_cannot_compare(labels, staging, programs, fails, breaks):
    staging.update(good(labels[0] if breaks else "0123456789ab-1"))
    if breaks:
        programs.codes["git merge-base"] = 128
    output = fails("deploy", "staging", "--version", labels[1], "--forward")
    assert "git cannot tell whether" in output
    assert not programs.calls("eb deploy")


# --- All the way --------------------------------------------------------------------------------


def test_without_a_command_it_checks_tests_and_deploys(aws, staging, programs, command):
    code, output = command()
    assert code == 0, output
    steps = [line.split(" --")[0] for line in programs.calls()]
    label = aws.environments[PROD]["label"]
    image = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{APPLICATION}:{label}"
    assert steps == [
        "make ci",
        "docker build",
        f"make test-image IMAGE={image}",
        "docker push",
        f"eb deploy {STAGING}",
        f"eb deploy {PROD}",
    ]
    assert staging["label"] == label


@pytest.mark.parametrize(
    ("breaks", "what", "never"),
    [
        ("make ci", "make ci does not pass", "docker|^eb "),
        ("make test-image", "the tests of the image failed", "docker push|^eb "),
        (f"eb deploy {STAGING}", "was not deployed to staging", f"eb deploy {PROD}"),
    ],
)
def test_a_failure_before_production_leaves_it_untouched(
    staging, programs, fails, breaks, what, never
):
    programs.codes[breaks] = 2
    assert what in fails()
    assert not programs.calls(never)


def test_a_dry_run_changes_nothing_and_shows_everything(aws, staging, programs, command):
    code, output = command("--dry-run")
    assert code == 0, output
    assert not programs.calls()
    changing = ("Put", "Delete", "Create", "Update", "Publish", "Abort", "Execute")
    assert not [one for one, _ in aws.calls if one.split(":")[1].startswith(changing)]
    for line in (
        "+ make ci",
        "+ docker build",
        "+ make test-image",
        "+ docker push",
        f"+ aws s3api put-object --bucket {bundles()} --key ",
        "+ aws elasticbeanstalk create-application-version",
        f"+ eb deploy {STAGING}",
        f"+ eb deploy {PROD}",
        f"aws s3api put-object --bucket {BUCKET} --key {LOCK} --body body --if-none-match '*'",
        f"+ aws s3api delete-object --bucket {BUCKET} --key {LOCK}",
        f"aws s3api put-object --bucket {BUCKET} --key 'deployments/{STAGING}/",
        f"+ aws cloudwatch put-metric-data --namespace {STAGING} --metric-data ",
        "+ aws sns publish --topic-arn",
    ):
        assert line in output, line
    assert " runs " not in output
    assert "is published" not in output
