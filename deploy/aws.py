"""AWS in one region: queries, changes, and the translation of its errors."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

from deploy.changes import Changes
from deploy.errors import AwsFailure

Answer = dict[str, Any]

CREDENTIALS = (
    "export credentials for the right account (AWS_PROFILE, and AWS_EB_PROFILE for eb), "
    "and see whose they are: aws sts get-caller-identity"
)
# AWS services use different codes for the same error
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError",
          "InsufficientPrivilegesException", "403"}  # fmt: skip
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId",
           "UnrecognizedClientException", "InvalidAccessKeyId",
           "SignatureDoesNotMatch"}  # fmt: skip
THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled",
             "TooManyRequestsException", "SlowDown"}  # fmt: skip
# Permissions whose names are not those of the operations
PERMISSIONS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "elbv2:DescribeTargetGroups": "elasticloadbalancing:DescribeTargetGroups",
}
# Services whose names in the AWS CLI and in boto3 differ
COMMANDS = {"s3": "s3api"}


class Aws:
    """Clients for one region. A query without a response is an error, never an empty result."""

    def __init__(self, region: str, changes: Changes, session: Any = None) -> None:
        self.region = region
        self._changes = changes
        self._session = session
        self._clients: dict[str, Any] = {}

    def at(self, region: str) -> "Aws":
        """The same account in another region."""
        return Aws(region, self._changes, self._session)

    def ask(self, service: str, operation: str, **parameters: Any) -> Answer:
        """The response to a query. Raises AwsFailure."""
        return self._call(service, operation, parameters)

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
            command_line(service, operation, parameters | dict(shown or {})),
            lambda: self._call(service, operation, parameters),
            otherwise or {},
        )

    def account(self) -> str:
        """The account ID."""
        return str(self.ask("sts", "get_caller_identity")["Account"])

    def caller(self) -> str:
        """The ARN of the caller's identity."""
        return str(self.ask("sts", "get_caller_identity")["Arn"])

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> Answer:
        answer: Answer = self._translated(
            service, operation, lambda client: _whole(getattr(client, operation)(**parameters))
        )
        return answer

    def _translated(self, service: str, operation: str, call: Any) -> Any:
        action = service
        try:
            client = self._client(service)
            action = f"{service}:{client.meta.method_to_api_mapping[operation]}"
            return call(client)
        except ClientError as error:
            raise _refused(action, error) from error
        except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError,
                ProfileNotFound) as error:  # fmt: skip
            raise AwsFailure(f"there are no credentials for AWS: {error}", CREDENTIALS) from error
        except ParamValidationError:  # a bug in this program
            raise
        except (HTTPClientError, BotoCoreError) as error:
            raise AwsFailure(
                f"AWS did not answer {action}: {error}",
                "check the network and the region, then run it again",
                transient=True,
            ) from error

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            session = self._session or boto3.Session()
            self._clients[service] = session.client(
                service,
                region_name=self.region,
                config=Config(connect_timeout=10, read_timeout=60),
            )
        return self._clients[service]


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
    """``answer``, with the content of a streamed body, which may be cut off."""
    body: Any = answer.get("Body")
    return answer | {"Body": body.read()} if hasattr(body, "read") else answer


def _refused(action: str, error: ClientError) -> AwsFailure:
    details = error.response.get("Error", {})
    code, reason = str(details.get("Code", "")), str(details.get("Message", ""))
    permission = PERMISSIONS.get(action, action)
    if code in DENIED:
        return AwsFailure(
            f"the permission {permission} is missing: {reason}",
            f"let these credentials do {permission}, or use others",
            code,
            reason,
        )
    if code in EXPIRED:
        return AwsFailure(
            f"AWS does not accept the credentials: {reason}", CREDENTIALS, code, reason
        )
    if code in THROTTLED:
        return AwsFailure(
            f"AWS limits the number of requests, and refused {action}: {reason}",
            "wait a minute and run it again",
            code,
            reason,
            transient=True,
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return AwsFailure(
        f"AWS refused {action}: {code}: {reason}",
        "see the reason above",
        code,
        reason,
        transient=status >= 500,
    )


def command_line(service: str, operation: str, parameters: Mapping[str, Any]) -> str:
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
    return before + " ".join(words)
