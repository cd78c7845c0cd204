"""Environments that AWS no longer updates, because of the state of their stack in Beanstalk."""

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config.environments import Environment
from deploy.resources import beanstalk, stacks
from deploy.resources.beanstalk import State


def wait_until_usable(run: Run, environment: Environment) -> State:
    """The state of ``environment`` as soon as AWS accepts changes of it. Raises Failure."""
    current = beanstalk.wait_until_ready(run, environment)
    refuse(run, current)
    return current


def refuse(run: Run, current: State) -> None:
    """Raise Failure if a resource has failed in a way after which AWS refuses every update.

    After a failed command of a hook, it does not.
    """
    status, reason = stacks.find_stuck(run, current.stack)
    if status:
        raise Failure(
            f"a resource of {current.name} failed: {reason}",
            f"its stack {current.stack} is {status}, which AWS refuses to update",
            f"remove the cause, then: {'; '.join(_ways_out(run, current, status))}",
        )


def _ways_out(run: Run, current: State, status: str) -> list[str]:
    """The commands that end ``status``; the last one continues. Raises AwsFailure."""
    name, aws, program = current.name, run.settings.aws, run.settings.program
    if status.startswith("UPDATE_"):
        return [stacks.way_out(run, current.stack, status), "run this again"]
    answer = run.aws.find(
        "rds", "describe_db_instances", "DBInstanceNotFound", DBInstanceIdentifier=name
    )
    database = answer["DBInstances"][0] if answer else None
    protected = database and database.get("DeletionProtection")
    unprotect = f"rds modify-db-instance --db-instance-identifier {name} --no-deletion-protection"
    terminate = [
        *([aws(f"{unprotect} --apply-immediately")] if protected else []),
        aws(f"elasticbeanstalk terminate-environment --environment-name {name}"),
        _until(aws(f"elasticbeanstalk wait environment-terminated --environment-names {name}")),
    ]
    if status != "DELETE_FAILED" or not database:
        return [*terminate, "run this again"]
    kept, short = f"{name}-kept", name.rpartition("-")[2]  # its data, which a new one lacks
    snapshot = f"rds create-db-snapshot --db-instance-identifier {name}"
    return [
        aws(f"{snapshot} --db-snapshot-identifier {kept}"),
        _until(aws(f"rds wait db-snapshot-available --db-snapshot-identifier {kept}")),
        *terminate,
        f"{program} recover {short} --region {run.settings.region} --as NAME --to-snapshot {kept}",
    ]


def _until(wait: str) -> str:
    """``wait``, repeated: the AWS CLI gives up on an environment after 20 looks, 20 s apart.

    A database takes longer to delete. See `waiters-2.json` of elasticbeanstalk in botocore.
    """
    return f"until {wait}; do sleep 5; done"
