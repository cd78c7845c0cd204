"""What an answer of AWS means: whether it is one at all, and what to do after a refusal."""

import re
from typing import Any

from botocore.exceptions import ClientError

from deploy.base.errors import AwsFailure

# As botocore.parsers reads it: from a header, which EC2 leaves out of errors, or from an element of
# EC2's and the oldest services' XML
REQUEST_ID = re.compile("x-amzn?-request-?id", re.IGNORECASE)
REQUEST_ID_ELEMENT = re.compile(rb"<request-?id>", re.IGNORECASE)
# AWS services use different codes for the same error
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "InsufficientPrivilegesException",
    "403",
}
UNACCEPTED = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
SKEWED = {"RequestInTheFuture", "RequestTimeTooSkewed"}
SKEW = re.compile("Signature expired|Signature not yet current")
# What botocore takes for throttling, but for LimitExceededException: a quota, except in Kinesis
THROTTLED = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
TIMED_OUT = {"RequestTimeout", "RequestTimeoutException"}
TOO_MANY, PROXY, SERVER_ERROR = 429, 407, 500  # HTTP
# Permissions whose names are not those of the operations
PERMISSIONS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "resourcegroupstaggingapi:GetResources": "tag:GetResources",
    "elbv2:DescribeTargetGroups": "elasticloadbalancing:DescribeTargetGroups",
    "service-quotas:GetServiceQuota": "servicequotas:GetServiceQuota",
}


class Foreign(Exception):
    """A response that is not AWS's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status} is not an answer of AWS, but of a proxy or a sign-in page")
        self.status = status


def refuse_foreign(response_dict: dict[str, Any], **_: Any) -> None:
    """Raise Foreign for a response without AWS's request ID; for botocore's event "before-parse".

    botocore would fail to read it, take it for an empty one, or follow it to another server. An
    error of a server only loses its content: then botocore asks again, and reports the status.
    """
    status, body = response_dict["status_code"], response_dict["body"]
    if any(REQUEST_ID.fullmatch(name) for name in response_dict["headers"]):
        return
    if isinstance(body, bytes) and REQUEST_ID_ELEMENT.search(body):
        return
    if status < SERVER_ERROR:
        raise Foreign(status)
    response_dict["body"] = b""


def refused(region: str, action: str, error: ClientError) -> AwsFailure:
    """The failure of ``action``, such as "s3:GetObject", after an error of AWS.

    See docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html for the codes.
    """
    details = error.response.get("Error", {})
    code, reason = str(details.get("Code", "")), str(details.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_throttled = code in THROTTLED or status == TOO_MANY
    is_transient = is_throttled or code in TIMED_OUT or status >= SERVER_ERROR
    permission = PERMISSIONS.get(action, action)
    if code in SKEWED or SKEW.search(reason):
        what, remedy = "the clock of this machine is wrong", "correct it, then run it again"
    elif error.operation_name != action.partition(":")[2]:  # one that fetches credentials
        return unusable(region, error, is_transient)
    elif is_throttled:
        what = f"AWS limits the number of requests, and refused {action}"
        remedy = "wait a minute and run it again"
    elif code in DENIED:
        what = f"the permission {permission} is missing"
        remedy = "grant it to these credentials, or use others"
    elif code in UNACCEPTED:
        what, remedy = "AWS does not accept the credentials", _log_in(region)
    elif code == str(status) and is_transient:
        return unanswered(action, f"HTTP {status} {reason}", status)
    else:
        what, remedy = f"AWS refused {action}: {code}", "see the reason above"
    return AwsFailure(f"{what}: {reason}", remedy, code, reason, is_transient)


def unanswered(action: str, why: str, status: int) -> AwsFailure:
    """The failure of ``action`` without an answer of AWS; ``status`` is that of HTTP, or 0."""
    first_line = why.partition("\n")[0]  # botocore adds the content that it could not read
    return AwsFailure(
        f"AWS did not answer {action}: {first_line}",
        "check the network, its proxy and the region, then run it again",
        transient=status != PROXY,
    )


def unusable(region: str, error: Exception, transient: bool = False) -> AwsFailure:
    """The failure of any action without credentials that can be used."""
    return AwsFailure(
        f"the credentials or the configuration for AWS cannot be used: {error}",
        _log_in(region),
        transient=transient,
    )


def _log_in(region: str) -> str:
    return (
        "log in again (such as with 'aws sso login'), or correct AWS_PROFILE or ~/.aws/config; "
        f"then check your identity: aws sts get-caller-identity --region {region}"
    )
