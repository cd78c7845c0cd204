"""Creating an environment from scratch, changing its settings, and each way in which that can fail."""

import pytest

from deploy.resources import slack
from tests.support.account import DESTINATIONS, changes, made, recorded
from tests.support.aws import APPLICATION, OUTPUTS, PROD, REGION, STAGING, identify, records

FOUNDATION = f"{APPLICATION}-foundation"
LOCK = f"locks/{STAGING}"


@pytest.fixture
def nothing(aws):
    """An account with a version and nothing else; creating the stack also creates the smoke test's key."""
    aws.add_version("new")
    for name in (STAGING, PROD):
        aws.secrets[f"{name}/smoke-test"] = {"user": "smoke test", "key": "K3y"}


def test_an_environment_is_created_from_nothing(aws, nothing, command, tested):
    code, output = command("create", "staging", "--version", "new")
    assert code == 0, output
    budget = f"us-east-1/{APPLICATION}-budget"
    watched = f"{STAGING}-operations"
    assert set(aws.stacks) == {FOUNDATION, slack.STACK, budget, STAGING, watched}
    assert len(aws.channels) == 2  # whether there is a pipeline or not
    assert aws.stacks[FOUNDATION]["parameters"]["OperationsEmail"] == "team@greetings.test"
    assert aws.stacks[STAGING]["parameters"]["Network"] == "10.20"
    [created] = aws.asked("elasticbeanstalk:CreateEnvironment")
    assert created["EnvironmentName"] == STAGING
    assert created["VersionLabel"] == "new"
    assert created["SolutionStackName"] == "64bit Amazon Linux 2023 v4.13.7 running Docker"
    options = {one["OptionName"]: one["Value"] for one in created["OptionSettings"]}
    assert options["VPCId"] == "vpc-1234567890abcdef0"
    assert tested.calls == [("http://staging.elasticbeanstalk.test", "K3y", "new")]
    assert recorded(aws) == ["deploy new"]
    assert LOCK not in aws.objects
    assert f"{STAGING} runs new: http://staging.elasticbeanstalk.test" in output


def test_the_output_ends_with_the_unconfirmed_addresses(aws, nothing, command):
    aws.pending.add("team@greetings.test")
    code, output = command("create", "staging", "--version", "new")
    assert code == 0, output
    *_, what, remedy = output.splitlines()
    assert what == "deploy: messages: team@greetings.test has not confirmed DeploymentsTopic"
    assert remedy.startswith("deploy:   next: click the link in the message from AWS")
    aws.fail("sns:ListSubscriptionsByTopic")
    code, output = command("create", "staging")
    assert code == 0
    assert output.splitlines()[-1].startswith("deploy: messages: unknown: the permission sns:List")


def test_instances_are_restricted_to_the_id_of_their_environment(aws, nothing, command):
    """The first ones start before there is an id, and a later environment has another one."""
    given = []
    created = aws.elasticbeanstalk_create_environment

    def create(**asked):
        given.append(aws.stacks[STAGING]["parameters"]["EnvironmentId"])
        return created(**asked)

    aws.elasticbeanstalk_create_environment = create
    for _ in range(2):
        assert command("create", "staging", "--version", "new")[0] == 0
        known = aws.environments[STAGING]["id"]
        assert aws.stacks[STAGING]["parameters"]["EnvironmentId"] == known
        aws.environments.clear()
    assert given == ["", ""]


def test_what_will_be_created_and_its_duration_are_shown_first(aws, nothing, programs, command):
    code, output = command("create", "staging")
    assert code == 0, output
    [created] = aws.asked("elasticbeanstalk:CreateEnvironment")
    assert created["VersionLabel"].endswith("-7")
    assert programs.calls("docker push")
    before = output.split("+ ")[0]
    for words in (
        f"{STAGING}: this will create",
        f"the stack {FOUNDATION}",
        f"the stack {STAGING}",
        "a version: image, bundle",
        f"the environment {STAGING}",
        f"the stack {STAGING}-operations",
        "in all about 29 min",
    ):
        assert words in before
    assert (
        "exists: its stacks and settings will be brought up to date"
        in command("create", "staging")[1]
    )


