"""CloudFormation's stacks: change sets, and operations that take a while and may fail.

Not done: cancelling an update, stack policies, drift, nested stacks, and the validation of properties.
"""

import copy
import functools
import threading
from unittest import mock

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import (
    ChangeSet,
    CloudFormationBackend,
    Stack,
    cloudformation_backends,
)
from moto.cloudformation.responses import CloudFormationResponse

from tests.rehearsal.aws import names, schemas
from tests.rehearsal.aws.answers import ByRegion, Refused, answer, from_parsed
from tests.rehearsal.aws.stack_operations import Operation
from tests.rehearsal.aws.stack_resources import Resources
from tests.support.aws import ACCOUNT

REVIEWED = "REVIEW_IN_PROGRESS"
UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
# https://github.com/aws-cloudformation/rain/pull/744
INVALID = (
    "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]. To "
    "troubleshoot Early Validation errors, use the DescribeEvents API for detailed failure information."
)
_create, _describe = CloudFormationBackend.create_change_set, CloudFormationBackend.describe_stacks
_describe_change_set = CloudFormationBackend.describe_change_set
_parsed = functools.cache(Stack.parse_template)


def parse(template):
    """A template in YAML or JSON. moto reads each one many times, which takes most of the time."""
    return copy.deepcopy(_parsed(template))


class Stacks:
    """The stacks of all regions. ``ours(region)`` has the resources there that moto does not know, by type and name."""

    def __init__(self, ours):
        self._ours, self._lock = ours, threading.RLock()
        self._failures = {}  # by region, stack, resource and verb
        self._resources, self._running, self._last = {}, {}, {}  # by the id of a stack
        self._events = {}  # the validation errors of a change set, by its id

    def fail(self, region, stack, resource, reason, *verbs):
        """Let a resource fail. ``verbs``: CREATE, UPDATE or DELETE, or ROLLBACK when an update is undone."""
        for verb in verbs:
            self._failures[region, stack, resource, verb] = reason

    def repair(self):
        """Let no resource fail any more."""
        self._failures.clear()

    def patches(self):
        """Patches that make moto's CloudFormation do as this one."""

        def patch(method):
            def call(backend, *arguments, **more):
                with self._lock:
                    return method(backend, *arguments, **more)

            return mock.patch.object(CloudFormationBackend, method.__name__, call)

        actions = (
            "execute_change_set",
            "delete_stack",
            "continue_update_rollback",
            "describe_events",
        )
        regions = ByRegion(actions, lambda region: _Region(self, region))
        return [
            mock.patch.object(Stack, "parse_template", staticmethod(parse)),
            mock.patch.object(ChangeSet, "_parse_template", _keep_parsed),
            patch(self.create_change_set),
            patch(self.describe_change_set),
            patch(self.describe_stacks),
            *answer(CloudFormationResponse, regions, from_parsed),
        ]

    # --- Change sets -----------------------------------------------------------------------------

    def create_change_set(self, backend, stack_name, change_set_name, template, **more):
        """As moto's; but it takes a while, and AWS refuses more."""
        kind = more["change_set_type"]
        there = next((one for one in backend.stacks.values() if one.name == stack_name), None)
        _refuse_types(template, backend.region_name)
        self._refuse_state(there, kind, stack_name, change_set_name)
        identity, _ = _create(
            backend,
            stack_name=stack_name,
            change_set_name=change_set_name,
            template=template,
            **more,
        )
        change = backend.change_sets[identity]
        if kind == "CREATE" and there:  # it was made for another change set, which was not executed
            del backend.stacks[change.stack_id]
            change.stack, change.stack_id = there, there.stack_id
        self._resources.setdefault(change.stack_id, Resources(change.stack))
        result = change.status, change.execution_status, change.status_reason, change.changes
        if change.status != "FAILED" and (reason := self._find_mistake(backend, change)):
            result = "FAILED", "UNAVAILABLE", reason, []
        _show(change, ("CREATE_PENDING", "UNAVAILABLE", None, []))
        change.coming = [("CREATE_IN_PROGRESS", "UNAVAILABLE", None, []), result]
        return identity, change.stack_id

    def _refuse_state(self, stack, kind, name, change_set):
        """Even if the answers do not show yet that something is in progress. The errors:
        https://github.com/compose-x/ecs_composex/issues/785, and https://github.com/jenseickmeyer/todo-app-nodejs/issues/5"""
        if not stack:
            return
        is_busy = stack.stack_id in self._running
        if kind == "CREATE" and (is_busy or stack.status != REVIEWED):
            what = f"already exists and cannot be created again with the changeSet [{change_set}]"
            raise ValidationError(message=f"Stack [{name}] {what}.")
        if kind == "UPDATE" and (is_busy or stack.status not in UPDATABLE):
            what = f"is in {stack.status} state and can not be updated."
            raise ValidationError(message=f"Stack:{stack.stack_id} {what}")

    def describe_change_set(self, backend, change_set_name):
        """As moto's, a step further each time."""
        change = _describe_change_set(backend, change_set_name)
        if change.coming:
            _show(change, change.coming.pop(0))
        return change

    def _find_mistake(self, backend, change):
        """The reason why a change set cannot be executed, or None."""
        region = backend.region_name
        draft = Resources.draft(change, region, backend.exports)
        for name in draft.imports():
            if name not in backend.exports:
                return f"No export named {name} found. Rollback requested by user."
        events = []
        made = self._resources[change.stack_id].made
        for name in [one for one in draft.active() if one not in made]:
            kind, properties = draft.find_given_name(name)
            if taken := names.find_taken(kind, properties, region, self._ours(region)):
                events.append(_conflict(change, name, kind, taken))
        self._events[change.change_set_id] = events
        return INVALID if events else None

    # --- Operations ------------------------------------------------------------------------------

    def describe_stacks(self, backend, name_or_stack_id):
        """As moto's, when the operation on each of them is a step further."""
        for stack in _describe(backend, name_or_stack_id):
            operation = self._running.get(stack.stack_id)
            if operation and next(operation, self) is self:
                del self._running[stack.stack_id]
        return _describe(backend, name_or_stack_id)

    def start(self, backend, stack, steps, token=None, again=False):
        """Begin an operation: ``steps(operation)``."""

        def refuse(resource, verb):
            return self._failures.get((backend.region_name, stack.name, resource, verb))

        resources = self._resources.setdefault(stack.stack_id, Resources(stack))
        if not again:
            self._last[stack.stack_id] = Operation(backend, stack, resources, refuse, token)
        self._running[stack.stack_id] = steps(self._last[stack.stack_id])

    def execute(self, backend, name, token):
        change = _describe_change_set(backend, name)
        if change.execution_status != "AVAILABLE":
            # docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ExecuteChangeSet.html has the code
            what = f"cannot be executed in its current status of [{change.status}]"
            raise Refused("InvalidChangeSetStatus", f"ChangeSet [{change.change_set_id}] {what}")
        change.execution_status = "EXECUTE_IN_PROGRESS"
        self.start(backend, change.stack, lambda one: one.execute(change), token)

    def delete(self, backend, name, token):
        found = [one for one in backend.stacks.values() if name in (one.name, one.stack_id)]
        for stack in found:  # none is no error
            if stack.status.endswith("_IN_PROGRESS") and stack.status.startswith("UPDATE_"):
                # https://github.com/aws-amplify/amplify-backend/pull/2366
                what = f"cannot be deleted while in status {stack.status}"
                raise Refused("ValidationError", f"Stack [{stack.stack_id}] {what}")
            self.start(backend, stack, Operation.delete, token)
            if stack.status == REVIEWED:  # there is nothing to delete
                list(self._running.pop(stack.stack_id))

    def continue_rollback(self, backend, name):
        stack = backend.get_stack(name)
        if stack.status != "UPDATE_ROLLBACK_FAILED":
            # docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ContinueUpdateRollback.html
            raise Refused("ValidationError", f"{stack.stack_id} is in {stack.status} state")
        self.start(backend, stack, Operation.continue_rollback, again=True)

    def find_events(self, change_set):
        return self._events.get(change_set, [])


