"""The Slack channels that get messages, by Amazon Q Developer in chat applications.

AWS allows one configuration for a channel in an account, with the topics of all who write to it,
from any region (https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1155).
So a service adds its topic to what is there, whoever made it, and removes no topic but its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from deploy.base.answers import DENIED
from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound
from deploy.base.waiting import Pending, wait_until
from deploy.config import environments
from deploy.config.owner import Owner
from deploy.resources import probe, stacks

STACK, TEMPLATE = "slack-notifications", "devops/slack.yml"  # of the account, not of a service
# Where the service has endpoints: docs.aws.amazon.com/general/latest/gr/chatbot.html. All of them
# know the same channels
REGIONS = ("us-east-2", "us-west-2", "eu-west-1", "ap-southeast-1")
PATIENCE = 60  # seconds within which a topic stays
TOPICS = ("OperationsTopic", "DeploymentsTopic")  # of the foundation


def connect(run: Run, responsible: Owner) -> None:
    """Let the channels of devops/owner.json, and no others, have the messages of this service.

    A failure is reported and stops nothing, and what AWS did not answer removes nothing.
    """
    try:
        _connect(run, run.at(_region(run)), responsible)
    except Failure as failure:
        again = f"{failure.next}; this command can be repeated"
        run.console.say(f"Slack is unchanged: {failure.what}", again)


def _connect(run: Run, there: Run, responsible: Owner) -> None:
    slack, wanted = responsible.slack, dict[str, list[str]]()
    outputs = stacks.find_outputs(run, run.settings.foundation) or {}
    if not outputs.keys() >= set(TOPICS):
        if not slack or run.changes.dry_run:
            return
        raise NotFound(f"the stack {run.settings.foundation} has no topics", next="see its events")
    operations, deployments = (outputs[name] for name in TOPICS)
    outside = _find_outside(run)
    if slack:
        _refuse_unauthorised(run, there, slack.workspace)
        wanted = {slack.channel: [operations, *outside], slack.deployments: [deployments]}
        for channel, topic in ((key, one) for key, some in wanted.items() for one in some):
            _add(run, there, slack.workspace, channel, topic)
    try:
        found = _find_all(there)
    except AwsFailure as failure:
        if slack or failure.code not in DENIED:
            raise
        run.console.say("Slack is not configured; the topics of the channels could not be read")
        return
    ours = {operations, deployments, *outside}
    for one in found:
        _remove(there, one, ours.difference(wanted.get(one["SlackChannelId"], ())))


def _find_outside(run: Run) -> list[str]:
    """The topics of the probes; none, with a message, if their region does not answer.

    On the worst day, that is no reason to be without all others. Raises InvalidConfig.
    """
    known = environments.read(run.settings).values()
    try:
        return probe.find_topics(run, known)
    except AwsFailure as failure:
        run.console.say(f"the topics of probes are left as they are in Slack: {failure.what}")
        return []


def _refuse_unauthorised(run: Run, there: Run, wanted: str) -> None:
    """Raises NotFound unless the workspace was authorised in the console."""
    found = there.aws.every("chatbot", "describe_slack_workspaces", "SlackWorkspaces")
    if not any(one["SlackTeamId"] == wanted for one in found):
        raise NotFound(
            f"the workspace {wanted} is not authorised in this account",
            next=f"authorise it at https://{there.settings.region}.console.aws.amazon.com/chatbot",
        )


def _find_all(there: Run) -> list[dict[str, Any]]:
    return there.aws.every(
        "chatbot", "describe_slack_channel_configurations", "SlackChannelConfigurations"
    )


def find_channels(run: Run, topics: set[str]) -> list[tuple[str, Callable[[], None]]]:
    """The channels that have any of our ``topics``, and how each is rid of them.

    Raises AwsFailure.
    """
    there = run.at(_region(run))
    return [
        (one["SlackChannelId"], partial(_remove, there, one, topics))
        for one in _find_all(there)
        if topics & set(one["SnsTopicArns"])
    ]


def _region(run: Run) -> str:
    return run.settings.region if run.settings.region in REGIONS else REGIONS[0]


def _name(channel: str) -> str:
    """Of a configuration: unique in the account, as the channel is."""
    return f"notifications-{channel}"


def _add(run: Run, there: Run, workspace: str, channel: str, topic: str) -> None:
    """Add ``topic`` to ``channel``, and see whether it stays.

    AWS has no condition on the topics that were there before, so another service that is set up at
    the same time may have replaced them. Raises Failure.
    """

    def look() -> bool | Pending:
        found = [one for one in _find_all(there) if one["SlackChannelId"] == channel]
        if any(topic in one["SnsTopicArns"] for one in found):
            return True
        if found:
            _update(there, found[0], [*found[0]["SnsTopicArns"], topic])
        else:
            _create(run, there, workspace, channel, topic)
        return run.changes.dry_run or Pending("without our topic")

    if isinstance(wait_until(run, f"the channel {channel}", look, PATIENCE), Pending):
        raise Failure(
            f"the channel {channel} does not keep the topic {topic}",
            next="see whether somebody else changes it in the console",
        )


def _create(run: Run, there: Run, workspace: str, channel: str, topic: str) -> None:
    partition = topic.split(":")[1]
    there.aws.change(
        "chatbot",
        "create_slack_channel_configuration",
        ConfigurationName=_name(channel),
        SlackTeamId=workspace,
        SlackChannelId=channel,
        SnsTopicArns=[topic],
        IamRoleArn=_role(run),
        LoggingLevel="ERROR",
        GuardrailPolicyArns=[f"arn:{partition}:iam::aws:policy/AWSDenyAll"],
    )


def _role(run: Run) -> str:
    """The role of the account's channels, made unless another service has. Raises Failure."""
    found = stacks.find_outputs(run, STACK) or {}
    if "Role" not in found:
        stacks.apply(run, STACK, TEMPLATE, {})
        found = stacks.find_outputs(run, STACK) or {"Role": "ROLE"}
    return found["Role"]


def _update(there: Run, configuration: dict[str, Any], topics: list[str]) -> None:
    there.aws.change(
        "chatbot",
        "update_slack_channel_configuration",
        ChatConfigurationArn=configuration["ChatConfigurationArn"],
        SlackChannelId=configuration["SlackChannelId"],
        SnsTopicArns=topics,
    )


def _remove(there: Run, configuration: dict[str, Any], unwanted: set[str]) -> None:
    """Remove our topics from a channel that should not have them.

    With its last topic goes a configuration that was not made by hand.
    """
    topics = [one for one in configuration["SnsTopicArns"] if one not in unwanted]
    if topics == configuration["SnsTopicArns"]:
        return
    if topics or configuration.get("ConfigurationName") != _name(configuration["SlackChannelId"]):
        _update(there, configuration, topics)
        return
    there.aws.change(
        "chatbot",
        "delete_slack_channel_configuration",
        ChatConfigurationArn=configuration["ChatConfigurationArn"],
    )
