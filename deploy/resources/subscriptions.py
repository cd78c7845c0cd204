"""Who gets the messages of the topics: an address gets none before its owner confirms it."""

from deploy.base.context import Run
from deploy.base.findings import Finding, not_ready, ready
from deploy.resources import stacks

TOPICS = ("OperationsTopic", "EscalationTopic", "DeploymentsTopic")  # outputs of the foundation
PENDING = (
    "PendingConfirmation"  # in place of an ARN: docs.aws.amazon.com/sns/latest/api/API_Subscribe
)


def check(run: Run) -> list[Finding]:
    """Whether the addresses of devops/owner.json have confirmed. Raises AwsFailure."""
    outputs = stacks.find_outputs(run, run.settings.foundation) or {}
    if not outputs.keys() >= set(TOPICS):
        return not_ready("there are no topics yet", run.settings.elsewhere("create staging"))
    return [one for name in TOPICS for one in _check(run, name, outputs[name])]


def _check(run: Run, name: str, topic: str) -> list[Finding]:
    found = run.aws.every("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)
    mails = [one for one in found if one["Protocol"] == "email"]
    if not mails:
        what = f"nobody gets the messages of {name}"
        return not_ready(what, run.settings.elsewhere("create staging"))
    pending = [one["Endpoint"] for one in mails if one["SubscriptionArn"] == PENDING]
    if not pending:
        return ready(f"{', '.join(one['Endpoint'] for one in mails)} confirmed {name}")
    again = "sns subscribe --protocol email"
    return [
        one
        for address in pending
        for one in not_ready(
            f"{address} has not confirmed {name}",
            "click the link in the message from AWS; for another one: "
            + run.settings.aws(f"{again} --topic-arn {topic} --notification-endpoint {address}"),
        )
    ]
