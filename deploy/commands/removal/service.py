"""Everything in all regions: the pipeline, the environments, and what they share.

First the pipeline, so that it deploys nothing meanwhile. A stack whose exports others import goes
after them, and the bucket with the locks at the end, when they have been released.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial

from deploy.base.context import Run
from deploy.commands.removal import environment as own
from deploy.commands.removal import remains, story
from deploy.commands.removal.story import Found, Part, Step, Target
from deploy.config import environments, names
from deploy.config.environments import Environment
from deploy.delivery import version
from deploy.resources import beanstalk, bucket, budget, probe, secretsmanager, slack, stacks
from deploy.resources.bucket import Bucket

PARTS = ("", "-operations", "-backups", "-vault", "-probe")  # endings of an environment's stacks
ACCOUNT = (
    f"what belongs to the account: Beanstalk's buckets, service-linked roles, the stack "
    f"{slack.STACK}, the workspace of Slack, certificates, and settings of EC2 and AWS Backup"
)


def remove(run: Run, is_meant: bool, confirm: Callable[[str], bool]) -> None:
    """Remove all that there is of the application. See ``story.remove``. Raises Failure."""
    places = own.find_places(run)
    known = _find_environments(run, places)
    found = [(place, one) for one in known for place in places]
    target = Target(
        run.settings.application,
        [one.settings.region for one in places],
        [
            *(part for place in places for part in _find_pipeline(place)),
            *(partial(own.find_probe, run, one, []) for one in known),
            *(part for place, one in found for part in own.find_parts(place, one)),
        ],
        [(place, one.name) for place, one in found],
        [
            *(partial(_find_stack, place, "replication", "copies of images") for place in places),
            *(part for place in places for part in _find_shared(place)),
            partial(_find_stack, run.at(budget.REGION), "budget", "the budget of the account"),
            partial(_find_account, run),
        ],
        [
            reason
            for place, one in found
            if beanstalk.find(place, one.name)
            for reason in own.find_protection(place, one)
        ],
    )
    story.remove(run, target, is_meant, confirm)


def _find_environments(run: Run, places: list[Run]) -> list[Environment]:
    """Those of the file, and all others of which there is anything. Raises Failure."""
    known = set(environments.read(run.settings))
    kinds = "|".join(PARTS[1:])
    pattern = re.compile(rf"{re.escape(run.settings.application)}-([a-z0-9]{{2,20}})({kinds})?")
    made = [*_find_stacks(run.at(probe.REGION))]
    for place in places:
        made += [*_find_stacks(place), *beanstalk.find_all(place), *_find_remnants(place)]
    known |= {found[1] for found in map(pattern.fullmatch, made) if found}
    shorts = sorted(known - {*names.SHARED, *names.RESERVED})
    return [environments.find_any(run.settings, one) for one in shorts]


def _find_stacks(there: Run) -> Iterator[str]:
    """The stacks that have our tag, by name. Raises AwsFailure."""
    for one in there.aws.every("cloudformation", "describe_stacks", "Stacks"):
        tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}
        if tags.get("Application") == there.settings.application:
            yield one["StackName"]


def _find_remnants(there: Run) -> Iterator[str]:
    """The names of environments, also of other services, that snapshots or logs are of.

    Raises AwsFailure.
    """
    for snapshot in remains.find_snapshots(there):
        yield snapshot.get("DBInstanceIdentifier", "")
    for prefix in remains.LOGS:
        begin = prefix.format(f"{there.settings.application}-").rstrip("/")
        for group in remains.find_logs(there, begin):
            yield group.removeprefix(prefix.partition("{")[0]).partition("/")[0]


def _find_stack(there: Run, kind: str, contents: str) -> Found:
    return own.find_stack(there, f"{there.settings.application}-{kind}", contents)


def _find_pipeline(there: Run) -> list[Part]:
    return [
        partial(_find_stack, there, "pipeline", "pipeline, projects, roles"),
        partial(_find_artifacts, there),
        partial(_find_logs, there),
    ]


def _find_artifacts(there: Run) -> Found:
    """The bucket that the pipeline's stack has kept, whose name CloudFormation has made."""
    region, account = there.settings.region, there.aws.account()
    begin = f"{there.settings.application}-pipeline-artifacts-"
    found = there.aws.every("s3", "list_buckets", "Buckets", Prefix=begin, BucketRegion=region)
    buckets = [Bucket(there, one["Name"], account, "it is deleted") for one in found]
    return Found([_empty(one, "artifacts of the pipeline") for one in buckets])


def _empty(one: Bucket, contents: str) -> Step:
    what = f"the bucket {one.name} in {one.run.settings.region}, with all versions: {contents}"
    return Step(what, one.destroy)


def _find_logs(there: Run) -> Found:
    """Those that the pipeline's stack has kept, and could not be made again with."""
    goes, application = [], there.settings.application
    for group in (f"/{application}/pipeline", f"/{application}/pull-requests"):
        if group in remains.find_logs(there, group):
            delete = partial(there.aws.change, "logs", "delete_log_group", logGroupName=group)
            goes.append(Step(f"the log group {group} in {there.settings.region}", delete))
    return Found(goes)


def _find_shared(there: Run) -> list[Part]:
    return [
        partial(_find_channels, there),
        partial(_find_application, there),
        partial(_find_stack, there, "foundation", "roles, topics"),
        partial(_find_images, there),
        partial(_find_records, there),
    ]


def _find_channels(there: Run) -> Found:
    outputs = stacks.find_outputs(there, there.settings.foundation) or {}
    topics = {outputs[one] for one in slack.TOPICS if one in outputs}
    return Found(own.find_channels(there, topics) if topics else [])


def _find_application(there: Run) -> Found:
    name = there.settings.application
    found = there.aws.ask("elasticbeanstalk", "describe_applications", ApplicationNames=[name])
    if not found["Applications"]:
        return Found()
    labels = version.newest(there)
    what = f"the application {name} in {there.settings.region}: {len(labels)} versions with bundles"
    return Found([Step(what, partial(_delete_application, there, labels))])


def _delete_application(there: Run, labels: list[str]) -> None:
    for label in labels:
        version.delete(there, label)
    there.aws.change(
        "elasticbeanstalk", "delete_application", ApplicationName=there.settings.application
    )


def _find_images(there: Run) -> Found:
    name = there.settings.application
    found = there.aws.find(
        "ecr", "describe_repositories", "RepositoryNotFoundException", repositoryNames=[name]
    )
    if found is None:
        return Found()
    delete = partial(there.aws.change, "ecr", "delete_repository", repositoryName=name, force=True)
    return Found([Step(f"the repository {name} in {there.settings.region}: all images", delete)])


def _find_records(there: Run) -> Found:
    if not bucket.exists(there):
        return Found()
    return Found([_empty(bucket.find_records(there), "records of deployments and builds, locks")])


def _find_account(run: Run) -> Found:
    secret = f"{run.settings.application}/sentry"
    delete = run.settings.aws(f"secretsmanager delete-secret --secret-id {secret}")
    stored = secretsmanager.describe(run, secret)
    is_there = stored is not None and "DeletedDate" not in stored
    return Found(stays=[*([f"the secret {secret}: {delete}"] if is_there else []), ACCOUNT])
