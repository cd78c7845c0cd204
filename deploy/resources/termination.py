"""The end of an environment: it takes its database with it, of which a snapshot is kept."""

from deploy.base.context import Run
from deploy.base.errors import Failure, state
from deploy.base.waiting import Pending, wait_until
from deploy.config.environments import Environment
from deploy.resources import beanstalk, database, events
from deploy.resources.events import Mark

TERMINATING = "Terminating"


def terminate(run: Run, environment: Environment) -> None:
    """Terminate ``environment``, unless that is in progress, and wait until it is terminated.

    Its database may be deleted from then on. Raises Failure.
    """
    name = environment.name
    current = beanstalk.find(run, name)
    if current is None:
        return
    since = events.find_mark(run, name)
    if current.status != TERMINATING:
        # An operation may be in progress that no lock prevents, such as one of the console
        if not run.changes.dry_run:
            beanstalk.wait_until_ready(run, environment)
        database.unprotect(run, name)
        with state(f"{name} exists, and its database is not protected against deletion"):
            run.aws.change("elasticbeanstalk", "terminate_environment", EnvironmentName=name)
    run.changes.quietly(lambda: _wait_until_gone(run, name, since))


def _wait_until_gone(run: Run, name: str, since: Mark) -> None:
    def look() -> Pending | None:
        current = beanstalk.find(run, name)
        if current is None or current.status == "Terminated":
            return None
        if current.status == "Ready":
            _refuse_failed(run, name, since)
        return Pending(current.status, events.find_last(run, name))

    left = wait_until(run, name, look, run.settings.deploy_timeout)
    if left:
        raise Failure(
            f"{name} is still {left.state}: {left.detail}",
            "the operation continues on AWS",
            "run it again: it continues to wait",
        )


def _refuse_failed(run: Run, name: str, since: Mark) -> None:
    """Raise Failure if what AWS tried has failed; it is Ready then, whatever is left of it."""
    errors = events.find_errors(run, name, since)
    if errors:
        events.show(run, name)
        raise Failure(
            f"{name} could not be terminated: {errors[0]}",
            f"{name} is no longer complete, and its database is not protected against deletion",
            "remove the cause shown in the events above, and run it again",
        )
