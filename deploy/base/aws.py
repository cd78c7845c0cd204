"""AWS in one region: queries, changes, and the translation of its errors."""

import copy
import functools
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
)
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

from deploy.base.changes import Changes
from deploy.base.errors import AwsFailure

Answer = dict[str, Any]

# What may work a moment later. Whatever else botocore raises is a matter of this machine's
# credentials or configuration, of which each version has new kinds.
NETWORK = (HTTPClientError, NoConnection, IncompleteReadError, ChecksumError,
           FlexibleChecksumError, ResponseParserError)  # fmt: skip
# AWS services use different codes for the same error
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError",
          "InsufficientPrivilegesException", "403"}  # fmt: skip
UNACCEPTED = {
    "AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
    "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException",
    "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
SKEWED = {"RequestInTheFuture", "RequestTimeTooSkewed"}
SKEW = re.compile("Signature expired|Signature not yet current")
# What botocore takes for throttling, but for LimitExceededException: a quota, except in Kinesis
THROTTLED = {
    "BandwidthLimitExceeded", "EC2ThrottledException", "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled",
    "RequestThrottledException", "SlowDown", "ThrottledException", "Throttling",
    "ThrottlingException", "TooManyRequestsException", "TransactionInProgressException",
}  # fmt: skip
TIMED_OUT = {"RequestTimeout", "RequestTimeoutException"}
TOO_MANY, PROXY, SERVER_ERROR = 429, 407, 500  # HTTP
# As botocore.parsers reads it: from a header, which EC2 leaves out of errors, or from an element of
# EC2's and the oldest services' XML
REQUEST_ID = re.compile("x-amzn?-request-?id", re.IGNORECASE)
REQUEST_ID_ELEMENT = re.compile(rb"<request-?id>", re.IGNORECASE)
# Permissions whose names are not those of the operations
PERMISSIONS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "elbv2:DescribeTargetGroups": "elasticloadbalancing:DescribeTargetGroups",
    "service-quotas:GetServiceQuota": "servicequotas:GetServiceQuota",
}
# Services whose names in the AWS CLI and in boto3 differ
COMMANDS = {"s3": "s3api"}


