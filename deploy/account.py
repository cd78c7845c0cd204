"""Settings of the account that make its instances safe, and that Beanstalk has no option for."""

from deploy.environments import Environment
from deploy.errors import Failure, state
from deploy.run import Run

HOPS = 1  # from an instance to its metadata; a container is one further, and has no business there


def refuse_unsafe(run: Run, environment: Environment) -> None:
    """Ask whether root volumes are encrypted, and the metadata is out of the containers' reach.

    Both are settings of the account in the region, for whatever it starts. Raises Failure for
    production, when one of them is missing; says so for any other environment.
    """
    missing = []
    with state("nothing was changed"):
        if not run.aws.ask("ec2", "get_ebs_encryption_by_default")["EbsEncryptionByDefault"]:
            missing.append((
                "the volumes of new instances are not encrypted",
                "aws ec2 enable-ebs-encryption-by-default",
            ))  # fmt: skip
        level = run.aws.ask("ec2", "get_instance_metadata_defaults").get("AccountLevel", {})
        if level.get("HttpPutResponseHopLimit") != HOPS:
            missing.append((
                "a container on a new instance can get the rights of the instance",
                f"aws ec2 modify-instance-metadata-defaults --http-put-response-hop-limit {HOPS}",
            ))  # fmt: skip
        remedies = "; ".join(f"{remedy} --region {run.settings.region}" for _, remedy in missing)
        if missing and environment.is_production:
            raise Failure(
                f"the account is not ready for production: {', and '.join(w for w, _ in missing)}",
                next=f"{remedies}. It holds for all that the account starts in this region",
            )
    for what, _ in missing:
        run.console.say(f"{what}, which production would refuse")
    if missing:
        run.console.say(f"  next: {remedies}")
