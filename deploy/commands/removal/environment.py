"""The parts of an environment, in the order in which they go.

First what watches it, or it would raise alarms; then the environment with its database, its stack,
and what the stack keeps. Backups are locked, and stay with whatever a recovery from them needs.
"""

from collections.abc import Callable
from datetime import UTC
from functools import partial

from deploy.base.context import Run
from deploy.commands.removal import remains, story
from deploy.commands.removal.story import Found, Part, Step, Target
from deploy.config import environments
from deploy.config.environments import NAME, Environment
from deploy.delivery import history
from deploy.resources import (
    backups,
    beanstalk,
    bucket,
    database,
    keys,
    monitoring,
    probe,
    secretsmanager,
    slack,
    stacks,
    termination,
)

SECRETS = ("database", "application", "smoke-test")  # of devops/environment.yml
VERSIONS = 90  # days, of objects that were deleted, as in devops/foundation.yml


def remove(run: Run, short: str, is_meant: bool, confirm: Callable[[str], bool]) -> None:
    """Remove the environment ``short`` in the region of ``run``, and its backups anywhere.

    An environment of the same name in another region, as after a recovery, is none of it. See
    ``story.remove`` for the rest. Raises Failure.
    """
    environment = environments.find_any(run.settings, short)
    if short not in environments.read(run.settings):
        run.console.say(f"{NAME} has no {short}: it belongs to an exercise, or is mistyped")
    places = find_places(run)
    others = places[1:]
    target = Target(
        environment.name,
        [one.settings.region for one in places],
        [
            partial(find_probe, run, environment, others),
            *find_parts(run, environment),
            partial(_find_records, run, environment, is_here=True),
            *(partial(_find_keys, one, environment) for one in others),
            *(partial(_find_vault, one, environment) for one in others),
            *(partial(_find_records, one, environment, is_here=False) for one in others),
        ],
        [(run, environment.name)],
        protected=find_protection(run, environment),
    )
    story.remove(run, target, is_meant, confirm)


def find_places(run: Run) -> list[Run]:
    """``run``, and the same in each other region of the service. Raises InvalidConfig."""
    known = environments.find_regions(run.settings)
    return [run, *(run.at(one) for one in known if one != run.settings.region)]


def find_protection(run: Run, environment: Environment) -> list[str]:
    """Why ``environment`` is not removed by mistake; empty if nothing says so. Raises Failure."""
    if environment.is_production:
        return [f"{environment.name} is production"]
    if database.is_protected(run, environment.name):
        return [f"the database of {environment.name} is protected against deletion"]
    return []


def find_parts(run: Run, environment: Environment) -> list[Part]:
    """The parts of ``environment`` in the region of ``run``, but the records of it.

    Its stack is found until everything that it retained is removed.
    """
    name = environment.name
    return [
        partial(find_stack, run, monitoring.name(environment), "dashboard, alarms, queries"),
        partial(find_stack, run, f"{name}-backups", "the plan of its backups, and their alarms"),
        partial(_find_environment, run, environment),
        partial(_find_secrets, run, name),
        partial(_find_keys, run, environment),
        partial(find_stack, run, name, "network and roles"),
        partial(_find_vault, run, environment),
        partial(remains.explain_snapshots, run, name),
        partial(remains.explain_logs, run, name),
    ]


def find_probe(run: Run, environment: Environment, others: list[Run]) -> Found:
    """The probe, unless one of the ``others`` has an environment of this name, which it may ask.

    Raises AwsFailure.
    """
    stack, there = probe.name(environment.name), run.at(probe.REGION)
    found = find_stack(there, stack, "the probe of its public name")
    topic = probe.find(run, environment.name).get("Topic")
    users = [one.settings.region for one in others if beanstalk.find(one, environment.name)]
    if not (found.goes and users):
        return Found([*(find_channels(run, {topic}) if topic else ()), *found.goes])
    what = f"the stack {stack} in {probe.REGION}, the probe of its public name"
    return Found(stays=[f"{what}: {environment.name} is also in {', '.join(users)}"])


def find_channels(run: Run, topics: set[str]) -> list[Step]:
    """In Slack, a topic that does not exist would stay where other services have theirs.

    Raises AwsFailure.
    """
    found = slack.find_channels(run, topics)
    return [Step(f"our topics in the Slack channel {one}", act) for one, act in found]


def find_stack(run: Run, name: str, contents: str) -> Found:
    """The stack ``name`` in the region of ``run``. Raises AwsFailure."""
    if stacks.find(run, name) is None:
        return Found()
    what = f"the stack {name} in {run.settings.region}: {contents}"
    return Found([Step(what, partial(stacks.remove, run, name))])


