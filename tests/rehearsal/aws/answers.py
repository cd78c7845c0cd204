"""Responses that replace moto's: each must have the shape that AWS defines for it."""

import json
import re
from contextlib import contextmanager
from unittest import mock

from moto.core.exceptions import ServiceException
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import get_service_model

from tests.support.shapes import keep_to_codes, keep_to_limits, keep_to_shape


class Refused(ServiceException):
    """An AWS error, by its code, which must be one of tests/support/shapes.py."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Answer(ActionResult):
    """The response of an operation. What AWS would not answer fails the scenario in which it occurs."""

    wrong = []  # noqa: RUF012  # shared by the process, so that its scenarios can inspect it

    def execute_result(self, context):
        """Serialise as moto does, after checking the shape."""
        with self.noting(context.operation_model.name):
            keep_to_shape(self.result or {}, context.operation_model.output_shape)
        return super().execute_result(context)

    @classmethod
    @contextmanager
    def noting(cls, operation=""):
        """Within this context, what is found wrong is noted."""
        try:
            yield
        except AssertionError as error:
            cls.wrong.append(f"{operation}: {error}")


@contextmanager
def checking():
    """A patch that refuses what AWS's models do not allow, of all services but S3, which moto routes otherwise.

    The code is one of https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
    """
    original = BaseResponse.call_action  # with the patches that are there by now

    def call_action(response):
        try:
            _check(response)
        except AssertionError as error:
            return refuse(response, Refused("ValidationError", str(error)))
        return original(response)

    with mock.patch.object(BaseResponse, "call_action", call_action):
        yield


def refuse(response, error):
    """The answer with ``error``, and with a request ID, as moto's own answers have one."""
    status, headers, body = response.serialized(ActionResult(error))
    return (status, *response._enrich_response(headers, body))


def _check(response):
    keep_to_limits(parameters_of(response), _find_operation(response).input_shape)


def parameters_of(response):
    """The parameters of a request to any service but S3, as the service's model names them."""
    operation, request = _find_operation(response), response.normalized_request
    protocol = determine_request_protocol(operation.service_model, request.content_type)
    return PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.data,
            "url_path": request.path,
            "url_params": getattr(response, "uri_match", {}),
        }
    )


def _find_operation(response):
    """The model of the operation that is asked for."""
    service = get_service_model(response.boto3_service_name)
    return service.operation_model(response._get_action())


def find_signed(authorization):
    """The region and the service that a request was signed for; two empty texts if it was not."""
    signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", authorization)
    return signed.groups() if signed else ("", "")


class ByRegion:
    """Services of one kind, one for each region: ``find(region)``. All have the same ``actions``."""

    def __init__(self, actions, find):
        self.actions, self.find = actions, find


def answer(responses, service, parameters):
    """Patches that make ``service`` respond to each of its ``actions`` in place of moto's ``responses``.

    ``parameters(response)`` returns the parameters of the request. Where ``service`` is a ``ByRegion``,
    the service of the request's region responds.
    """

    def call(action, response):
        asked = service.find(response.region) if isinstance(service, ByRegion) else service
        try:
            return Answer(getattr(asked, action)(**parameters(response)) or {})
        except Refused as refused:
            with Answer.noting(action):
                keep_to_codes(refused.code, _find_operation(response))
            raise

    def method(action):
        return lambda response: call(action, response)

    return [
        mock.patch.object(responses, action, method(action), create=True)
        for action in service.actions
    ]


def from_query(response):
    """The parameters of a request in the "query" protocol."""
    return dict(response._get_params())


def from_json(response):
    """The parameters of a request in JSON."""
    return json.loads(response.body)


def from_path(response):
    """The parameters of a request in the "rest-json" protocol: from its path and its body."""
    found = dict(response.uri_match) | json.loads(response.body or "{}")
    return {name[0].upper() + name[1:]: value for name, value in found.items()}


def from_parsed(response):
    """The parameters of a request, for a service whose parameters moto parses in one of its two ways."""
    found = response.params
    return dict(found) if isinstance(found, dict) else found.original_dict()
