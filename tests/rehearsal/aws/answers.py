"""Answers in the place of moto's: each must have the shape that AWS gives it."""

import json
from unittest import mock

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult

from tests.support.aws import keep_to_shape


class Refused(ServiceException):
    """An error of AWS, by its code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Answer(ActionResult):
    """What an operation answers. An unknown or a missing key fails the scenario in which it is seen."""

    wrong = []  # noqa: RUF012  # of this process, whose scenarios look into it

    def execute_result(self, context):
        """As moto does it, once the shape was checked."""
        try:
            keep_to_shape(self.result or {}, context.operation_model.output_shape)
        except AssertionError as error:
            self.wrong.append(f"{context.operation_model.name}: {error}")
        return super().execute_result(context)


class ByRegion:
    """Services of one kind, one for each region: ``find(region)``. All have the same ``actions``."""

    def __init__(self, actions, find):
        self.actions, self.find = actions, find


def answer(responses, service, parameters):
    """Patches that let ``service`` answer each of its ``actions`` in place of moto's ``responses``.

    ``parameters(response)`` are the parameters of the request. Where ``service`` is ``ByRegion``,
    the one of the request's region answers.
    """

    def call(action, response):
        asked = service.find(response.region) if isinstance(service, ByRegion) else service
        return Answer(getattr(asked, action)(**parameters(response)) or {})

    def method(action):
        return lambda response: call(action, response)

    return [
        mock.patch.object(responses, action, method(action), create=True)
        for action in service.actions
    ]


def from_query(response):
    """The parameters of a request of the protocol "query"."""
    return dict(response._get_params())


def from_json(response):
    """The parameters of a request in JSON."""
    return json.loads(response.body)


def from_path(response):
    """The parameters of a request in REST with JSON: of its path, and of its body."""
    found = dict(response.uri_match) | json.loads(response.body or "{}")
    return {name[0].upper() + name[1:]: value for name, value in found.items()}


def from_parsed(response):
    """The parameters of a request of a service for which moto parses them, in either of its ways."""
    found = response.params
    return dict(found) if isinstance(found, dict) else found.original_dict()
