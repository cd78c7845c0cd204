"""What the steps of a command share."""

from dataclasses import dataclass, replace

from deploy.aws import Aws
from deploy.changes import Changes
from deploy.console import Console
from deploy.settings import Settings
from deploy.tools import Tools


@dataclass(frozen=True)
class Run:
    """One run of a command: its settings, and its clients for AWS and other programs."""

    settings: Settings
    console: Console
    changes: Changes
    aws: Aws
    tools: Tools

    def at(self, region: str) -> "Run":
        """The same in another region."""
        return replace(
            self, settings=replace(self.settings, region=region), aws=self.aws.at(region)
        )
