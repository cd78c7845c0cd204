"""AWS in one region: queries, and changes."""

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

from deploy.base import answers
from deploy.base.changes import Changes
from deploy.base.errors import AwsFailure

Answer = dict[str, Any]

# What may work a moment later. Whatever else botocore raises is a matter of this machine's
# credentials or configuration, of which each version has new kinds.
NETWORK = (
    HTTPClientError,
    NoConnection,
    IncompleteReadError,
    ChecksumError,
    FlexibleChecksumError,
    ResponseParserError,
)
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

        The equivalent command is shown; ``shown`` replaces parameters that are secret, or that come
        from a file. Raises AwsFailure.
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
            raise answers.refused(self.region, action, error) from error
        except ParamValidationError:  # a bug in this program
            raise
        except (answers.Foreign, *NETWORK) as error:
            raise answers.unanswered(action, str(error), getattr(error, "status", 0)) from error
        except BotoCoreError as error:
            raise answers.unusable(self.region, error) from error

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
    session.events.register("before-parse.*.*", answers.refuse_foreign)
    return session


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
