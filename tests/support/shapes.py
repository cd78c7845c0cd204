"""What AWS's own models of its services say of requests, answers and errors; botocore brings them along."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from botocore.validate import ParamValidator

# Of any service, in the forms of its protocol, and what makes botocore ask again:
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
COMMON = {
    *ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
    *TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"),
    *("AuthFailure", "UnrecognizedClientException", "InvalidClientTokenId"),
    *("ExpiredToken", "ExpiredTokenException"),
    *("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
    *("ValidationError", "ValidationException"),
} - {"LimitExceededException"}  # which is throttling in Kinesis only
# What the models leave out, by service: where AWS says so, or who has seen it
S3_CONDITIONS = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html"
REPORTED = {
    ("ec2", "InvalidInstanceType"): "https://github.com/scylladb/scylla-cluster-tests/issues/12419",
    # Also for what does not exist, or exists already, such as
    # https://github.com/awsdocs/aws-elastic-beanstalk-developer-guide/pull/100
    # https://github.com/travis-ci/dpl/issues/1184
    # https://github.com/hashicorp/terraform/issues/22433
    ("elasticbeanstalk", "InvalidParameterValue"): "https://docs.aws.amazon.com/elasticbeanstalk/"
    "latest/api/CommonErrors.html",
    ("s3", "ConditionalRequestConflict"): S3_CONDITIONS,
    ("s3", "NoSuchBucket"): "https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html",
    ("s3", "NoSuchKey"): "https://docs.aws.amazon.com/AmazonS3/latest/userguide/"
    "conditional-deletes.html",
    ("s3", "PreconditionFailed"): S3_CONDITIONS,
}


def keep_to_codes(code: str, model: OperationModel) -> None:
    """Raises AssertionError if AWS is not known to answer an operation with ``code``; ``model`` is the operation's.

    The source of a code is the page of the operation in the API reference, COMMON or REPORTED.
    """
    service, declared = model.service_model.service_name, set(find_declared(model))
    known = code in declared | COMMON or (service, code) in REPORTED
    assert known, f"{service}:{model.name} is not known to answer {code}, but {declared}"


def find_denial(service: ServiceModel) -> str:
    """The error code for a missing permission, by the model of a service: it depends on the protocol.

    SNS has its own: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
    """
    protocols = set(service.metadata["protocols"])
    if service.service_name == "sns":
        return "AuthorizationError"
    if "ec2" in protocols:
        return "UnauthorizedOperation"
    return "AccessDenied" if protocols & {"query", "rest-xml"} else "AccessDeniedException"


def find_declared(model: OperationModel) -> list[str]:
    """The error codes that the model of an operation has."""
    return [one.error_code for one in model.error_shapes]


def keep_to_shape(answer: Mapping[str, Any], shape: Shape | None) -> None:
    """Raises AssertionError if ``answer`` has keys that AWS's ``shape`` does not have, or lacks required ones."""
    if shape is None:
        assert not answer, answer
        return
    report = ParamValidator().validate(
        {key: value for key, value in answer.items() if not hasattr(value, "read")}, shape
    )
    assert not report.has_errors(), f"not as AWS answers: {report.generate_report()}"


def keep_to_limits(parameters: Mapping[str, Any], shape: Shape | None) -> None:
    """Raises AssertionError if AWS's ``shape`` does not allow ``parameters``, of which botocore looks at the types only.

    That is by enumerations, lengths, ranges and patterns.
    """
    wrong = list(_violations(parameters, shape, "")) if shape else []
    assert not wrong, f"not as AWS takes it: {'; '.join(wrong)}"


def _violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        for key in value.keys() & shape.members.keys():
            yield from _violations(value[key], shape.members[key], f"{path}.{key}")
        return
    if kind == "list":
        for one in value:
            yield from _violations(one, shape.member, f"{path}[]")
    elif kind == "map":
        for key, one in value.items():
            yield from _violations(key, shape.key, f"{path} key")
            yield from _violations(one, shape.value, f"{path}.{key}")
    yield from (f"{path[1:]} {value!r:.80}: {what}" for what in _of_limits(value, kind, shape))


def _of_limits(value: Any, kind: str, shape: Shape) -> Iterator[str]:
    limits = shape.metadata
    if not limits or hasattr(value, "read"):
        return
    if "min" in limits or "max" in limits:
        size = value if isinstance(value, int | float) else len(value)
        if not limits.get("min", size) <= size <= limits.get("max", size):
            yield f"expected {limits.get('min', '')}..{limits.get('max', '')}"
    if kind == "string":
        if shape.enum and value not in shape.enum:
            yield f"expected one of {', '.join(shape.enum):.80}"
        if "pattern" in limits and not _compile(limits["pattern"]).fullmatch(value):
            yield f"expected {limits['pattern']}"


def _compile(pattern: str) -> re.Pattern[str]:
    """As AWS reads it, in Java: there, classes such as \\w have ASCII characters only. What Python cannot read fails."""
    assert not re.search(r"\\[pPQE]|\[:|&&", pattern), f"not a pattern for Python: {pattern}"
    return re.compile(pattern, re.ASCII)
