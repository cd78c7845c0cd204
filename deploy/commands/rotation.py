"""Changes the database password of an environment, without a failed request.

First every instance gets the new password beside the old one, then the database is changed, then
the old one is dropped: containers that run or start meanwhile know the accepted one. After a
failure the same command can be run again, and continues where it ended.
"""

from deploy.base.context import Run
from deploy.base.errors import Failure, NotFound, state
from deploy.base.waiting import Pending, wait_until
from deploy.commands import credentials
from deploy.config.environments import Environment
from deploy.delivery import smoke
from deploy.resources import lock, secretsmanager, stuck

PASSWORD_LENGTH = 40
PATIENCE = 1800  # seconds until RDS has changed the password


def rotate(run: Run, environment: Environment) -> None:
    """Change the password. Raises Failure."""
    arn = credentials.find_outputs(run, environment)["DatabaseSecret"]
    with lock.hold(run, environment.name):
        _rotate(run, environment, arn)


def _rotate(run: Run, environment: Environment, arn: str) -> None:
    with state("nothing was changed"):
        label = stuck.wait_until_usable(run, environment).version
        value = credentials.read(run, arn)
        if not value.get("password"):
            raise NotFound(f"there is no password in {arn}", next="restore it in Secrets Manager")
        old, new = value["password"], value.get("next_password", "none")
        if new in (old, "none"):
            new = _new_password(run)
            secretsmanager.write(run, arn, value | {"next_password": new})
            run.changes.done("the new password is stored beside the old one")
        else:
            run.console.say("continuing an interrupted rotation")
    with state("the database has the old password, and the new one is stored beside it"):
        credentials.redeploy(run, environment, label)
    with state("the database has either password, and every instance knows both"):
        run.aws.change(
            "rds",
            "modify_db_instance",
            shown={"MasterUserPassword": "..."},
            DBInstanceIdentifier=environment.name,
            MasterUserPassword=new,
            ApplyImmediately=True,
        )
        run.changes.quietly(lambda: _wait_for_database(run, environment.name))
    with state("the database has the new password, and the old one is stored beside it"):
        secretsmanager.write(run, arn, value | {"password": new, "next_password": new})
    run.changes.done(
        f"the database of {environment.short} has a new password; the old one is no longer accepted"
    )
    with state("the password is changed"):
        smoke.check(run, environment, smoke.find_key(run, environment))


def _new_password(run: Run) -> str:
    answer = run.aws.ask(
        "secretsmanager",
        "get_random_password",
        PasswordLength=PASSWORD_LENGTH,
        ExcludePunctuation=True,
    )
    return str(answer["RandomPassword"])


def _wait_for_database(run: Run, name: str) -> None:
    def look() -> Pending | None:
        found = run.aws.ask("rds", "describe_db_instances", DBInstanceIdentifier=name)
        database = found["DBInstances"][0]
        pending = "MasterUserPassword" in database.get("PendingModifiedValues", {})
        if database["DBInstanceStatus"] == "available" and not pending:
            return None
        return Pending(database["DBInstanceStatus"], "its password is pending" if pending else "")

    late = wait_until(run, f"the database {name}", look, PATIENCE)
    if late:
        raise Failure(
            f"{name} is still {late.state} after {PATIENCE} s",
            next="run it again: it continues",
        )
