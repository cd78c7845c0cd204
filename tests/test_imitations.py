"""What both imitations of AWS refuse, tests/support/aws.py and tests/rehearsal/aws, is what AWS says that it refuses."""

import ast
import re
from pathlib import Path

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.support import regions
from tests.support.aws import APPLICATION, REGION, FakeAws
from tests.support.shapes import COMMON, REPORTED, find_declared, keep_to_limits

# What deploy asks, and what the templates need
ASKED = {
    service
    for service in boto3.Session().get_available_services()
    if any(one.startswith(f"{service.replace('-', '_')}_") for one in dir(FakeAws))
}
SERVICES = ASKED | {"codebuild", "codestar-notifications", "events", "scheduler"}
NOT_IN_BOTOCORE = {"chatbot", "codeconnections"}
# The services that modules of tests/rehearsal/aws have errors of
SERVED = (
    ("backup", "backup"),
    ("beanstalk", "elasticbeanstalk"),
    ("cloudwatch", "cloudwatch"),
    ("codepipeline", "codepipeline"),
    ("ecr", "ecr"),
    ("logs", "logs"),
    ("rds", "rds"),
    ("secrets", "secretsmanager"),
    ("stacks", "cloudformation"),
)
TYPE = re.compile(r"\bType: (AWS::[\w:]+)")


@pytest.fixture
def aws():
    return FakeAws()


@pytest.mark.parametrize("service", sorted(SERVICES - NOT_IN_BOTOCORE | {"codestar-connections"}))
def test_a_service_is_where_botocore_has_endpoints(service):
    known = set(boto3.Session().get_available_regions(service))
    lacking = regions.LACKING.get(service.replace("codestar-connections", "codeconnections"), set())
    assert regions.COMMERCIAL - lacking == known


def test_a_type_is_where_cloudformation_publishes_it():
    texts = [
        one.read_text() for one in (*Path("devops").glob("*.yml"), *Path(".ebextensions").iterdir())
    ]
    kinds = {kind for text in texts for kind in TYPE.findall(text)}
    known = {
        one: set(PROVIDER_SCHEMA_MANAGER.get_resource_types(one)) for one in regions.COMMERCIAL
    }
    missing = {kind: {one for one in known if kind not in known[one]} for kind in kinds}
    assert {kind: found for kind, found in missing.items() if found} == regions.MISSING


def test_a_service_does_not_answer_where_it_does_not_exist(aws):
    with pytest.raises(
        EndpointConnectionError, match=r'endpoint URL: "https://chatbot\.eu-north-1'
    ):
        aws.client("chatbot", "eu-north-1").describe_slack_workspaces()


def _model(service):
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def _input(service, operation):
    return _model(service).operation_model(operation).input_shape


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "what"),
    [
        ("logs", "PutRetentionPolicy", {"logGroupName": "a b"}, r"logGroupName 'a b': expected \["),
        (
            "logs",
            "PutRetentionPolicy",
            {"logGroupName": "ä"},
            "logGroupName 'ä'",
        ),  # in Java, \w is ASCII
        ("logs", "CreateLogGroup", {"logGroupName": "a" * 513}, "expected 1..512"),
        ("elasticbeanstalk", "CreateEnvironment", {"EnvironmentName": "abc"}, "expected 4..40"),
        (
            "elasticbeanstalk",
            "DescribeEvents",
            {"MaxRecords": 1001},
            "MaxRecords 1001: expected 1..1000",
        ),
        ("ecr", "DescribeImages", {"imageIds": [{"imageTag": ""}]}, r"imageIds\[\].imageTag ''"),
        (
            "acm",
            "ListCertificates",
            {"CertificateStatuses": ["ISSUED", "READY"]},
            "'READY': expected one of PENDING",
        ),
        ("s3", "PutObject", {"Body": b"x" * 10, "Key": ""}, "Key ''"),
    ],
)
def test_an_invalid_request_is_found(service, operation, parameters, what):
    shape = _input(service, operation)
    with pytest.raises(AssertionError, match=f"not as AWS takes it: .*{what}"):
        keep_to_limits(parameters, shape)


def test_a_pattern_that_python_cannot_read_is_found():
    with pytest.raises(AssertionError, match=r"not a pattern for Python: .*\\p\{L\}"):
        keep_to_limits({"tags": {"a": "b"}}, _input("logs", "CreateLogGroup"))


def _refusals(path):
    """The codes of errors in a module, with the name of the function that each is in."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            calls = (one for one in ast.walk(function) if isinstance(one, ast.Call))
            for call in calls:
                match call:
                    case ast.Call(func=ast.Name("Refused"), args=[ast.Constant(code), *_]):
                        yield function.name, code


def _declared(service):
    """The error codes that the operations of a service have, by the names of these in Python."""
    model = _model(service)
    operations = [model.operation_model(one) for one in model.operation_names]
    return {xform_name(one.name): set(find_declared(one)) for one in operations}


@pytest.mark.parametrize(("module", "service"), SERVED)
def test_an_error_code_of_the_rehearsal_is_one_of_the_service(module, service):
    declared = _declared(service)
    any_of_them = set().union(*declared.values()) | {one for of, one in REPORTED if of == service}
    found = set(_refusals(Path(f"tests/rehearsal/aws/{module}.py")))
    assert found
    for function, code in found:
        assert code in declared.get(function, any_of_them) | COMMON, function


def test_other_modules_of_the_rehearsal_have_common_error_codes_only():
    for path in Path("tests/rehearsal/aws").glob("*.py"):
        if path.stem not in dict(SERVED):
            assert {code for _, code in _refusals(path)} <= COMMON, path


def test_an_error_code_that_aws_is_not_known_to_return_is_found(aws):
    aws.fail("ecr:DescribeImages", "NoSuchImage")
    with pytest.raises(AssertionError, match="ecr:DescribeImages is not known to answer NoSuchI"):
        aws.client("ecr", REGION).describe_images(repositoryName="images")


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("ec2", "describe_vpcs", "UnauthorizedOperation"),
        ("ecr", "get_authorization_token", "AccessDeniedException"),
        ("elasticbeanstalk", "describe_environments", "AccessDenied"),
    ],
)
def test_a_missing_permission_has_the_code_of_the_protocol(aws, service, operation, code):
    client = aws.client(service, REGION)
    aws.fail(f"{service}:{client.meta.method_to_api_mapping[operation]}")
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)()
    assert caught.value.response["Error"]["Code"] == code


def test_an_environment_is_not_updated_once_a_resource_has_failed(aws):
    before = aws.add_environment("staging", "old")
    aws.stacks[f"awseb-{before['id']}-stack"] = {"status": "CREATE_FAILED", "outputs": {}}
    name = f"{APPLICATION}-staging"
    aws.client("elasticbeanstalk", REGION).update_environment(
        EnvironmentName=name, VersionLabel="new"
    )
    assert aws.environments[name]["label"] == "old"
    assert "is in CREATE_FAILED state and can not be updated." in aws.events[0][3]


def test_every_limit_of_the_rehearsal_is_scaled():
    """By PATIENCE: a number of seconds that ends a wait is a limit(), also as an argument of wait and join."""
    literal = re.compile(r"timeout=\d|\.(wait|join)\(\d|monotonic\(\) [+<] ?\d")
    texts = {path: path.read_text() for path in Path("tests/rehearsal").rglob("*.py")}
    assert [path for path, text in texts.items() if literal.search(text)] == []
