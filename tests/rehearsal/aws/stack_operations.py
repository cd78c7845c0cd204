"""What CloudFormation does with the resources of a stack, step by step, and the states and events that it shows.

An operation is a generator: it goes a step further whenever somebody asks about the stack, so that nothing depends on
the speed of a machine. The first answer is still that of before, because AWS's answers may be late.
"""

import json

from moto.cloudformation.models import Event

from tests.rehearsal.aws import schemas
from tests.rehearsal.aws.stack_resources import Failed

STACK = "AWS::CloudFormation::Stack"
KEPT = ("Retain", "RetainExceptOnCreate")


class Operation:
    """One operation on ``stack`` of moto, whose events have ``token``.

    ``refuse(resource, verb)`` returns the reason why a resource fails, or None.
    """

    def __init__(self, backend, stack, resources, refuse, token):
        self._backend, self._stack, self._resources = backend, stack, resources
        self._refuse, self._token = refuse, token
        self._created, self._changed, self._replaced = [], [], {}

    def tell(self, status, reason=None):
        """Let the stack have another status, with the event that says so."""
        self._stack.status = status
        self._add(self._stack.name, self._stack.stack_id, STACK, status, reason)

    def _tell(self, name, status, reason=None):
        known = self._resources
        made = known.made.get(name, {})
        properties = json.dumps(made.get("Properties", {}), default=str)
        self._add(name, known.physical(name), known.kind(name), status, reason, properties)

    def _add(self, name, physical, kind, status, reason, properties=None):
        stack = self._stack
        event = Event(stack.stack_id, stack.name, name, physical, kind, status, reason, properties)
        event.client_request_token = self._token
        stack.events.append(event)

    # --- Creation and update ---------------------------------------------------------------------

    def execute(self, change):
        """Make the stack as the change set ``change`` says. Events are in the order of AWS, as in
        https://github.com/aws-samples/amazon-cloudfront-secure-static-site/issues/39"""
        verb, before = change.change_set_type, (self._stack.template, self._stack.parameters)
        yield
        self.tell(f"{verb}_IN_PROGRESS", "User Initiated")
        yield
        self._resources.adopt(change.template_dict, change.parameters, self._backend.exports)
        if reason := self._make_all():
            yield from self._roll_back(verb, before, reason)
            return
        self._stack.template, self._stack.parameters = change.template, change.parameters
        if verb == "UPDATE":
            self.tell("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            yield
            self._clean_up()
        self._publish()
        self.tell(f"{verb}_COMPLETE")
        change.execution_status = "EXECUTE_COMPLETE"

    def _make_all(self):
        """Make and change what is to be; what AWS says of the stack if one fails, which ends it."""
        for wave in self._resources.waves():
            verbs = {name: verb for name in wave if (verb := self._find_verb(name))}
            for name, verb in verbs.items():
                self._tell(name, f"{verb}_IN_PROGRESS")
            while verbs:
                name, verb = next(iter(verbs.items()))
                if reason := self._try(name, verb):
                    self._tell(name, f"{verb}_FAILED", reason)
                    del verbs[name]
                    self._cancel(verbs)
                    failed = ", ".join([name, *verbs])
                    return f"The following resource(s) failed to {verb.lower()}: [{failed}]. "
                self._tell(name, f"{verb}_COMPLETE")
                del verbs[name]
        return None

    def _cancel(self, verbs):
        """What was in progress at the same time: https://github.com/coreos/coreos-kubernetes/pull/454"""
        for name, verb in verbs.items():
            word = "creation" if verb == "CREATE" else "update"
            self._tell(name, f"{verb}_FAILED", f"Resource {word} cancelled")

    def _find_verb(self, name):
        """What has to be done with a resource: CREATE, UPDATE, or nothing."""
        if name not in self._resources.made:
            return "CREATE"
        try:
            is_same = self._resources.resolve(name) == self._resources.made[name]
        except Exception:  # it is tried again, where its reason is shown
            return "UPDATE"
        return None if is_same else "UPDATE"

    def _try(self, name, verb):
        """Do it; the reason why it failed, or None."""
        if reason := self._refuse(name, verb):
            return reason
        try:
            if verb == "CREATE":
                self._resources.create(name)
                self._created.append(name)
                self._tell(name, "CREATE_IN_PROGRESS", "Resource creation Initiated")
            else:
                self._change(name)
        except Exception as error:  # whatever moto raises
            return getattr(error, "message", None) or repr(error)
        return None

    def _change(self, name):
        """Change a resource, or replace it by another one where AWS cannot change it."""
        known, region = self._resources, self._stack.region_name
        before, after = known.made[name], known.resolve(name)
        kind = after["Type"]
        if not schemas.find_replacing(kind, region, before["Properties"], after["Properties"]):
            self._changed.append(name)
            known.change(name)
            return
        key = schemas.find_name(kind, region)
        if key in after["Properties"] and after["Properties"][key] == before["Properties"].get(key):
            # https://repost.aws/knowledge-center/cloudformation-custom-name
            raise Failed(
                "CloudFormation cannot update a stack when a custom-named resource requires "
                f"replacing. Rename {after['Properties'][key]} and update the stack again."
            )
        self._tell(
            name,
            "UPDATE_IN_PROGRESS",
            "Requested update requires the creation of a new "
            "physical resource; hence creating one.",
        )
        old = known.set_aside(name)
        try:
            known.create(name)
        except Exception:
            known.put_back(name, *old)
            raise
        self._replaced[name] = old

    def _clean_up(self):
        """After an update, remove what it has replaced, and what the template has no more."""
        for name, (resource, known) in self._replaced.items():
            if known["UpdateReplacePolicy"] not in KEPT:
                self._resources.remove(resource, known)
            self._tell(name, "DELETE_COMPLETE")
        unwanted = [one for one in self._resources.made if one not in self._resources.active()]
        self._remove_all(unwanted, KEPT)

    # --- Rollback --------------------------------------------------------------------------------

    def _roll_back(self, verb, before, reason):
        if verb == "CREATE":
            self.tell("ROLLBACK_IN_PROGRESS", f"{reason}Rollback requested by user.")
            yield
            failed = self._remove_all(list(self._resources.made), ("Retain",))
            self._end("ROLLBACK", "delete", failed)
            return
        self.tell("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        yield
        yield from self._put_back(before)

    def _put_back(self, before):
        """The second half of a rollback; again, after one that failed."""
        template, parameters = before
        self._resources.adopt(
            self._stack.parse_template(template), parameters, self._backend.exports
        )
        failed = [name for name in self._changed if not self._restore(name)]
        self.before = before
        if failed:
            self._end("UPDATE_ROLLBACK", "update", failed)
            return
        self.tell("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        yield
        for name, old in self._replaced.items():
            self._resources.remove(*self._resources.set_aside(name))
            self._resources.put_back(name, *old)
        self._remove_all(self._created, ("Retain",))
        self._end("UPDATE_ROLLBACK", "update", [])

    def continue_rollback(self):
        """Of an update whose rollback failed."""
        yield
        self.tell("UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
        yield
        yield from self._put_back(self.before)

    def _restore(self, name):
        self._tell(name, "UPDATE_IN_PROGRESS")
        if reason := self._refuse(name, "ROLLBACK"):
            self._tell(name, "UPDATE_FAILED", reason)
            return False
        self._resources.change(name)
        self._tell(name, "UPDATE_COMPLETE")
        return True

    # --- Deletion --------------------------------------------------------------------------------

    def delete(self):
        """Remove the stack, unless others import what it exports. It is then as before:
        https://github.com/USSBA/aws-cft-tools/issues/27, and rlister/stax#40 for the text"""
        before = self._stack.status
        yield
        self.tell("DELETE_IN_PROGRESS", "User Initiated")
        yield
        if reason := self._find_import():
            self.tell(before, reason)
            return
        failed = self._remove_all(list(self._resources.made), KEPT)
        if not failed:
            self._gone()
        self._end("DELETE", "delete", failed)

    def _gone(self):
        self._backend.stacks.pop(self._stack.stack_id, None)
        self._backend.deleted_stacks[self._stack.stack_id] = self._stack
        self._withdraw()

    def _find_import(self):
        for stack in self._backend.stacks.values():
            for name in getattr(stack, "imports", ()):
                if name in self._exported():
                    return f"Export {name} cannot be deleted as it is in use by {stack.name}"
        return None

    def _exported(self):
        exports = self._backend.exports.items()
        return [name for name, one in exports if one.exporting_stack_id == self._stack.stack_id]

    def _withdraw(self):
        for name in self._exported():
            del self._backend.exports[name]

    # --- Both ------------------------------------------------------------------------------------

    def _remove_all(self, wanted, kept):
        """Remove resources, the newest first, unless their policy is one of ``kept``; the names of those that failed."""
        failed = []
        for name in [one for one in reversed(list(self._resources.made)) if one in wanted]:
            if self._resources.made[name]["DeletionPolicy"] in kept:
                self._tell(name, "DELETE_SKIPPED")
                self._resources.set_aside(name)
            elif reason := self._try_removing(name):
                self._tell(name, "DELETE_FAILED", reason)
                failed.append(name)
        return failed

    def _try_removing(self, name):
        self._tell(name, "DELETE_IN_PROGRESS")
        if reason := self._refuse(name, "DELETE"):
            return reason
        kind, physical = self._resources.kind(name), self._resources.physical(name)
        resource, known = self._resources.set_aside(name)
        try:
            self._resources.remove(resource, known)
        except Exception as error:  # whatever moto raises
            self._resources.put_back(name, resource, known)
            return getattr(error, "message", None) or repr(error)
        self._add(name, physical, kind, "DELETE_COMPLETE", None)
        return None

    def _end(self, operation, word, failed):
        if failed:
            reason = f"The following resource(s) failed to {word}: [{', '.join(failed)}]. "
            self.tell(f"{operation}_FAILED", reason)
        else:
            self.tell(f"{operation}_COMPLETE")

    def _publish(self):
        """Let the stack have the outputs of its template, and others see its exports."""
        stack = self._stack
        stack._parse_template()
        stack.description = stack.template_dict.get("Description")
        stack.output_map = stack._create_output_map()
        self._withdraw()
        self._backend.exports |= {export.name: export for export in stack.exports}
        stack.imports = self._resources.imports()
