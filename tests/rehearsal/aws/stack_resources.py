"""The resources of one stack of moto: their order, and how each is made, changed and removed.

moto does this itself, but all at once: it cannot say which resource failed, and leaves what it had made by then.
"""

import copy
import re
from types import SimpleNamespace

from moto.cloudformation import parsing
from moto.cloudformation.parsing import ResourceMap
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from tests.rehearsal.aws import schemas
from tests.support.aws import ACCOUNT


class Failed(Exception):
    """A resource fails, for the reason ``message``."""

    def __init__(self, message):
        super().__init__(message)
        self.message = message


def _of_ec2(method, *keys):
    """Deletes by a method of EC2 that takes these properties, or the resource's id if none are named."""

    def delete(resource, properties, region):
        arguments = [properties[key] for key in keys] or [resource.physical_resource_id]
        getattr(ec2_backends[ACCOUNT][region], method)(*arguments)

    return delete


def _dissociate(properties, region):
    backend = ec2_backends[ACCOUNT][region]
    table = backend.get_route_table(properties["RouteTableId"])
    for identity, subnet in list(table._associations.items()):
        if subnet == properties["SubnetId"]:
            backend.disassociate_route_table(identity)


# How to remove resources of the types that moto cannot
DELETED_BY = {
    "AWS::EC2::InternetGateway": _of_ec2("delete_internet_gateway"),
    "AWS::EC2::Route": _of_ec2("delete_route", "RouteTableId", "DestinationCidrBlock"),
    "AWS::EC2::RouteTable": _of_ec2("delete_route_table"),
    "AWS::EC2::SubnetRouteTableAssociation": lambda _, *about: _dissociate(*about),
    "AWS::EC2::VPCGatewayAttachment": _of_ec2(
        "detach_internet_gateway", "InternetGatewayId", "VpcId"
    ),
    "AWS::IAM::ManagedPolicy": lambda resource, *_: iam_backends[ACCOUNT]["aws"].delete_policy(
        resource.arn
    ),
}


def mentioned(value):
    """The names that a part of a template refers to."""
    if isinstance(value, list):
        return {name for one in value for name in mentioned(one)}
    if not isinstance(value, dict):
        return set()
    found = {name for one in value.values() for name in mentioned(one)}
    found |= {value["Ref"]} if "Ref" in value else set()
    if got := value.get("Fn::GetAtt"):
        found.add(got[0] if isinstance(got, list) else got.partition(".")[0])
    text = value.get("Fn::Sub", "")
    found |= set(re.findall(r"\$\{([\w:]+)", text[0] if isinstance(text, list) else text))
    return found


def find_values(value):
    """What a part of a template imports from other stacks: the names of exports, or functions that give them."""
    if isinstance(value, list):
        return [name for one in value for name in find_values(one)]
    if not isinstance(value, dict):
        return []
    if "Fn::ImportValue" in value:
        return [value["Fn::ImportValue"]]
    return [name for one in value.values() for name in find_values(one)]


