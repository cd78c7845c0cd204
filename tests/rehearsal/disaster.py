"""What nobody can do to AWS: let a night pass, lose a region, bring it back. For the scenarios, and for `make cloud`."""

from tests.rehearsal.aws.cloudwatch import PLACES
from tests.support.aws import REGION

PLAN = "AWS::Backup::BackupPlan"


class Impossible(Exception):
    """What was asked for does not make sense now; the text says why."""


def night(cloud, region=REGION, unfinished=()):
    """Run AWS Backup's nightly jobs of a region; copies to the regions in ``unfinished`` are not completed.

    Returns the region and the reason of each copy that failed, and the time of the last transaction in the newest
    backup of each database. Raises Impossible without a plan for backups.
    """
    if not cloud.cloudformation.at(region)[PLAN]:
        raise Impossible(f"no nightly backups are installed in {region}")
    failed = cloud.region(region).backup.run_plans(unfinished)
    newest = {}
    for one in cloud.region(region).databases.snapshots.values():
        if one.kind == "awsbackup":
            newest[one.database] = max(one.at, newest.get(one.database, one.at))
    return failed, newest


def nights(cloud):
    """The same in each region that answers and has a plan: yields the region with both.

    Raises Impossible if there is none.
    """
    regions = [
        one for one in PLACES if one not in cloud.lost and cloud.cloudformation.at(one)[PLAN]
    ]
    if not regions:
        raise Impossible("no nightly backups are installed in a region that answers")
    for region in regions:
        yield region, *night(cloud, region)


def lose(cloud, region):
    """Take a region down. Raises Impossible for one that is down, or that this account does not use."""
    if region not in PLACES:
        raise Impossible(f"there is no region {region!r}; there are {', '.join(PLACES)}")
    if region in cloud.lost:
        raise Impossible(f"{region} is down already")
    cloud.lose(region)


def bring_back(cloud, region):
    """Bring a region back, as it was. Raises Impossible for one that is not down."""
    if region not in cloud.lost:
        raise Impossible(f"{region!r} is not down")
    cloud.return_(region)
