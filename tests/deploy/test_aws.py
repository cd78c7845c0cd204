"""Error messages for requests that AWS refuses or does not answer; and the equivalent commands that are shown."""

import io
import shlex

import boto3
import pytest
from botocore import exceptions
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ParamValidationError
from botocore.retries.standard import ThrottledRetryableChecker

from deploy.base import aws as deploy_aws
from deploy.base.aws import Aws, command_line, open_session
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.errors import AwsFailure
from tests.support.aws import ACCOUNT, CREDENTIALS, REGION

URL = {"endpoint_url": "https://aws.test"}
# Answers of proxies and sign-in pages
FOREIGN = {
    "page": b"<!DOCTYPE html>\n<html><body>Please log in</body></html>",
    "XHTML": b'<?xml version="1.0"?><!DOCTYPE html><html><br></html>',
    "comment": b"<!-- x --><html/>",
    "mark": b"\xef\xbb\xbf<html/>",
    "nothing": b"",
    "object": b"{}",
    "error": b'{"error": "login required"}',
    "text": b"blocked",
    "cut off": b"<DescribeEnvironmentsRes",
}


def failure(run, **more):
    with pytest.raises(AwsFailure) as caught:
        run.aws.ask("ecr", "describe_images", repositoryName="images", **more)
    return caught.value


@pytest.mark.parametrize(
    ("code", "what", "next_"),
    [
        ("AccessDeniedException", "the permission ecr:DescribeImages is missing: no", "grant it"),
        ("UnauthorizedOperation", "the permission ecr:DescribeImages is missing: no", "grant it"),
        ("ExpiredTokenException", "AWS does not accept the credentials: no", "AWS_PROFILE"),
        ("UnrecognizedClientException", "AWS does not accept the credentials: no", "AWS_PROFILE"),
        ("AuthFailure", "AWS does not accept the credentials: no", "AWS_PROFILE"),
        ("RequestTimeTooSkewed", "the clock of this machine is wrong: no", "correct it"),
        ("ThrottlingException", "AWS limits the number of requests", "wait a minute"),
        ("ServerException", "AWS refused ecr:DescribeImages: ServerException: no", "the reason"),
    ],
)
def test_each_error_of_aws_says_what_to_do(aws, run, code, what, next_):
    aws.fail("ecr:DescribeImages", code, message="no")
    found = failure(run)
    assert what in found.what
    assert next_ in found.next
    assert found.code == code


SLOW = "Signature expired: 20261127T100000Z is now earlier than 20261127T101500Z"
FAST = "Signature not yet current: 20261127T110000Z is still later than 20261127T103000Z"