def test_an_existing_environment_gets_the_configured_settings(aws, staging, programs, command):
    code, output = command("create", "staging")
    assert code == 0, output
    [changed] = aws.asked("elasticbeanstalk:UpdateEnvironment")
    assert changed["OptionSettings"]
    assert "VersionLabel" not in changed
    assert not programs.calls()


@pytest.mark.parametrize(
    ("left", "arguments"),
    [
        ({"label": "", "instances": []}, ["--version", "new"]),
        ({"label": "new", "instances": []}, []),
        ({"label": "new", "instances": ["new", "new"], "deployment": "Failed"}, []),
    ],
)
def test_a_version_that_no_instance_runs_is_deployed(aws, staging, command, left, arguments):
    """As after a launch that failed: AWS may name the version of the launch."""
    staging.update(left)
    code, output = command("create", "staging", *arguments)
    assert code == 0, output
    [changed] = aws.asked("elasticbeanstalk:UpdateEnvironment")
    assert changed["VersionLabel"] == "new"


def test_a_failed_creation_is_reported(aws, nothing, fails):
    def create(EnvironmentName, **_):
        aws.add_environment("staging", "", instances=[], colour="Red")
        aws.tell(EnvironmentName, "Failed to launch environment.", "ERROR")
        return {}

    aws.elasticbeanstalk_create_environment = create
    output = fails("create", "staging", "--version", "new")
    assert f"{STAGING} exists, but does not serve correctly: its creation failed" in output
    assert "Failed to launch environment." in output
    assert "fix the cause shown in the events above, and run it again" in output
    assert LOCK not in aws.objects


def stuck(aws, short, status):
    """The stack of an environment that Beanstalk launched, after a failed resource; events newest first."""
    name = f"awseb-{identify(short)}-stack"
    same = {"StackId": "x", "EventId": "1", "StackName": name, "Timestamp": aws.now()}

    def event(resource, status, reason="-"):
        more = {"LogicalResourceId": resource, "ResourceStatus": status}
        return same | more | {"ResourceStatusReason": reason}

    aws.stacks[name] = {
        "status": status,
        "outputs": {},
        "events": [
            event(name, status),
            event("Group", "CREATE_FAILED", "cancelled"),
            event("Database", "CREATE_FAILED", "no capacity"),
            event(name, "CREATE_IN_PROGRESS"),
            event("Database", "CREATE_FAILED", "of another day"),
            event(name, "CREATE_IN_PROGRESS"),
        ],
    }


TERMINATE = "aws elasticbeanstalk terminate-environment --environment-name"


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        ("CREATE_FAILED", TERMINATE),
        ("ROLLBACK_COMPLETE", TERMINATE),
        ("DELETE_FAILED", TERMINATE),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name"),
    ],
)
def test_an_environment_that_cannot_be_updated_is_reported(
    aws, staging, plain_http, fails, status, way_out
):
    """Terminating it needs an unprotected database."""
    stuck(aws, "prod", status)
    aws.protected = {PROD}
    aws.environments[PROD].update(label="", colour="Red", instances=[])
    output = " ".join(fails("create", "prod", "--version", "new").split())
    assert f"a resource of {PROD} failed: Database: no capacity" in output
    assert way_out in output
    gone = f"until aws elasticbeanstalk wait environment-terminated --environment-names {PROD}"
    assert (f"{gone} --region {REGION}; do sleep 5; done; " in output) == (way_out == TERMINATE)
    snapshot = f"recover prod --region {REGION} --as NAME --to-snapshot {PROD}-kept"
    assert (snapshot in output) == (status == "DELETE_FAILED")  # of data that a new one would lack
    protection = f"aws rds modify-db-instance --db-instance-identifier {PROD} --no-deletion-prot"
    assert (protection in output) == (way_out == TERMINATE)
    assert not aws.asked("elasticbeanstalk:UpdateEnvironment")


def test_a_failed_creation_names_the_resource_that_failed(aws, nothing, fails):
    create = aws.elasticbeanstalk_create_environment

    def fail(**parameters):
        answer = create(**parameters)
        aws.environments[STAGING].update(label="", colour="Red", instances=[])
        stuck(aws, "staging", "CREATE_FAILED")
        return answer

    aws.elasticbeanstalk_create_environment = fail
    aws.fail("rds:DescribeDBInstances", "DBInstanceNotFound")
    output = fails("create", "staging", "--version", "new")
    assert f"a resource of {STAGING} failed: Database: no capacity" in output
    assert f"{TERMINATE} {STAGING} --region {REGION}" in " ".join(output.split())
    assert "modify-db-instance" not in output


