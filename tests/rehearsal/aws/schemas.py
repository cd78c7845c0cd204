"""What AWS publishes about each resource type, as cfn-lint has it for each region."""

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER, ResourceNotFoundError


def is_missing(kind, region):
    """Whether CloudFormation does not know a type in ``region``."""
    try:
        PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, kind)
    except ResourceNotFoundError:
        return True
    return False


def find_name(kind, region):
    """The property with which resources of a type are named and identified, or None if AWS chooses what identifies them."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, kind).schema
    identifiers = schema.get("primaryIdentifier", [])
    if len(identifiers) != 1 or identifiers[0] in schema.get("readOnlyProperties", []):
        return None
    return identifiers[0].rpartition("/")[2]


def find_replacing(kind, region, before, after):
    """The first property whose change makes CloudFormation replace a resource, or None."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, kind).schema
    for path in schema.get("createOnlyProperties", []):
        keys = path.split("/")[2:]
        if _at(before, keys) != _at(after, keys):
            return ".".join(keys)
    return None


def _at(properties, keys):
    for key in keys:
        properties = properties.get(key) if isinstance(properties, dict) else None
    return properties
