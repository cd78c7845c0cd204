"""What the account in a region allows: settings that protect the instances, and its quotas."""

import re
from typing import Any

from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, InvalidConfig
from deploy.base.findings import Finding, not_ready, ready
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.resources import stacks

# "Running On-Demand Standard instances" in vCPUs, and the families that it is for:
# docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
VCPUS, STANDARD = ("ec2", "L-1216C47A"), re.compile(r"(a|c|d|h|i|im|is|m|r|t|z)\d")
# "VPCs per Region": docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
VPCS = ("vpc", "L-F678F1CE")
HOPS = 1  # from an instance to its metadata; a container is one hop further, and must not reach it


def find_unsafe(run: Run) -> list[Finding]:
    """Whether root volumes are encrypted, and whether containers cannot reach the metadata.

    Both are settings of the account in the region, for all instances. Raises AwsFailure.
    """
    encrypted = run.aws.ask("ec2", "get_ebs_encryption_by_default")["EbsEncryptionByDefault"]
    defaults = run.aws.ask("ec2", "get_instance_metadata_defaults").get("AccountLevel", {})
    found = []
    if not encrypted:
        found += not_ready(
            "the volumes of new instances are not encrypted",
            run.settings.aws("ec2 enable-ebs-encryption-by-default"),
        )
    if defaults.get("HttpPutResponseHopLimit") != HOPS:
        set_limit = f"ec2 modify-instance-metadata-defaults --http-put-response-hop-limit {HOPS}"
        found += not_ready(
            "a container on a new instance can obtain the instance's credentials",
            run.settings.aws(set_limit),
        )
    return found or ready("volumes are encrypted, and containers cannot reach the metadata")


def refuse_unsafe(run: Run, environment: Environment) -> None:
    """Raise Failure for production if one of these settings is missing.

    Prints a warning for any other environment. Raises AwsFailure.
    """
    missing = [one for one in find_unsafe(run) if one.is_open]
    what = ", and ".join(one.what for one in missing)
    remedies = "; ".join(one.next for one in missing)
    if missing and environment.is_production:
        raise Failure(
            f"the account is not ready for production: {what}",
            next=f"{remedies}. This applies to everything that the account starts in this region",
        )
    if missing:
        run.console.say(f"{what}; production requires both", remedies)


def check_vcpus(run: Run) -> list[Finding]:
    """Whether the account may run as many instances as devops/environments.toml can need.

    What else the account runs is not counted. Raises AwsFailure, and InvalidConfig for an instance
    type that does not exist in the region.
    """
    quota, needed = _find_quota(run, *VCPUS), _needed_vcpus(run)
    have = f"the account may run {quota:.0f} vCPUs in {run.settings.region}"
    need = f"{environments.NAME} can need {needed} vCPUs at MaxSize, during a deployment"
    if needed <= quota:
        return ready(f"{have}; {need}")
    return not_ready(f"{have}, and the environments of {need}", _raise(run, VCPUS, needed))


def check_vpcs(run: Run) -> list[Finding]:
    """Whether the account may have another VPC for each missing environment. Raises AwsFailure."""
    quota = _find_quota(run, *VPCS)
    there = len(run.aws.every("ec2", "describe_vpcs", "Vpcs"))
    known = environments.read(run.settings).values()
    missing = [one.short for one in known if stacks.find(run, one.name) is None]
    have = f"the account may have {quota:.0f} VPCs in {run.settings.region}, and has {there}"
    if there + len(missing) <= quota:
        return ready(have)
    what = f"{have}; {', '.join(missing)} {'need' if len(missing) > 1 else 'needs'} one each"
    return not_ready(what, _raise(run, VPCS, there + len(missing)))


def _find_quota(run: Run, service: str, code: str) -> float:
    answer = run.aws.ask("service-quotas", "get_service_quota", ServiceCode=service, QuotaCode=code)
    value: float = answer["Quota"]["Value"]
    return value


def _raise(run: Run, quota: tuple[str, str], wanted: int) -> str:
    return run.settings.aws(
        f"service-quotas request-service-quota-increase --service-code {quota[0]} "
        f"--quota-code {quota[1]} --desired-value {wanted}"
    )


def _needed_vcpus(run: Run) -> int:
    """Of all environments, each with the largest of its instance types."""
    most = [one.most_instances() for one in environments.read(run.settings).values()]
    types = sorted({one for named, _ in most for one in named})
    found = _describe(run, types) if types else []
    vcpus = {
        one["InstanceType"]: int(one["VCpuInfo"]["DefaultVCpus"])
        for one in found
        if STANDARD.match(one["InstanceType"])
    }
    return sum(size * max((vcpus.get(one, 0) for one in named), default=0) for named, size in most)


def _describe(run: Run, types: list[str]) -> list[dict[str, Any]]:
    try:
        return run.aws.every("ec2", "describe_instance_types", "InstanceTypes", InstanceTypes=types)
    except AwsFailure as failure:
        if failure.code != "InvalidInstanceType":
            raise
        what = f"in {run.settings.region}, {failure.reason}"
        raise InvalidConfig(environments.NAME, what) from failure
