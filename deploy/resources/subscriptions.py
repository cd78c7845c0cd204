"""Who gets the messages of the topics: an address gets none before its owner confirms it."""

from deploy.base.context import Run
from deploy.base.findings import Finding, not_ready, ready
from deploy.resources import stacks

TOPICS = ("OperationsTopic", "EscalationTopic", "DeploymentsTopic")  # outputs of the foundation
PROTOCOLS = ("email", "https", "sms")  # a phone number needs no confirmation
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
    people = [one for one in found if one["Protocol"] in PROTOCOLS]
    if not any(one["Protocol"] == "email" for one in people):
        what = f"nobody gets the messages of {name}"
        return not_ready(what, run.settings.elsewhere("create staging"))
    pending = [one for one in people if one["SubscriptionArn"] == PENDING]
    if not pending:
        return ready(f"{', '.join(one['Endpoint'] for one in people)} confirmed {name}")
    return [finding for one in pending for finding in _unconfirmed(run, name, topic, one)]


def _unconfirmed(run: Run, name: str, topic: str, one: dict[str, str]) -> list[Finding]:
    subscribe = (
        f"sns subscribe --protocol {one['Protocol']} --topic-arn {topic} "
        f"--notification-endpoint {one['Endpoint']}"
    )
    what = f"{one['Endpoint']} has not confirmed {name}"
    how = "click the link in the message from AWS" if "@" in one["Endpoint"] else "confirm it there"
    return not_ready(what, f"{how}; for another message: {run.settings.aws(subscribe)}")