class Resources:
    """Those of ``stack``, with the properties that they were last made or changed with."""

    def __init__(self, stack):
        self.stack, self.made = stack, {}

    @classmethod
    def draft(cls, change, region, exports):
        """Those of the change set ``change``, none of which is made. Raises ServiceException."""
        nothing = ResourceMap(
            change.stack_id,
            change.stack_name,
            {},
            {},
            region,
            ACCOUNT,
            template={},
            cross_stack_resources={},
        )
        found = cls(SimpleNamespace(region_name=region, resource_map=nothing))
        found.adopt(change.template_dict, change.parameters, exports)
        return found

    @property
    def _map(self):
        return self.stack.resource_map

    def adopt(self, template, parameters, exports):
        """Be as ``template`` from now on; nothing is made yet. Raises ServiceException."""
        known = self._map
        known.cross_stack_resources = exports
        known._template, known._resource_json_map = template, template["Resources"]
        known.input_parameters = parameters
        known.resolved_parameters.clear()
        known.load_mapping()
        known.load_parameters()
        known.load_conditions()

    def active(self):
        """The names of the resources whose conditions are met, in the order of the template."""
        conditions = self._map.lazy_condition_map
        found = self._map._resource_json_map.items()
        return [
            name for name, one in found if "Condition" not in one or conditions[one["Condition"]]
        ]

    def imports(self):
        """The names of the exports that take effect here, in active resources and in outputs."""
        known = self._map._resource_json_map
        properties = [known[name].get("Properties", {}) for name in self.active()]
        parts = [properties, self._map._template.get("Outputs", {})]
        return [parsing.clean_json(one, self._map) for one in find_values(parts)]

    def find_given_name(self, name):
        """The type of a resource, and its property that names it, if the template has that before others are made."""
        one = self._map._resource_json_map[name]
        key = schemas.find_name(one["Type"], self.stack.region_name)
        properties = one.get("Properties", {})
        given = {key: properties[key]} if key in properties else {}
        if mentioned(given) & self._map._resource_json_map.keys():
            return one["Type"], {}
        return one["Type"], parsing.clean_json(given, self._map)

    def waves(self):
        """The names of the active resources; each depends on resources of earlier waves only."""
        left = {name: self._needs(name) for name in self.active()}
        while left:
            ready = [name for name, needs in left.items() if not needs & left.keys()]
            assert ready, f"circular dependency: {sorted(left)}"
            yield ready
            for name in ready:
                del left[name]

    def _needs(self, name):
        one = self._map._resource_json_map[name]
        named = one.get("DependsOn", [])
        return mentioned(one.get("Properties", {})) | (
            {named} if isinstance(named, str) else set(named)
        )

    def kind(self, name):
        """The type of a resource."""
        return self.made.get(name, self._map._resource_json_map.get(name))["Type"]

    def physical(self, name):
        """The id of a resource, or nothing before it is made."""
        return getattr(self._map._parsed_resources.get(name), "physical_resource_id", None) or ""

    def resolve(self, name):
        """A resource as it should be: its type, deletion policy and properties. Raises ServiceException."""
        one = self._map._resource_json_map[name]
        properties = parsing.clean_json(copy.deepcopy(one.get("Properties", {})), self._map)
        return {
            "Type": one["Type"],
            "DeletionPolicy": one.get("DeletionPolicy", "Delete"),
            "UpdateReplacePolicy": one.get("UpdateReplacePolicy", "Delete"),
            "Properties": without_nothing(properties),
        }

    def create(self, name):
        """Make a resource. Raises what moto does, if it refuses."""
        wanted = self.resolve(name)
        made = parsing.parse_and_create_resource(
            name, self._map._resource_json_map[name], self._map, ACCOUNT, self.stack.region_name
        )
        if made is not None:
            self._map._parsed_resources[name] = made
        self.made[name] = wanted

    def change(self, name):
        """Change a resource to be as it should, as far as moto can."""
        wanted = self.resolve(name)
        cls = parsing.resource_class_from_type(wanted["Type"])
        update = getattr(cls, "update_from_cloudformation_json", None)
        if update and not hasattr(update, "__isabstractmethod__"):
            self._map._parsed_resources[name] = parsing.parse_and_update_resource(
                name, self._map._resource_json_map[name], self._map, ACCOUNT, self.stack.region_name
            )
        self.made[name] = wanted

    def set_aside(self, name):
        """Forget a resource that another one replaces; returns it, for ``remove``."""
        return self._map._parsed_resources.pop(name, None), self.made.pop(name)

    def put_back(self, name, resource, known):
        """Take a resource that was set aside back."""
        self.made[name] = known
        if resource is not None:
            self._map._parsed_resources[name] = resource

    def remove(self, resource, known):
        """Remove a resource that is set aside. Raises what moto does, if it refuses."""
        delete = DELETED_BY.get(known["Type"])
        if resource is None:  # of a type that moto does not know
            return
        if delete:
            delete(resource, known["Properties"], self.stack.region_name)
        else:
            self._map._delete_resource(resource, copy.deepcopy(known))


def without_nothing(value):
    """``value`` without the entries set to AWS::NoValue, which moto represents as None."""
    if isinstance(value, dict):
        return {key: without_nothing(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nothing(one) for one in value if one is not None]
    return value