def test_an_environment_that_does_not_serve_is_a_failure(aws, nothing, fails, tested):
    tested.broken = {"new"}
    output = fails("create", "staging", "--version", "new")
    assert "does not serve correctly: smoke test" in output
    assert not recorded(aws)


def test_an_ignored_configuration_file_is_a_failure(aws, nothing, fails):
    create = aws.elasticbeanstalk_create_environment

    def warn(**parameters):
        aws.tell(
            STAGING, "Error processing file (Skipping): '.ebextensions/40-database.config'", "WARN"
        )
        return create(**parameters)

    aws.elasticbeanstalk_create_environment = warn
    output = fails("create", "staging", "--version", "new")
    assert "Beanstalk ignored a configuration file" in output


def test_settings_that_aws_accepts_and_reverts_are_a_failure(aws, staging, fails):
    """Afterwards the environment is Ready and healthy, but with its previous settings."""
    aws.tell(STAGING, "Failed to deploy configuration. Last month.", "ERROR")
    update = aws.elasticbeanstalk_update_environment

    def refuse(**parameters):
        aws.tell(STAGING, "The environment was reverted to the previous setting.", "ERROR")
        return update(**parameters)

    aws.elasticbeanstalk_update_environment = refuse
    output = fails("create", "staging")
    assert f"{STAGING} did not accept the settings: The environment was reverted" in output
    assert "now: AWS rolled back what it could" in output
    assert not recorded(aws)
    assert LOCK not in aws.objects


def test_earlier_error_events_do_not_fail_the_settings(aws, staging, command):
    aws.tell(STAGING, "Failed to deploy configuration.", "ERROR")
    assert command("create", "staging")[0] == 0


def test_nothing_is_changed_while_another_run_works(aws, staging, fails):
    """Not the stack either, which both would change."""
    aws.s3_put_object(records(), LOCK, b"somebody@else, process 1")
    stack = dict(aws.stacks[STAGING])
    assert "somebody@else, process 1" in fails("create", "staging")
    assert aws.stacks[STAGING] == stack
    assert not aws.asked("elasticbeanstalk:UpdateEnvironment")


def test_refused_settings_are_a_failure(aws, staging, fails):
    aws.fail("elasticbeanstalk:UpdateEnvironment", "InvalidParameterValue", message="no such type")
    output = fails("create", "staging")
    assert (
        "AWS refused elasticbeanstalk:UpdateEnvironment: InvalidParameterValue: no such" in output
    )
    assert f"now: {STAGING} is unchanged" in output


@pytest.mark.parametrize("code", ["AccessDenied", None])
@pytest.mark.parametrize(
    "action",
    [
        "cloudformation:DescribeStacks",
        "cloudformation:CreateChangeSet",
        "cloudformation:ExecuteChangeSet",
        "elasticbeanstalk:CreateApplication",
        "elasticbeanstalk:CreateStorageLocation",
        "elasticbeanstalk:DescribeEnvironments",
        "elasticbeanstalk:ListAvailableSolutionStacks",
        "elasticbeanstalk:CreateEnvironment",
        "s3:PutObject",
    ],
)
def test_each_refusal_says_what_to_do(aws, nothing, fails, action, code):
    aws.fail(action, code)
    output = fails("create", "staging", "--version", "new")
    assert action in output
    assert "  now: " in output
    assert not aws.environments


def test_an_unknown_platform_is_refused(aws, nothing, fails):
    aws.solution_stacks = ["64bit Amazon Linux 2023 v6.6.0 running ECS"]
    assert "AWS has no platform 'Docker running on" in fails(
        "create", "staging", "--version", "new"
    )


def test_a_missing_output_of_a_stack_is_a_failure(aws, nothing, fails, monkeypatch):
    monkeypatch.delitem(OUTPUTS[STAGING], "Key")
    output = fails("create", "staging", "--version", "new")
    assert "{Key} is not an output of a stack" in output
    assert "now: the stacks exist" in output


# --- Production without a certificate -----------------------------------------------------------


