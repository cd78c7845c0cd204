"""IAM: every request is signed with the key of a role, and refused unless the policies of that role allow it.

The roles and policies are those that CloudFormation made from the templates, evaluated by tests/support/iam.py. An
operator may do everything that no resource forbids. Where AWS asks for several permissions, such as for the key
of an encrypted secret, all of them are asked for here.

Not imitated: sessions that expire, organisations, policies of topics and keys, and the registry itself, which knows
only the password of a login.
"""

import hashlib
import re
import threading
from unittest import mock

from moto.core.responses import BaseResponse
from moto.core.utils import get_service_model
from moto.iam.models import ManagedPolicy, Role, iam_backends
from moto.s3.exceptions import S3ClientError
from moto.s3.responses import S3Response

from tests.rehearsal.aws import asked
from tests.rehearsal.aws.answers import Refused, refuse
from tests.support import iam
from tests.support.aws import ACCOUNT
from tests.support.shapes import find_denial

OPERATOR, AWS = "OPERATOR000000000000", "AWS00000000000000000"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


class Denied(Exception):
    """IAM's refusal of an action, in its own words; see
    docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html."""

    def __init__(self, principal, action, resource):
        role = principal.rpartition("/")[2]
        super().__init__(
            f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{role}/session is not authorized to perform: "
            f"{action} on resource: {resource} because no identity-based policy allows the {action} action"
        )


class Access:
    """The roles of the account, and who may do what."""

    def __init__(self, policy_of):
        """``policy_of(resource)`` gives the statements of a resource's own policy that name no principal."""
        self.roles, self._documents = {}, {}  # properties of roles, policies: by their ARN
        self._policy_of = policy_of
        self._principals = {OPERATOR: "", AWS: None}  # ARNs of roles by access key
        self._request = threading.local()

    # --- Who asks ------------------------------------------------------------------------------

    def key(self, role):
        """The access key of the role with this ARN."""
        key = f"ROLE{hashlib.sha256(role.encode()).hexdigest()[:16].upper()}"
        self._principals[key] = role
        return key

    @property
    def caller(self):
        """The ARN of the role that makes the request of this thread; empty for an operator, None for AWS itself."""
        return getattr(self._request, "principal", None)

    def instance_role(self, profile):
        """The ARN of the role of an instance profile."""
        [role] = iam_backends[ACCOUNT]["aws"].get_instance_profile(profile).roles
        return role.arn

    # --- What they may do ----------------------------------------------------------------------

    def require(self, principal, action, resource, context=None, more=()):
        """Raises Denied unless ``principal`` may do it; ``more`` are statements of other policies that apply."""
        if principal is None:
            return
        role = self._role(principal, [*more, *self._policy_of(resource)])
        if not role.may(action, resource, context):
            raise Denied(principal or "operator", action, resource)

    def _role(self, principal, more):
        if not principal:
            return iam.Role("operator", [EVERYTHING, *more])
        properties = self.roles[principal]
        statements = [one for each in properties.get("Policies", []) for one in _statements(each)]
        for arn in properties.get("ManagedPolicyArns", []):
            if ":iam::aws:" in arn:
                statements += iam.read_managed(arn.rpartition("/")[2])["Statement"]
            else:
                statements += _statements(self._documents[arn])
        tags = {
            f"aws:PrincipalTag/{one['Key']}": one["Value"] for one in properties.get("Tags", [])
        }
        return iam.Role(principal, [*statements, *more], tags)

    # --- Requests ------------------------------------------------------------------------------

    def patches(self):
        """Patches that let moto ask about every request, and remember what CloudFormation makes."""
        call, access = BaseResponse.call_action, self

        def call_action(response):
            try:
                for one in asked.of(response):
                    access.require(access._enter(response), *one)
            except Denied as denied:
                service = get_service_model(response.boto3_service_name)
                return refuse(response, Refused(find_denial(service), str(denied)))
            except Refused as refused:
                return refuse(response, refused)
            return call(response)

        def s3_action(response, bucket_name=None, key_name=None):
            try:
                for one in asked.of_s3(response, bucket_name, key_name):
                    access.require(access._enter(response), *one)
            except Denied as denied:
                raise S3ClientError("AccessDenied", str(denied)) from denied
            except Refused as refused:
                raise S3ClientError("InvalidAccessKeyId", str(refused)) from refused

        return [
            mock.patch.object(BaseResponse, "call_action", call_action),
            mock.patch.object(S3Response, "_authenticate_and_authorize_s3_action", s3_action),
            *self._remembering(Role, self.roles, lambda role: role.arn),
            *self._remembering(ManagedPolicy, self._documents, lambda policy: policy.arn),
        ]

    def _enter(self, response):
        """Who makes the request. Raises Refused for a key that nobody has."""
        key = re.search(r"Credential=([^/]+)/", response.headers.get("Authorization", ""))
        if not key or key[1] not in self._principals:
            raise Refused(
                "InvalidClientTokenId", "The security token included in the request is invalid."
            )
        self._request.principal = self._principals[key[1]]
        return self._request.principal

    def _remembering(self, kind, known, name):
        """Patches of moto's ``kind``, which forgets what a role was given, and changes of both."""
        make = kind.create_from_cloudformation_json.__func__

        def create(cls, resource_name, cloudformation_json, *arguments, **keywords):
            made = make(cls, resource_name, cloudformation_json, *arguments, **keywords)
            known[name(made)] = cloudformation_json["Properties"]
            return made

        def update(cls, original_resource, new_resource_name, cloudformation_json, **_):
            known[name(original_resource)] = cloudformation_json["Properties"]
            return original_resource

        return [
            mock.patch.object(kind, "create_from_cloudformation_json", classmethod(create)),
            mock.patch.object(kind, "update_from_cloudformation_json", classmethod(update)),
        ]


def _statements(policy):
    return [one for one in policy["PolicyDocument"]["Statement"] if one]  # without AWS::NoValue
