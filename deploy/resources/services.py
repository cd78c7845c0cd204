"""Which of AWS's services the region has, by what AWS itself publishes.

docs.aws.amazon.com/systems-manager/latest/userguide/
parameter-store-public-parameters-global-infrastructure.html
"""

from deploy.base.context import Run
from deploy.base.findings import UNKNOWN, Finding, not_ready, ready
from deploy.base.settings import CONFIG

PATH = "/aws/service/global-infrastructure/services"
REGION = "us-east-1"  # not every region answers, but those that do know all of them
NEEDED = {  # for what, and the names that they have there
    "environments": (
        "acm",
        "cloudformation",
        "cloudwatch",
        "ecr",
        "elasticbeanstalk",
        "kms",
        "rds",
        "secretsmanager",
        "sns",
    ),
    "backups": ("backup",),
    "the pipeline": ("codebuild", "codeconnections", "codepipeline", "scheduler"),
}
ALL = tuple(one for some in NEEDED.values() for one in some)
BATCH = 10  # names in a query, at most


def check(run: Run) -> list[Finding]:
    """Whether the region of ``run`` has the services that this project uses. Raises AwsFailure."""
    region, known = run.settings.region, set[str]()
    wanted = [name for one in ALL for name in (f"{PATH}/{one}", _here(one, region))]
    for begin in range(0, len(wanted), BATCH):
        names = wanted[begin : begin + BATCH]
        found = run.at(REGION).aws.ask("ssm", "get_parameters", Names=names)["Parameters"]
        known |= {one["Name"] for one in found}
    unheard = [one for one in ALL if f"{PATH}/{one}" not in known]
    lacking = [
        f"{one} (for {purpose})"
        for purpose, some in NEEDED.items()
        for one in some
        if one not in unheard and _here(one, region) not in known
    ]
    findings = []
    if lacking:
        findings += not_ready(
            f"{region} lacks {', '.join(lacking)}",
            f"choose another region: default_region in {CONFIG}",
        )
    if unheard:
        what = f"AWS does not say whether {region} has {', '.join(unheard)}"
        findings.append(Finding(UNKNOWN, what, f"see {PATH} in Systems Manager in {REGION}"))
    return findings or ready(f"{region} has all {len(ALL)} of them")


def _here(service: str, region: str) -> str:
    return f"{PATH}/{service}/regions/{region}"
