"""The keys of a region by the tags of their stacks, which moto does not give them."""

from moto.kms.models import kms_backends

from tests.support.aws import ACCOUNT, APPLICATION


class Tags:
    """Serves those of ``region``: each key there was made by a stack of ours, whose tag it has."""

    actions = ("get_resources",)

    def __init__(self, region):
        self._region = region

    def get_resources(self, ResourceTypeFilters, TagFilters, **_):
        tag = {"Key": "Application", "Value": APPLICATION}
        assert ResourceTypeFilters == ["kms:key"]
        assert TagFilters == [{"Key": tag["Key"], "Values": [tag["Value"]]}]
        keys = kms_backends[ACCOUNT][self._region].keys.values()
        found = [{"ResourceARN": one.arn, "Tags": [tag]} for one in keys]
        return {"ResourceTagMappingList": found, "PaginationToken": ""}
