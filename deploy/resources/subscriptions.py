"""Who gets the messages of the topics: an address gets none before its owner confirms it."""

from functools import partial

from deploy.base.context import Run
from deploy.base.findings import Finding, answered, not_ready, ready
from deploy.config import environments
from deploy.config.environments import Environment
from deploy.resources import probe, stacks

TOPICS = ("OperationsTopic", "EscalationTopic", "DeploymentsTopic")  # outputs of the foundation
PROTOCOLS = ("email", "https", "sms")  # a phone number needs no confirmation
PENDING = (
    "PendingConfirmation"  # in place of an ARN: docs.aws.amazon.com/sns/latest/api/API_Subscribe
)


def check(run: Run) -> list[Finding]:
    """Whether the addresses of devops/owner.json have confirmed. Raises Failure.

    What is not known of the probes, which are in another region, is unknown beside the rest.
    """
    outputs = stacks.find_outputs(run, run.settings.foundation) or {}
    if not outputs.keys() >= set(TOPICS):
        return not_ready("there are no topics yet", run.settings.elsewhere("create staging"))
    remedy = run.settings.elsewhere("create staging")
    found = [one for name in TOPICS for one in _check(run, name, outputs[name], remedy)]
    for environment in environments.read(run.settings).values():
        if environment.parameters().get("PublicName"):
            found += answered(partial(_check_probe, run, environment))
    return found


def _check_probe(run: Run, environment: Environment) -> list[Finding]:
    topic = probe.find(run, environment.name).get("Topic")
    if not topic:  # whether there should be one, `status` and `doctor` say
        return []
    name = f"the topic of {probe.name(environment.name)}"
    remedy = run.settings.elsewhere(f"create {environment.short}")
    return _check(run.at(probe.REGION), name, topic, remedy)


def _check(run: Run, name: str, topic: str, remedy: str) -> list[Finding]:
    found = run.aws.every("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)
    people = [one for one in found if one["Protocol"] in PROTOCOLS]
    if not any(one["Protocol"] == "email" for one in people):
        return not_ready(f"nobody receives the messages of {name}", remedy)
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
