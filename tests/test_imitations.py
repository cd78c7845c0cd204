"""What both imitations of AWS refuse, tests/support/aws.py and tests/rehearsal/aws, is what AWS says that it refuses."""

import re
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.support import regions
from tests.support.aws import FakeAws
from tests.support.shapes import keep_to_limits

# What deploy asks, and what the templates need
ASKED = {
    service
    for service in boto3.Session().get_available_services()
    if any(one.startswith(f"{service.replace('-', '_')}_") for one in dir(FakeAws))
}
SERVICES = ASKED | {"codebuild", "codestar-notifications", "events", "scheduler"}
NOT_IN_BOTOCORE = {"chatbot", "codeconnections"}
TYPE = re.compile(r"\bType: (AWS::[\w:]+)")


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


def test_a_service_does_not_answer_where_it_does_not_exist():
    with pytest.raises(
        EndpointConnectionError, match=r'endpoint URL: "https://chatbot\.eu-north-1'
    ):
        FakeAws().client("chatbot", "eu-north-1").describe_slack_workspaces()


def _input(service, operation):
    model = ServiceModel(Loader().load_service_model(service, "service-2"))
    return model.operation_model(operation).input_shape


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
def test_a_request_that_aws_refuses_is_found(service, operation, parameters, what):
    shape = _input(service, operation)
    with pytest.raises(AssertionError, match=f"not as AWS takes it: .*{what}"):
        keep_to_limits(parameters, shape)


def test_a_pattern_that_python_reads_otherwise_is_not_passed_over():
    with pytest.raises(AssertionError, match=r"not a pattern for Python: .*\\p\{L\}"):
        keep_to_limits({"tags": {"a": "b"}}, _input("logs", "CreateLogGroup"))
