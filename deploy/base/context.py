"""What the steps of a command share."""

from dataclasses import dataclass, replace

from deploy.base.aws import Aws
from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.programs import Tools
from deploy.base.settings import Settings


@dataclass(frozen=True)
class Run:
    """One run of a command: its settings, and its clients for AWS and other programs."""

    settings: Settings
    console: Console
    changes: Changes
    aws: Aws
    tools: Tools
    lock_wait: float = 0  # seconds to wait for another run that holds a lock

    def at(self, region: str) -> "Run":
        """The same in another region."""
        return replace(
            self, settings=replace(self.settings, region=region), aws=self.aws.at(region)
        )
