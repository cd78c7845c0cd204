"""The certificate of an environment: from devops/environments.toml, or its equivalent elsewhere."""

from deploy.base.context import Run
from deploy.base.errors import Failure
from deploy.config.environments import NAME, Environment


def find(run: Run, environment: Environment) -> str:
    """Its ARN in the region of ``run``; empty if the environment has none. Raises Failure."""
    parameters = environment.parameters()
    arn, name = parameters.get("Certificate", ""), parameters.get("PublicName", "")
    if not arn or arn.split(":")[3] == run.settings.region:
        return arn
    issued = run.aws.every(
        "acm", "list_certificates", "CertificateSummaryList", CertificateStatuses=["ISSUED"]
    )
    for one in issued:
        names = {one.get("DomainName"), *one.get("SubjectAlternativeNameSummaries", [])}
        if names & {name, f"*.{name.partition('.')[2]}"}:
            return str(one["CertificateArn"])
    raise Failure(
        f"there is no certificate for {name} in {run.settings.region}",
        next=run.settings.aws(
            f"acm request-certificate --domain-name {name} --validation-method DNS"
        )
        + ", and its record in DNS. If that cannot wait, take Certificate and "
        f"PublicName out of [{environment.short}.stack] in {NAME} and set PlainHttp = true",
    )