def test_production_without_a_certificate_is_refused(aws, nothing, plain_http, project, fails):
    path = project / "devops/environments.toml"
    path.write_text(path.read_text().replace("PlainHttp = true", "PlainHttp = false"))
    output = fails("create", "prod", "--version", "new")
    assert "prod has no certificate" in output
    assert "can read and change names" in output
    assert "PlainHttp = true in [prod]" in output
    assert not aws.calls


def test_with_a_certificate_production_is_created_before_dns_leads_to_it(
    aws, nothing, certificate, command, tested
):
    tested.broken = {"https://hello.example.com"}
    tested.detour = "it is not reachable yet: Name or service not known"
    code, output = command("create", "prod", "--version", "new")
    assert code == 0, output
    host = "prod.elasticbeanstalk.test"
    assert tested.calls == [("https://hello.example.com", "K3y", "new", host)]
    assert f"only DNS is missing: point hello.example.com to {host}" in output
    assert f"{PROD}-operations" in aws.stacks
    assert f"host         {host}" in command("status", "prod")[1]


def test_smoke_tests_the_public_name(nothing, certificate, command, fails, tested):
    command("create", "prod", "--version", "new")
    assert command("smoke", "prod")[0] == 0
    assert tested.calls[-1] == ("https://hello.example.com", "K3y", None)
    tested.broken = {"https://hello.example.com"}
    output = fails("smoke", "prod")
    assert "DNS points hello.example.com to prod.elasticbeanstalk.test" in output


def test_removing_the_certificate_restores_plain_http(
    aws, nothing, certificate, project, command, tested
):
    """What create set for the certificate would otherwise stay, and redirect every request."""
    command("create", "prod", "--version", "new")
    before = {one["OptionName"] for one in aws.environments[PROD]["options"]}
    path = project / "devops/environments.toml"
    text = path.read_text().replace(f'"{certificate}"', '""')
    text = text.replace("PlainHttp = false", "PlainHttp = true")
    path.write_text(text.replace('"hello.example.com"', '""'))
    for _ in range(2):
        code, output = command("create", "prod")
        assert code == 0, output
    removed = {
        "ListenerEnabled",
        "Protocol",
        "SSLCertificateArns",
        "SSLPolicy",
        "HttpsRedirectPaths",
    }
    after = {one["OptionName"] for one in aws.environments[PROD]["options"]}
    assert before - after == removed
    first, second = aws.asked("elasticbeanstalk:UpdateEnvironment")
    assert {one["OptionName"] for one in first["OptionsToRemove"]} == removed
    assert "OptionsToRemove" not in second
    assert tested.calls[-1] == ("http://prod.elasticbeanstalk.test", "K3y", "new")


# --- Required settings of the account -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "what", "remedy"),
    [
        (
            {"encrypted": False},
            "the volumes of new instances are not encrypted",
            "aws ec2 enable-ebs-encryption-by-default --region eu-west-1",
        ),
        (
            {"hops": None},
            "a container on a new instance can obtain the",
            "modify-instance-metadata-defaults --http-put-response-hop-limit 1 --region eu-west-1",
        ),
        ({"hops": 2}, "a container on a new instance can obtain the", "hop-limit 1"),
    ],
)
def test_production_is_refused_in_an_account_that_is_not_ready(
    aws, nothing, plain_http, fails, command, setting, what, remedy
):
    vars(aws).update(setting)
    output = fails("create", "prod", "--version", "new")
    assert f"the account is not ready for production: {what}" in " ".join(output.split())
    assert remedy in output
    assert "now: nothing was changed" in output
    assert not aws.stacks
    code, output = command("create", "staging", "--version", "new")
    assert code == 0, output
    assert "production requires both" in output
    assert remedy in output


@pytest.mark.parametrize("code", ["UnauthorizedOperation", None])
@pytest.mark.parametrize(
    "action", ["ec2:GetEbsEncryptionByDefault", "ec2:GetInstanceMetadataDefaults"]
)
def test_an_account_with_unreadable_settings_is_not_taken_for_ready(
    aws, nothing, fails, action, code
):
    aws.fail(action, code)
    assert action in fails("create", "staging", "--version", "new")
    assert not aws.stacks


