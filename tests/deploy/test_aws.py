"""Error messages for requests that AWS refuses or does not answer; and the equivalent commands that are shown."""

import shlex

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    NoCredentialsError,
    ParamValidationError,
    ProfileNotFound,
    ReadTimeoutError,
    TokenRetrievalError,
)

from deploy.aws import command_line
from deploy.errors import AwsFailure

URL = {"endpoint_url": "https://aws.test"}


def failure(run, **more):
    with pytest.raises(AwsFailure) as caught:
        run.aws.ask("ecr", "describe_images", repositoryName="images", **more)
    return caught.value


@pytest.mark.parametrize(
    ("code", "what", "next_"),
    [
        ("AccessDeniedException", "the permission ecr:DescribeImages is missing: no", "let these"),
        ("UnauthorizedOperation", "the permission ecr:DescribeImages is missing: no", "let these"),
        ("ExpiredTokenException", "AWS does not accept the credentials: no", "AWS_PROFILE"),
        ("UnrecognizedClientException", "AWS does not accept the credentials: no", "AWS_PROFILE"),
        ("ThrottlingException", "AWS limits the number of requests", "wait a minute"),
        ("ServerException", "AWS refused ecr:DescribeImages: ServerException: no", "the reason"),
    ],
)
def test_refusals_say_what_to_do(aws, run, code, what, next_):
    aws.fail("ecr:DescribeImages", code, message="no")
    found = failure(run)
    assert what in found.what
    assert next_ in found.next
    assert found.code == code


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (NoCredentialsError(), "there are no credentials for AWS"),
        (ProfileNotFound(profile="x"), "there are no credentials for AWS"),
        (TokenRetrievalError(provider="sso", error_msg="expired"), "did not answer"),
        (ConnectTimeoutError(**URL), "AWS did not answer ecr:DescribeImages"),
        (ReadTimeoutError(**URL), "AWS did not answer ecr:DescribeImages"),
    ],
)
def test_missing_responses_say_what_to_do(aws, run, error, what):
    def raise_(**_):
        raise error

    aws.ecr_describe_images = raise_
    found = failure(run)
    assert what in found.what
    assert found.code == ""


def test_an_unknown_parameter_is_a_bug_in_this_program(run):
    with pytest.raises(ParamValidationError, match="Unknown parameter"):
        failure(run, colour="green")


def test_another_region_is_another_client(aws, run):
    assert run.at("eu-central-1").aws.region == "eu-central-1"
    assert run.at("eu-central-1").settings.region == "eu-central-1"
    assert run.aws.region == "eu-west-1"


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "command"),
    [
        ("elasticbeanstalk", "abort_environment_update", {"EnvironmentName": "a b"},
         ["aws", "elasticbeanstalk", "abort-environment-update", "--environment-name", "a b"]),
        ("rds", "modify_db_instance", {"DBInstanceIdentifier": "x", "ApplyImmediately": True},
         ["aws", "rds", "modify-db-instance", "--db-instance-identifier", "x",
          "--apply-immediately"]),
        ("elasticbeanstalk", "delete_application_version", {"DeleteSourceBundle": False},
         ["aws", "elasticbeanstalk", "delete-application-version", "--no-delete-source-bundle"]),
        ("elasticbeanstalk", "create_environment", {"Tags": [{"Key": "it's"}]},
         ["aws", "elasticbeanstalk", "create-environment", "--tags", '[{"Key": "it\'s"}]']),
        ("s3", "put_object", {"Key": "a", "Body": b"it's"},
         ["printf", "%s", "it's", ">body", "&&", "aws", "s3api", "put-object", "--key", "a",
          "--body", "body"]),
    ],
)  # fmt: skip
def test_a_change_is_shown_as_a_command_that_can_be_pasted(service, operation, parameters, command):
    assert shlex.split(command_line(service, operation, parameters)) == command


@pytest.mark.parametrize(
    ("code", "transient"),
    [(None, True), ("ThrottlingException", True), ("AccessDenied", False), ("NoSuchKey", False)],
)
def test_transient_errors_are_recognised(aws, run, code, transient):
    aws.fail("ecr:DescribeImages", code)
    assert failure(run).transient is transient


def test_missing_credentials_are_not_transient(aws, run):
    def refuse(**_):
        raise NoCredentialsError

    aws.ecr_describe_images = refuse
    assert failure(run).transient is False


def test_the_name_of_an_operation_is_that_of_the_permission(aws, run):
    aws.fail("rds:DescribeDBInstances")
    with pytest.raises(AwsFailure, match="the permission rds:DescribeDBInstances is missing"):
        run.aws.ask("rds", "describe_db_instances")
