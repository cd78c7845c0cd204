"""What the account in a region allows: settings that protect the instances, and their quota."""

import re

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, InvalidConfig
from deploy.config import environments
from deploy.config.environments import Environment

# "Running On-Demand Standard instances" in vCPUs, and the families that it is for:
# docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
QUOTA, STANDARD = "L-1216C47A", re.compile(r"(a|c|d|h|i|im|is|m|r|t|z)\d")
HOPS = 1  # from an instance to its metadata; a container is one hop further, and must not reach it


def refuse_unsafe(run: Run, environment: Environment) -> None:
    """Check that root volumes are encrypted, and that containers cannot reach the metadata.

    Both are settings of the account in the region, for all instances. Raises Failure for
    production if one of them is missing, and prints a warning for any other environment.
    """
    missing = {}
    if not run.aws.ask("ec2", "get_ebs_encryption_by_default")["EbsEncryptionByDefault"]:
        what = "the volumes of new instances are not encrypted"
        missing[what] = "ec2 enable-ebs-encryption-by-default"
    level = run.aws.ask("ec2", "get_instance_metadata_defaults").get("AccountLevel", {})
    if level.get("HttpPutResponseHopLimit") != HOPS:
        what = "a container on a new instance can obtain the instance's credentials"
        remedy = f"ec2 modify-instance-metadata-defaults --http-put-response-hop-limit {HOPS}"
        missing[what] = remedy
    remedies = "; ".join(map(run.settings.aws, missing.values()))
    if missing and environment.is_production:
        raise Failure(
            f"the account is not ready for production: {', and '.join(missing)}",
            next=f"{remedies}. This applies to all that the account starts in this region",
        )
    if missing:
        run.console.say(f"{', and '.join(missing)}, which production would refuse", remedies)


def warn_of_quota(run: Run) -> None:
    """Print a warning if the environments can need more instances than the account may run.

    What else the account runs is not counted. Without an answer, it is unknown, and no failure.
    Raises InvalidConfig for an instance type that does not exist in the region.
    """
    try:
        quota = run.aws.ask(
            "service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=QUOTA
        )["Quota"]["Value"]
        needed = _needed_vcpus(run)
    except AwsFailure as failure:
        if failure.code == "InvalidInstanceType":
            what = f"in {run.settings.region}, {failure.reason}"
            raise InvalidConfig(environments.NAME, what) from failure
        run.console.say(f"whether the quota of instances suffices is unknown: {failure.what}")
        return
    if needed <= quota:
        return
    run.console.say(
        f"the account may run {quota:.0f} vCPUs in {run.settings.region}, and the environments of "
        f"{environments.NAME} can need {needed} vCPUs at MaxSize, during a deployment",
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        f"--quota-code {QUOTA} --desired-value {needed} --region {run.settings.region}",
    )


def _needed_vcpus(run: Run) -> int:
    """Of all environments, each with the largest of its instance types. Raises AwsFailure."""
    most = [one.most_instances() for one in environments.read(run.settings).values()]
    types = sorted({one for named, _ in most for one in named})
    if not types:
        return 0
    found = run.aws.every("ec2", "describe_instance_types", "InstanceTypes", InstanceTypes=types)
    vcpus = {
        one["InstanceType"]: int(one["VCpuInfo"]["DefaultVCpus"])
        for one in found
        if STANDARD.match(one["InstanceType"])
    }
    return sum(size * max((vcpus.get(one, 0) for one in named), default=0) for named, size in most)