def test_a_placeholder_for_the_owner_is_refused(aws, nothing, project, fails):
    text = (project / "devops/owner.json").read_text()
    (project / "devops/owner.json").write_text(
        text.replace("team@greetings.test", "owner@example.com")
    )
    assert "email 'owner@example.com': placeholders" in fails("create", "staging")
    assert not aws.calls


# --- Stacks -------------------------------------------------------------------------------------


def test_a_stack_whose_creation_failed_is_created_again(aws, nothing, command):
    made(aws, "foundation")
    aws.stacks[FOUNDATION]["status"] = "ROLLBACK_COMPLETE"
    code, output = command("create", "staging", "--version", "new")
    assert code == 0, output
    assert f"the first attempt to create the stack {APPLICATION}-foundation failed" in output
    assert [one["StackName"] for one in aws.asked("cloudformation:DeleteStack")] == [FOUNDATION]


def test_a_failed_stack_that_cannot_be_deleted_is_a_failure(aws, nothing, fails):
    """At first, CloudFormation may still answer with the status of before."""
    made(aws, "foundation")
    aws.stacks[FOUNDATION]["status"] = "ROLLBACK_COMPLETE"
    delete = aws.cloudformation_delete_stack

    def fail(StackName, ClientRequestToken):
        delete(StackName, ClientRequestToken)
        token = ClientRequestToken
        aws.stacks[StackName]["coming"][-1:] = [
            lambda: aws.happen(StackName, "Records", "DELETE_FAILED", token, "it is not empty"),
            lambda: aws.happen(StackName, "", "DELETE_FAILED", token),
        ]

    aws.cloudformation_delete_stack = fail
    output = fails("create", "staging", "--version", "new")
    assert f"the stack {FOUNDATION} cannot be deleted: Records: it is not empty" in output
    assert "now: its status is DELETE_FAILED" in output


def test_it_waits_for_a_stack_that_is_being_changed(aws, nothing, command):
    made(aws, "foundation")
    aws.stacks[FOUNDATION] |= {
        "status": "UPDATE_IN_PROGRESS",
        "coming": [lambda: None] * 3
        + [lambda: aws.stacks[FOUNDATION].update(status="UPDATE_COMPLETE")],
    }
    code, output = command("create", "staging", "--version", "new")
    assert code == 0, output
    assert f"the stack {FOUNDATION} is UPDATE_IN_PROGRESS" in output