class Aws:
    """Clients for one region. A query without a response is an error, never an empty result."""

    def __init__(self, region: str, changes: Changes, session: Any = None) -> None:
        self.region = region
        self._changes = changes
        # One for all services and regions, as it asks for a code of MFA, or starts a program.
        # Opened by the first question, which reports its errors
        self._open = functools.cache(lambda: session or open_session())
        self._clients: dict[tuple[str, str], Any] = {}

    def at(self, region: str) -> "Aws":
        """The same account in another region."""
        other = copy.copy(self)
        other.region = region
        return other

    def ask(self, service: str, operation: str, **parameters: Any) -> Answer:
        """The response to a query, with the content of a streamed body. Raises AwsFailure."""
        answer: Answer = self._translated(
            service, operation, lambda client: _whole(getattr(client, operation)(**parameters))
        )
        return answer

    def find(self, service: str, operation: str, absent: str, **parameters: Any) -> Answer | None:
        """The same; None for an error whose "code: reason" begins with the pattern ``absent``."""
        try:
            return self.ask(service, operation, **parameters)
        except AwsFailure as failure:
            if not re.match(absent, f"{failure.code}: {failure.reason}"):
                raise
            return None

    def pages(self, service: str, operation: str, **parameters: Any) -> list[Answer]:
        """All pages of the response to a query. Raises AwsFailure."""
        found: list[Answer] = self._translated(
            service, operation, lambda client: list(_pages(client, operation, parameters))
        )
        return found

    def every(self, service: str, operation: str, key: str, **parameters: Any) -> list[Any]:
        """The entries under ``key`` in all pages of the response. Raises AwsFailure."""
        pages = self.pages(service, operation, **parameters)
        return [one for page in pages for one in page.get(key) or []]

    def change(
        self,
        service: str,
        operation: str,
        *,
        otherwise: Answer | None = None,
        shown: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Answer:
        """The response to a request that changes something; in a dry run ``otherwise``, or nothing.

        The equivalent command is shown; ``shown`` replaces parameters that
        are secret, or that come from a file. Raises AwsFailure.
        """
        return self._changes.make(
            command_line(self.region, service, operation, parameters | dict(shown or {})),
            lambda: self.ask(service, operation, **parameters),
            otherwise or {},
        )

    def account(self) -> str:
        """The account ID."""
        return str(self.ask("sts", "get_caller_identity")["Account"])

    def caller(self) -> str:
        """The ARN of the caller's identity."""
        return str(self.ask("sts", "get_caller_identity")["Arn"])

    def _translated(self, service: str, operation: str, call: Any) -> Any:
        action = service
        try:
            client = self._client(service)
            name = client.meta.method_to_api_mapping[operation]
            action = f"{service}:{name}"
            return call(client)
        except ClientError as error:
            raise _refused(self.region, action, error) from error
        except ParamValidationError:  # a bug in this program
            raise
        except (_Foreign, *NETWORK) as error:
            raise _unanswered(action, str(error), getattr(error, "status", 0)) from error
        except BotoCoreError as error:
            raise _unusable(self.region, error) from error

    def _client(self, service: str) -> Any:
        key = service, self.region
        if key not in self._clients:
            self._clients[key] = self._open().client(
                service,
                region_name=self.region,
                config=Config(connect_timeout=10, read_timeout=60),
            )
        return self._clients[key]


def _pages(client: Any, operation: str, parameters: dict[str, Any]) -> Iterator[Answer]:
    if client.can_paginate(operation):
        yield from client.get_paginator(operation).paginate(**parameters)
        return
    more: dict[str, Any] = {}
    while True:
        page = getattr(client, operation)(**parameters, **more)
        yield page
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _whole(answer: Answer) -> Answer:
    """``answer``, with the content of a body, which may be cut off."""
    body: Any = answer.get("Body")
    return answer | {"Body": body.read()} if hasattr(body, "read") else answer


def open_session(**options: Any) -> boto3.Session:
    """A session that takes no answer of a proxy or a sign-in page for one of AWS.

    That holds for its own requests for credentials as well.
    """
    session = boto3.Session(**options)
    # So many wildcards precede what botocore does for S3
    session.events.register("before-parse.*.*", _refuse_foreign)
    return session


class _Foreign(Exception):
    """A response that is not AWS's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status} is from something else: a proxy or a sign-in page")
        self.status = status


def _refuse_foreign(response_dict: Answer, **_: Any) -> None:
    """Raise _Foreign for a response without AWS's request ID.

    botocore would fail to read it, take it for an empty one, or follow it to another server. An
    error of a server only loses its content: then botocore asks again, and reports the status.
    """
    status, body = response_dict["status_code"], response_dict["body"]
    if any(REQUEST_ID.fullmatch(name) for name in response_dict["headers"]):
        return
    if isinstance(body, bytes) and REQUEST_ID_ELEMENT.search(body):
        return
    if status < SERVER_ERROR:
        raise _Foreign(status)
    response_dict["body"] = b""


def _refused(region: str, action: str, error: ClientError) -> AwsFailure:
    """See docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html for the codes."""
    details = error.response.get("Error", {})
    code, reason = str(details.get("Code", "")), str(details.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_throttled = code in THROTTLED or status == TOO_MANY
    is_transient = is_throttled or code in TIMED_OUT or status >= SERVER_ERROR
    permission = PERMISSIONS.get(action, action)
    if code in SKEWED or SKEW.search(reason):
        what, remedy = "the clock of this machine is wrong", "set the clock, then run it again"
    elif error.operation_name != action.partition(":")[2]:  # one that fetches credentials
        return _unusable(region, error, is_transient)
    elif is_throttled:
        what = f"AWS limits the number of requests, and refused {action}"
        remedy = "wait a minute and run it again"
    elif code in DENIED:
        what = f"the permission {permission} is missing"
        remedy = f"let these credentials do {permission}, or use others"
    elif code in UNACCEPTED:
        what, remedy = "AWS does not accept the credentials", _log_in(region)
    elif code == str(status) and is_transient:
        return _unanswered(action, f"HTTP {status} {reason}", status)
    else:
        what, remedy = f"AWS refused {action}: {code}", "see the reason above"
    return AwsFailure(f"{what}: {reason}", remedy, code, reason, is_transient)


def _unanswered(action: str, why: str, status: int) -> AwsFailure:
    first_line = why.partition("\n")[0]  # botocore adds the content that it could not read
    return AwsFailure(
        f"AWS did not answer {action}: {first_line}",
        "check the network, its proxy and the region, then run it again",
        transient=status != PROXY,
    )


def _unusable(region: str, error: Exception, transient: bool = False) -> AwsFailure:
    return AwsFailure(
        f"the credentials or the configuration for AWS cannot be used: {error}",
        _log_in(region),
        transient=transient,
    )


def _log_in(region: str) -> str:
    return (
        "log in again (such as by 'aws sso login'), or correct AWS_PROFILE or ~/.aws/config; then "
        f"see whose the credentials are: aws sts get-caller-identity --region {region}"
    )


def command_line(region: str, service: str, operation: str, parameters: Mapping[str, Any]) -> str:
    """The equivalent command of the AWS CLI."""
    words = ["aws", COMMANDS.get(service, service), operation.replace("_", "-")]
    before = ""
    for name, value in parameters.items():
        option = f"--{xform_name(name, '-')}"
        if isinstance(value, bytes):  # the command wants a file
            before = f"printf %s {shlex.quote(value.decode())} >body && "
            words += [option, "body"]
        elif isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, str):
            words += [option, shlex.quote(value)]
        else:
            words += [option, shlex.quote(json.dumps(value))]
    return before + " ".join([*words, "--region", region])
