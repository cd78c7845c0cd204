"""All of it: the checks, a new version, and that version in staging and then in production."""

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config import environments
from deploy.delivery import build, rollout


def ship(run: Run, allow_dirty: bool, forward: bool) -> None:
    """Build what passes the checks, and deploy it everywhere. Raises Failure."""
    run.tools.require("make", "eb")
    if run.tools.change("make", "ci"):
        raise Failure("make ci does not pass", "nothing was built", "fix what it reports")
    built = build.build(run, allow_dirty, test=True)
    for short in ("staging", environments.PRODUCTION):
        rollout.deploy(run, environments.find(run.settings, short), built, forward)
