"""Deletes the versions that nothing runs and that no rollback would deploy: AWS keeps 1,000."""

from collections.abc import Callable

from deploy.base.context import Run
from deploy.base.errors import Failure, state
from deploy.delivery import history, version
from deploy.resources import beanstalk

KEPT = 50  # the newest versions, kept whether or not they run


def prune(run: Run, confirm: Callable[[str], bool]) -> None:
    """Delete the versions that are not needed, if ``confirm`` says so; their images stay.

    Raises Failure.
    """
    unneeded = find_unneeded(run)
    if not unneeded:
        run.console.say("all versions are needed")
        return
    run.console.say(f"{len(unneeded)} versions are not needed, the oldest first:")
    for label in unneeded:
        run.console.say(f"  {label}")
    if not (run.changes.dry_run or confirm(f"Delete these {len(unneeded)} versions?")):
        raise Failure("the deletion was not confirmed", next="run it with --yes")
    for number, label in enumerate(unneeded):
        with state(f"{number} of {len(unneeded)} versions were deleted"):
            version.delete(run, label)
    run.changes.done(f"{len(unneeded)} versions were deleted")


def find_unneeded(run: Run) -> list[str]:
    """The labels that are no longer needed, oldest first. Raises Failure.

    The newest 50 are needed, and the versions that any environment runs or would be rolled back to.
    """
    labels = version.newest(run)
    needed = set(labels[:KEPT])
    for name, found in beanstalk.find_all(run).items():
        before = history.version_before(history.read(run, name), found.version)
        needed |= {found.version, before or ""} | set(beanstalk.find_running(run, name))
    return [label for label in reversed(labels) if label not in needed]