def _find_environment(run: Run, environment: Environment) -> Found:
    name, region = environment.name, run.settings.region
    if beanstalk.find(run, name) is None:
        database.refuse_single(run, name)
        return Found()
    what = f"the environment {name} in {region}, with its database: a final snapshot is kept"
    public = (stacks.find_outputs(run, name) or {}).get("PublicName")
    record = (
        f"the record of {public} in DNS: remove it first, or whoever gets the host next answers "
        "to that name"
    )
    step = Step(what, partial(termination.terminate, run, environment))
    return Found([step], [record] if public else [])


def _find_secrets(run: Run, name: str) -> Found:
    region, days = run.settings.region, secretsmanager.WINDOW
    goes, stays = [], []
    for one in (f"{name}/{kind}" for kind in SECRETS):
        found = secretsmanager.describe(run, one)
        if found is None or found.get("PrimaryRegion", region) != region:
            continue  # a replica goes with its original
        if "DeletedDate" not in found:
            what = f"the secret {one} in {region}: it can be restored for {days} days"
            goes.append(Step(what, partial(secretsmanager.delete, run, one)))
            continue
        delete = f"secretsmanager delete-secret --secret-id {one} --force-delete-without-recovery"
        restore = run.settings.aws(f"secretsmanager restore-secret --secret-id {one}")
        stays.append(
            f"the secret {one} in {region}, {days} days from its deletion: {restore}; before "
            f"{name} can be created again: {run.settings.aws(delete)}"
        )
    return Found(goes, stays)


def _find_vault(there: Run, environment: Environment) -> Found:
    points, region = backups.find_points(there, environment), there.settings.region
    if points is None:
        return find_stack(there, f"{environment.name}-vault", "its vault no longer exists")
    stack = f"with the stack {environment.name}-vault in {region}"
    vault = f"the vault {backups.name_vault(environment, region)}, {stack}"
    if not points:
        role = f"{there.settings.application}-break-glass"
        return Found(
            stays=[
                f"{vault}, which is empty: only the role {role} may delete it, then run this "
                "again (docs/permissions.md)"
            ]
        )
    ends = [one.get("CalculatedLifecycle", {}).get("DeleteAt") for one in points]
    last = "never" if None in ends else f"on {max(ends).astimezone(UTC):%Y-%m-%d}"
    return Found(stays=[f"{vault}, locked: {len(points)} backups, the last expires {last}"])


def _find_records(there: Run, environment: Environment, is_here: bool) -> Found:
    """The history of its deployments, without which nothing recovers from a backup that stays.

    And which database has the data, which another one must not be compared with.
    """
    name, region = environment.name, there.settings.region
    if not bucket.exists(there):
        return Found()
    records, stays = bucket.find_records(there), []
    own = f"{database.FOLDER}/{name}"
    found = [one for one in records.find_keys(own) if is_here and one == own]
    deployed = records.find_keys(f"{history.FOLDER}/{name}/")
    is_used = not is_here and beanstalk.find(there, name) is not None
    if deployed and (is_used or backups.find_points(there, environment)):
        reason = f"{name} is there" if is_used else "a recovery from the backups requires them"
        stays.append(f"the records of {len(deployed)} deployments of {name} in {region}: {reason}")
    else:
        found += deployed
    if not found:
        return Found(stays=stays)
    what = f"{len(found)} records of {name} in {region}: they can be restored for {VERSIONS} days"
    objects = [{"Key": key} for key in found]
    return Found([Step(what, partial(records.delete_all, objects))], stays)


def _find_keys(there: Run, environment: Environment) -> Found:
    """What encrypts its database, its secrets and its backups."""
    name, region, goes, stays = environment.name, there.settings.region, [], []
    for key in keys.find(there):
        if key.get("Description") not in (f"Database of {name}", f"Backups of {name} in {region}"):
            continue
        what = f"the key {key['KeyId']} in {region} ({key['Description']})"
        if key["KeyState"] == keys.PENDING:
            stays.append(f"{what}, until {key['DeletionDate']:%Y-%m-%d}")
        elif users := _find_users(there, environment, key["Arn"]):
            stays.append(f"{what}, about 1 USD a month, as it is needed for {', '.join(users)}")
        else:
            act = partial(keys.delete, there, key["KeyId"])
            goes.append(Step(f"{what}: that can be cancelled for {keys.WINDOW} days", act))
    return Found(goes, stays)


def _find_users(there: Run, environment: Environment, arn: str) -> list[str]:
    name, users = environment.name, keys.find_users(there, arn)
    if beanstalk.find(there, name) is not None:
        users.append(name)
    if backups.find_points(there, environment) is not None:
        users.append(backups.name_vault(environment, there.settings.region))
    return users
