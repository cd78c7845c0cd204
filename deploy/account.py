"""Account settings that protect the instances, and for which Beanstalk has no option."""

from deploy.environments import Environment
from deploy.errors import Failure, state
from deploy.run import Run

HOPS = 1  # from an instance to its metadata; a container is one hop further, and must not reach it


def refuse_unsafe(run: Run, environment: Environment) -> None:
    """Check that root volumes are encrypted, and that containers cannot reach the metadata.

    Both are settings of the account in the region, for all instances. Raises Failure for
    production if one of them is missing, and prints a warning for any other environment.
    """
    missing = []
    with state("nothing was changed"):
        if not run.aws.ask("ec2", "get_ebs_encryption_by_default")["EbsEncryptionByDefault"]:
            missing.append((
                "the volumes of new instances are not encrypted",
                "ec2 enable-ebs-encryption-by-default",
            ))  # fmt: skip
        level = run.aws.ask("ec2", "get_instance_metadata_defaults").get("AccountLevel", {})
        if level.get("HttpPutResponseHopLimit") != HOPS:
            missing.append((
                "a container on a new instance can obtain the instance's credentials",
                f"ec2 modify-instance-metadata-defaults --http-put-response-hop-limit {HOPS}",
            ))  # fmt: skip
        remedies = "; ".join(run.settings.aws(remedy) for _, remedy in missing)
        if missing and environment.is_production:
            raise Failure(
                f"the account is not ready for production: {', and '.join(w for w, _ in missing)}",
                next=f"{remedies}. This applies to all that the account starts in this region",
            )
    for what, _ in missing:
        run.console.say(f"{what}, which production would refuse")
    if missing:
        run.console.say(f"  next: {remedies}")
