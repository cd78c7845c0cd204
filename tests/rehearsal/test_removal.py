"""The way out of the account of tests/rehearsal/test_recovery.py, whose scenarios come first: nothing is left but what was said."""

from deploy.resources import slack
from tests.rehearsal.home import FIRST, SECOND
from tests.support.aws import APPLICATION, PROD, REGION

REGIONS = (REGION, FIRST, SECOND)
ALL = ("remove", "--all", "--protected", "--confirm", APPLICATION)


def find_left(home):
    """What there is in all regions, by the name under which it must have been mentioned."""
    for region in REGIONS:

        def every(service, operation, key, region=region, **asked):
            return getattr(home.cloud.client(service, region), operation)(**asked)[key]

        yield from (
            one["StackName"] for one in every("cloudformation", "describe_stacks", "Stacks")
        )
        yield from every("ecr", "describe_repositories", "repositories")
        yield from every("sns", "list_topics", "Topics")
        yield from (
            one["VpcId"] for one in every("ec2", "describe_vpcs", "Vpcs") if not one["IsDefault"]
        )
        secrets = every("secretsmanager", "list_secrets", "SecretList", IncludePlannedDeletion=True)
        yield from (
            f"restore-secret --secret-id {one['Name']} --region {region}" for one in secrets
        )
        snapshots = every("rds", "describe_db_snapshots", "DBSnapshots")
        yield from (one["DBSnapshotIdentifier"] for one in snapshots)
        for one in every("kms", "list_keys", "Keys"):
            key = every("kms", "describe_key", "KeyMetadata", KeyId=one["KeyId"])
            yield f"the key {key['KeyId']} in {region}"
        for one in every("logs", "describe_log_groups", "logGroups"):
            yield f"log groups, {'/'.join(one['logGroupName'].split('/')[:4])}"
        for kind, found in home.cloud.cloudformation.at(region).items():
            yield from (name if "Vault" in kind else f"{kind} {name}" for name in found)
    buckets = home.cloud.client("s3").list_buckets()["Buckets"]
    own = [one["Name"] for one in buckets if not one["Name"].startswith("elasticbeanstalk-")]
    yield from own
    for one in home.cloud.client("iam").list_roles()["Roles"]:
        of_the_account = one["RoleName"].startswith(f"{slack.STACK}-")
        yield slack.STACK if of_the_account else one["RoleName"]


def test_everything_is_removed_except_what_was_named(home, seen):
    """With Ctrl-C while an environment is terminated; the backups are locked, and expire afterwards."""
    home.type("remove the exercise", "--confirm", f"{APPLICATION}-exercise")
    home.type("remove there", "--confirm", PROD)
    assert not home.at(FIRST).beanstalk.environments
    assert not home.at(SECOND).beanstalk.environments
    assert home.environment().colour() == ("Green", "Ok")
    assert home.interrupt(ALL, f"terminate-environment --environment-name {PROD}") == 130
    printed = home.world.project.script(*ALL)
    said = printed.split(f"{APPLICATION} is removed")[1]
    left = list(find_left(home))
    assert [one for one in left if one not in said] == []
    for region in REGIONS:
        assert not home.at(region).beanstalk.environments
        assert f"the vault {PROD}-{region}, with the stack" in said
        home.cloud.cloudformation.at(region)["AWS::Backup::BackupVault"].clear()
        home.at(region).databases.snapshots.clear()
    said = home.world.project.script(*ALL).split(f"{APPLICATION} is removed")[1]
    assert [one for one in find_left(home) if one not in said] == []
    assert "is needed for" not in said
    assert f"nothing of {APPLICATION} is left to remove" in home.world.project.script(
        "remove", "--all"
    )
    seen(f"{len(left)} resources were left, as said, of which the locked backups went later")