def test_a_stack_that_was_begun_a_moment_ago_is_continued(aws, nothing, command):
    """By a run that was ended. CloudFormation still answers that there is only a change set."""
    aws.stacks[FOUNDATION] = {
        "status": "REVIEW_IN_PROGRESS",
        "outputs": {},
        "coming": [
            *[lambda: None] * 3,
            lambda: aws.happen(FOUNDATION, "", "CREATE_IN_PROGRESS", "another"),
            lambda: made(aws, "foundation"),
        ],
    }
    code, output = command("create", "staging", "--version", "new")
    assert code == 0, output
    kinds = [
        one["ChangeSetType"]
        for one in aws.asked("cloudformation:CreateChangeSet")
        if one["StackName"] == FOUNDATION
    ]
    assert kinds == ["CREATE", "UPDATE"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_stack_that_is_rolled_back_reports_the_first_failure(aws, nothing, fails, exists):
    """What follows from the first failure is not the reason, nor are the events of another day."""
    if exists:
        made(aws, "foundation")
        aws.happen(FOUNDATION, "Images", "UPDATE_FAILED", "another", "of another day")
    aws.fail_resource(FOUNDATION, "Topic", "it is no topic")
    output = fails("create", "staging", "--version", "new")
    status = "UPDATE_ROLLBACK_COMPLETE" if exists else "ROLLBACK_COMPLETE"
    assert f"the stack {FOUNDATION} is {status}: Topic: it is no topic" in output
    undone = "rolled the stack back" if exists else "removed what it had created"
    assert f"now: CloudFormation {undone}" in output


def test_without_a_failed_resource_the_reason_of_the_stack_is_reported(aws, nothing, fails):
    """Such as https://github.com/rancher/kontainer-engine/pull/103"""
    aws.fail_resource(FOUNDATION, "", "the rollback was requested")
    output = fails("create", "staging", "--version", "new")
    assert f"{FOUNDATION} is ROLLBACK_COMPLETE: the rollback was requested" in output


SECRET = f"The operation failed because the secret {STAGING}/smoke-test already exists."
SCHEDULED = "You can't create this secret because a secret with this name is already scheduled for deletion."


@pytest.mark.parametrize("reason", [SECRET, SCHEDULED])
def test_secrets_that_an_earlier_stack_left_are_named(aws, nothing, fails, reason):
    aws.fail_resource(STAGING, "SmokeTestSecret", reason)
    output = " ".join(fails("create", "staging", "--version", "new").split())
    assert f"SmokeTestSecret: {reason}" in output
    command = "aws secretsmanager delete-secret --force-delete-without-recovery --secret-id"
    assert f"{command} {STAGING}/smoke-test --region {REGION}; then run this again" in output
    assert f"{command} {PROD}" not in output


def test_secrets_that_cannot_be_listed_are_not_taken_for_none(aws, nothing, fails):
    aws.fail_resource(STAGING, "SmokeTestSecret", SECRET)
    aws.fail("secretsmanager:ListSecrets")
    output = fails("create", "staging", "--version", "new")
    assert f"begin with {STAGING}/ (the permission secretsmanager:ListSecrets is missing" in output


WAYS_OUT = {
    "CREATE_FAILED": "delete-stack",
    "ROLLBACK_FAILED": "delete-stack",
    "DELETE_FAILED": "delete-stack",
    "UPDATE_FAILED": "rollback-stack",
    "UPDATE_ROLLBACK_FAILED": "continue-update-rollback",
}


@pytest.mark.parametrize("status", WAYS_OUT)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stack_that_refuses_updates_is_reported(aws, nothing, fails, status, when):
    """CloudFormation has not rolled it back, and running the command again would not help."""
    if when == "before":
        made(aws, "foundation")
        aws.stacks[FOUNDATION]["status"] = status
    else:

        def execute(ChangeSetName, ClientRequestToken):
            aws.begin(ChangeSetName, ClientRequestToken)["status"] = status

        aws.cloudformation_execute_change_set = execute
    output = fails("create", "staging", "--version", "new")
    assert f"the stack {FOUNDATION} is {status}: " in output
    assert "rolled the stack back" not in output
    command = f"aws cloudformation {WAYS_OUT[status]} --stack-name {FOUNDATION} --region {REGION}"
    assert command in " ".join(output.split())
    assert len(aws.asked("cloudformation:CreateChangeSet")) == (when == "after")


def test_a_refused_change_set_is_a_failure(aws, nothing, fails):
    create = aws.cloudformation_create_change_set

    def refuse(**parameters):
        answer = create(**parameters)
        aws.change_sets[answer["Id"]] |= {"Status": "FAILED", "StatusReason": "No export named X"}
        return answer

    aws.cloudformation_create_change_set = refuse
    output = fails("create", "staging", "--version", "new")
    assert f"CloudFormation refuses the change of {FOUNDATION}: No export named X" in output
    assert not aws.stacks


@pytest.fixture
def taken(aws, nothing):
    """CloudFormation finds that names are taken before it creates anything, and says elsewhere which."""
    create = aws.cloudformation_create_change_set
    reason = (
        "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. "
        "To troubleshoot Early Validation errors, use the DescribeEvents API"
    )

    def refuse(**parameters):
        answer = create(**parameters)
        aws.change_sets[answer["Id"]] |= {"Status": "FAILED", "StatusReason": reason}
        return answer

    def event(resource, text, mode="FAIL"):
        return {
            "EventId": "1",
            "LogicalResourceId": resource,
            "EventType": "VALIDATION_ERROR",
            "ValidationStatusReason": text,
            "ValidationFailureMode": mode,
        }

    aws.cloudformation_create_change_set = refuse
    aws.invalid = [
        event("Images", "Resource of type 'AWS::ECR::Repository' already exists."),
        event("Records", "this is only a warning", "WARN"),
        event("Records", "Resource of type 'AWS::S3::Bucket' already exists."),
    ]


def test_names_that_already_exist_are_reported(aws, taken, fails):
    """A change set that is refused has no reason of its own."""
    output = fails("create", "staging", "--version", "new")
    assert (
        "Images: Resource of type 'AWS::ECR::Repository' already exists.; "
        "Records: Resource of type 'AWS::S3::Bucket' already exists." in output
    )
    assert "only a warning" not in output
    assert "next: import it into the stack (docs.aws.amazon.com/" in output
    assert not aws.stacks


def test_without_the_existing_names_the_refusal_is_reported(aws, taken, fails):
    aws.fail("cloudformation:DescribeEvents")
    output = fails("create", "staging", "--version", "new")
    assert "[AWS::EarlyValidation::ResourceExistenceCheck]" in output
    assert "But the permission cloudformation:DescribeEvents is missing" in output


def test_every_template_is_short_enough_for_a_request():
    """CloudFormation accepts templates of up to 51,200 bytes in a request."""
    from pathlib import Path

    for path in Path("devops").glob("*.yml"):
        assert path.stat().st_size < 51200


def test_unreadable_events_do_not_end_a_wait(aws, nothing, command, clock):
    create = aws.elasticbeanstalk_create_environment
    describe = aws.elasticbeanstalk_describe_environments

    def launch(**parameters):
        answer = create(**parameters)
        aws.environments[STAGING]["status"] = "Launching"
        aws.fail("elasticbeanstalk:DescribeEvents", None, times=3)
        return answer

    def later(**parameters):
        if clock.at > 600:
            aws.environments[STAGING]["status"] = "Ready"
        return describe(**parameters)

    aws.elasticbeanstalk_create_environment = launch
    aws.elasticbeanstalk_describe_environments = later
    code, output = command("create", "staging", "--version", "new")
    assert code == 0, output
    assert f"{STAGING} is Launching: its events cannot be read" in output


@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("elasticbeanstalk:DescribeInstancesHealth", "AWS did not answer elasticbeanstalk:Descr"),
        ("secretsmanager:GetSecretValue", f"the key of the smoke test of {STAGING} cannot be read"),
    ],
)
def test_an_environment_that_cannot_be_verified_is_a_failure(aws, nothing, fails, action, what):
    aws.fail(action, None)
    output = fails("create", "staging", "--version", "new")
    assert f"FAILED: {what}" in output
    assert f"now: {STAGING} has version new, which was not verified" in output
    assert STAGING in aws.environments