@pytest.mark.parametrize("reason", [SLOW, FAST])
@pytest.mark.parametrize(
    "code", ["InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "AccessDenied"]
)
def test_a_wrong_clock_is_reported_as_the_cause(aws, run, code, reason):
    aws.fail("ecr:DescribeImages", code, message=reason)
    found = failure(run)
    assert found.what == f"the clock of this machine is wrong: {reason}"
    assert not found.transient


def raised(aws, run, error):
    """The failure of a question for which botocore raises ``error``."""

    def raise_(**_):
        raise error

    aws.ecr_describe_images = raise_
    return failure(run)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectTimeoutError(**URL),
        exceptions.ReadTimeoutError(**URL),
        exceptions.EndpointConnectionError(**URL),
        exceptions.ConnectionClosedError(**URL),
        exceptions.ProxyConnectionError(proxy_url="http://proxy.test"),
        exceptions.SSLError(**URL, error="self-signed certificate"),
        exceptions.ResponseStreamingError(error="reset"),
        exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_network_errors_are_transient(aws, run, error):
    found = raised(aws, run, error)
    assert found.what == f"AWS did not answer ecr:DescribeImages: {error}"
    assert "check the network" in found.next
    assert found.transient


@pytest.mark.parametrize(
    "error",
    [
        exceptions.NoCredentialsError(),
        exceptions.ProfileNotFound(profile="x"),
        exceptions.TokenRetrievalError(provider="sso", error_msg="Token has expired"),
        exceptions.UnauthorizedSSOTokenError(),
        exceptions.InvalidConfigError(error_msg='profile "x" has no source_profile'),
        exceptions.ConfigParseError(path="/x", error="no section"),
        exceptions.ConfigNotFound(path="/x"),
        exceptions.RefreshWithMFAUnsupportedError(),
        exceptions.CredentialRetrievalError(provider="custom-process", error_msg="exit 1"),
        exceptions.UnknownCredentialError(name="nowhere"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_credentials_and_configuration_are_not_transient(aws, run, error):
    found = raised(aws, run, error)
    assert found.what == f"the credentials or the configuration for AWS cannot be used: {error}"
    assert f"aws sts get-caller-identity --region {REGION}" in found.next
    assert found.code == ""
    assert not found.transient


@pytest.mark.parametrize(("code", "transient"), [("AccessDenied", False), ("Throttling", True)])
def test_a_role_that_cannot_be_assumed_is_not_a_missing_permission(aws, run, code, transient):
    """Credentials are fetched by requests of their own."""
    details = {"Error": {"Code": code, "Message": "invalid MFA code"}}
    found = raised(aws, run, ClientError(details, "AssumeRole"))
    assert "the credentials or the configuration for AWS cannot be used: " in found.what
    assert "AssumeRole" in found.what
    assert found.transient is transient


def test_an_unknown_parameter_is_a_bug_in_this_program(run):
    with pytest.raises(ParamValidationError, match="Unknown parameter"):
        failure(run, colour="green")


def test_each_region_has_its_own_client(aws, run):
    assert run.at("eu-central-1").aws.region == "eu-central-1"
    assert run.at("eu-central-1").settings.region == "eu-central-1"
    assert run.aws.region == "eu-west-1"


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "command"),
    [
        (
            "elasticbeanstalk",
            "abort_environment_update",
            {"EnvironmentName": "a b"},
            ["aws", "elasticbeanstalk", "abort-environment-update", "--environment-name", "a b"],
        ),
        (
            "rds",
            "modify_db_instance",
            {"DBInstanceIdentifier": "x", "ApplyImmediately": True},
            [
                "aws",
                "rds",
                "modify-db-instance",
                "--db-instance-identifier",
                "x",
                "--apply-immediately",
            ],
        ),
        (
            "elasticbeanstalk",
            "delete_application_version",
            {"DeleteSourceBundle": False},
            ["aws", "elasticbeanstalk", "delete-application-version", "--no-delete-source-bundle"],
        ),
        (
            "elasticbeanstalk",
            "create_environment",
            {"Tags": [{"Key": "it's"}]},
            ["aws", "elasticbeanstalk", "create-environment", "--tags", '[{"Key": "it\'s"}]'],
        ),
        (
            "s3",
            "put_object",
            {"Key": "a", "Body": b"it's"},
            [
                "printf",
                "%s",
                "it's",
                ">body",
                "&&",
                "aws",
                "s3api",
                "put-object",
                "--key",
                "a",
                "--body",
                "body",
            ],
        ),
    ],
)
def test_a_change_is_shown_as_a_command_that_can_be_pasted(service, operation, parameters, command):
    assert shlex.split(command_line(REGION, service, operation, parameters)) == [
        *command,
        "--region",
        REGION,
    ]


@pytest.mark.parametrize(
    ("code", "transient"),
    [
        (None, True),
        ("RequestTimeout", True),
        ("AccessDenied", False),
        ("ResourceAlreadyExistsException", False),
        ("LimitExceededException", False),  # of services but Kinesis, a quota
    ],
)
def test_transient_errors_are_recognised(aws, run, code, transient):
    aws.fail("logs:CreateLogGroup", code)
    with pytest.raises(AwsFailure) as caught:
        run.aws.change("logs", "create_log_group", logGroupName="one")
    assert caught.value.transient is transient


def test_every_throttling_code_of_botocore_is_transient(aws, run):
    for code in {*ThrottledRetryableChecker._THROTTLED_ERROR_CODES} - {"LimitExceededException"}:
        aws.fail("ecr:DescribeImages", code, times=1)
        assert failure(run).transient, code


def test_an_operation_is_named_like_its_iam_permission(aws, run):
    aws.fail("rds:DescribeDBInstances")
    with pytest.raises(AwsFailure, match="the permission rds:DescribeDBInstances is missing"):
        run.aws.ask("rds", "describe_db_instances")


# --- Answers that are not AWS's -----------------------------------------------------------------


@pytest.fixture(scope="module")
def stranger():
    """Clients whose requests somebody else answers, with its ``status``, ``headers`` and ``body``."""
    session = open_session(**CREDENTIALS)
    aws = Aws(REGION, Changes(Console()), session)

    def respond(request, **_):
        return AWSResponse(request.url, aws.status, aws.headers, Raw(aws.body))

    session.events.register("before-send", respond)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield aws


class Raw(io.BytesIO):
    """A response's content, as urllib3 has it."""

    def stream(self, *_, **__):
        yield self.read()


@pytest.fixture
def other(stranger):
    """Asks one of QUESTIONS, and somebody else answers."""

    def ask(question, status, body, *names):
        stranger.status, stranger.body = status, body
        stranger.headers = dict.fromkeys(("content-type", *names), "1")
        service, operation, parameters = QUESTIONS[question]
        return stranger.ask(service, operation, **parameters)

    return ask


QUESTIONS = {
    "query": ("elasticbeanstalk", "describe_environments", {}),
    "ec2": ("ec2", "get_ebs_encryption_by_default", {}),
    "json": ("codepipeline", "get_pipeline_state", {"name": "x"}),
    "rest-json": ("backup", "describe_region_settings", {}),
    "rest-xml": ("s3", "list_objects_v2", {"Bucket": "x"}),
    "stream": ("s3", "get_object", {"Bucket": "x", "Key": "x"}),
    "nothing": ("s3", "delete_object", {"Bucket": "x", "Key": "x"}),
    "head": ("s3", "head_object", {"Bucket": "x", "Key": "x"}),
}


@pytest.mark.parametrize("status", [200, 302, 403, 407, 503])
@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
def test_a_response_without_a_request_id_is_not_an_answer(other, status, body):
    for question in QUESTIONS:
        with pytest.raises(AwsFailure, match=f"AWS did not answer .*: HTTP {status}") as caught:
            other(question, status, body)
        assert caught.value.transient is (status != 407), question


@pytest.mark.parametrize(
    ("question", "body", "names"),
    [
        ("json", b'{"pipelineName": "x", "stageStates": []}', ["x-amzn-RequestId"]),
        ("rest-json", b"{}", ["X-Amzn-Requestid"]),
        ("rest-xml", b"<ListBucketResult/>", ["x-amz-request-id"]),
        ("stream", b"<html>", ["x-amz-request-id"]),
        ("nothing", b"", ["x-amz-request-id"]),
        ("query", b"<R><DescribeEnvironmentsResult/></R>", ["x-amzn-requestid"]),
        ("query", b"<R><DescribeEnvironmentsResult/><RequestId>1</RequestId></R>", []),
        ("ec2", b"<R><requestId>1</requestId></R>", []),
    ],
)
def test_a_response_of_aws_is_accepted(other, question, body, names):
    assert other(question, 200, body, *names)["ResponseMetadata"]


def test_errors_in_the_format_of_ec2_are_read(other):
    error = b"<Response><Errors><Error><Code>UnauthorizedOperation</Code></Error></Errors>"
    with pytest.raises(AwsFailure, match="the permission ec2:GetEbsEncryptionByDefault is missing"):
        other("ec2", 403, error + b"<RequestID>1</RequestID></Response>")


# --- Sessions -----------------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path, monkeypatch):
    """A profile whose credentials come from a program; counts how often it was started."""
    log, script = tmp_path / "log", tmp_path / "process"
    script.write_text(
        f"""#!/bin/sh
echo started >>{shlex.quote(str(log))}
echo '{{"Version": 1, "AccessKeyId": "x", "SecretAccessKey": "x",'
echo '  "SessionToken": "x", "Expiration": "2999-01-01T00:00:00Z"}}'
"""
    )
    script.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        f"[profile some]\ncredential_process = {shlex.quote(str(script))}\n"
        f"[profile role]\nsource_profile = some\nrole_arn = arn:aws:iam::{ACCOUNT}:role/x\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "some")
    return lambda: log.read_text().count("started")


@pytest.fixture
def answer(monkeypatch):
    """Answers all requests of new sessions with a JSON object; returns their URLs."""

    def respond_with(**headers):
        asked = []

        def respond(request, **_):
            asked.append(request.url)
            return AWSResponse(request.url, 200, headers, Raw(b"{}"))

        def open_(make=boto3.Session):
            session = make()
            session.events.register("before-send", respond)
            return session

        monkeypatch.setattr(deploy_aws.boto3, "Session", open_)
        return asked

    return respond_with


def test_credentials_are_fetched_once_for_all_services_and_regions(process, answer):
    """Otherwise each service and region would ask for an MFA code, which AWS accepts once."""
    asked = answer(**{"x-amzn-requestid": "1"})
    aws = Aws(REGION, Changes(Console()))
    for one in (aws, aws.at("eu-central-1"), aws.at("eu-central-1").at(REGION)):
        one.ask("ecr", "describe_registry")
        one.ask("kms", "list_aliases")
    assert len(asked) == 6
    assert len({url.split("/")[2] for url in asked}) == 4
    assert process() == 1


def test_requests_for_credentials_are_checked_as_well(process, answer, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "role")
    answer()
    with pytest.raises(AwsFailure, match="AWS did not answer kms:ListAliases: HTTP 200"):
        Aws(REGION, Changes(Console())).ask("kms", "list_aliases")