class _Region:
    """The operations in one region that moto lacks, or that it does at once."""

    def __init__(self, stacks, region):
        self._stacks, self._backend = stacks, cloudformation_backends[ACCOUNT][region]

    def execute_change_set(self, ChangeSetName, ClientRequestToken=None, **_):
        with self._stacks._lock:
            self._stacks.execute(self._backend, ChangeSetName, ClientRequestToken)

    def delete_stack(self, StackName, ClientRequestToken=None, **_):
        with self._stacks._lock:
            self._stacks.delete(self._backend, StackName, ClientRequestToken)

    def continue_update_rollback(self, StackName, **_):
        with self._stacks._lock:
            self._stacks.continue_rollback(self._backend, StackName)

    def describe_events(self, ChangeSetName, **_):
        return {"OperationEvents": self._stacks.find_events(ChangeSetName)}


def _keep_parsed(change):
    change.template_dict = parse(change.template)


def _show(change, state):
    change.status, change.execution_status, change.status_reason, change.changes = state


def _refuse_types(template, region):
    """The error: https://github.com/aws/aws-cli/issues/8032; for a type of some regions,
    https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/2177"""
    kinds = {one["Type"] for one in parse(template)["Resources"].values()}
    if missing := sorted(one for one in kinds if schemas.is_missing(one, region)):
        what = f"Template format error: Unrecognized resource types: [{', '.join(missing)}]"
        raise ValidationError(message=what)


def _conflict(change, name, kind, taken):
    """As https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_OperationEvent.html describes it; the
    text: https://github.com/aws-cloudformation/rain/pull/744"""
    return {
        "EventId": f"{change.change_set_name}-{name}",
        "StackId": change.stack_id,
        "OperationType": "CREATE_CHANGESET",
        "OperationStatus": "FAILED",
        "EventType": "VALIDATION_ERROR",
        "LogicalResourceId": name,
        "ResourceType": kind,
        "ValidationFailureMode": "FAIL",
        "ValidationName": "NAME_CONFLICT_VALIDATION",
        "ValidationStatus": "FAILED",
        "ValidationStatusReason": f"Resource of type '{kind}' with identifier '{taken}' already exists.",
        "ValidationPath": f"/Resources/{name}",
    }