# --- Dry run ------------------------------------------------------------------------------------


def test_a_dry_run_in_an_empty_account_shows_the_first_stack(aws, nothing, command):
    code, output = command("create", "staging", "--version", "new", "--dry-run")
    assert code == 0, output
    assert f"+ aws cloudformation deploy --stack-name {FOUNDATION} --template-file" in output
    assert f"{FOUNDATION} would change:" in output
    assert f"the next steps can be shown once the stack {FOUNDATION} exists" in output
    assert not changes(aws)
    assert not aws.stacks
    assert not aws.change_sets


@pytest.mark.parametrize("exists", [True, False])
def test_a_dry_run_shows_what_would_be_set(aws, staging, command, exists):
    if not exists:
        del aws.environments[STAGING]
    code, output = command("create", "staging", "--version", "new", "--dry-run")
    assert code == 0, output
    action = "update" if exists else "create"
    assert f"+ aws elasticbeanstalk {action}-environment" in output
    assert '"OptionName": "MinSize", "Value": "2"' in output
    assert f"aws s3api put-object --bucket {records()} --key locks/{STAGING}" in output
    assert not changes(aws)
    assert not aws.change_sets


def test_a_dry_run_without_changes_says_so(aws, nothing, command):
    command("create", "staging", "--version", "new")
    _, output = command("create", "staging", "--dry-run")
    assert output.count(" is up to date") == 4


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_production_is_not_created_empty_beside_its_backups(
    aws, staging, fails, monkeypatch, dry_run
):
    """In a forgotten terminal, or before the recovery."""
    monkeypatch.setenv("AWS_REGION", DESTINATIONS[0])
    there, script = DESTINATIONS[0], "scripts/build_and_deploy.sh"
    remedy = f"next: unset AWS_REGION; or, to stay in {there}: AWS_REGION={there} {script}"
    if not dry_run:
        assert f"{remedy} create prod\n" in fails("rollback", "prod")
    output = fails("create", "prod", *dry_run)
    assert f"there is no {PROD} in {there} yet, and it would be without data" in output
    assert f"{remedy} recover prod\n" in output
    assert not aws.asked("cloudformation:CreateChangeSet")
