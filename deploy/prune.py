"""Old versions: deleted, since an application has 1,000 at most."""

from deploy import beanstalk, bucket, history, version
from deploy.errors import state
from deploy.run import Run

KEPT = 50  # the newest


def find_unneeded(run: Run) -> list[str]:
    """The labels that nobody needs, the oldest first. Raises AwsFailure.

    Needed are the newest 50, what any environment runs, and what a rollback would deploy to it.
    """
    labels = version.newest(run)
    needed, logs = set(labels[:KEPT]), bucket.find(run)
    for name, state_ in beanstalk.find_all(run).items():
        before = history.version_before(history.read(run, logs, name), state_.version)
        needed |= {state_.version, before or ""} | beanstalk.find_running(run, name)
    return [label for label in reversed(labels) if label not in needed]


def prune(run: Run, labels: list[str]) -> None:
    """Delete the versions ``labels`` and their bundles; their images stay. Raises AwsFailure."""
    for number, label in enumerate(labels):
        with state(f"{number} of {len(labels)} versions were deleted"):
            run.aws.change(
                "elasticbeanstalk", "delete_application_version",
                ApplicationName=run.settings.application, VersionLabel=label,
                DeleteSourceBundle=True,
            )  # fmt: skip
