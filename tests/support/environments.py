"""What `create` sets directly on an environment, when its stacks are those of staging."""

from deploy.base import settings
from deploy.config import environments
from tests.support import aws

OUTPUTS = aws.OUTPUTS[f"{aws.APPLICATION}-foundation"] | aws.OUTPUTS[aws.STAGING]


def direct(environment: str, **outputs: str) -> dict[tuple[str, str], str]:
    """The options by namespace and name; ``outputs`` replace those of the stacks."""
    found = environments.find(settings.load({}), environment)
    options = found.options(OUTPUTS | outputs)
    return {(one["Namespace"], one["OptionName"]): one["Value"] for one in options}
