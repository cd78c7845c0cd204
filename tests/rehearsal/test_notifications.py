"""The imitation of Slack: which messages it shows, and whose channels they reach."""

import json
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError
from moto.sns.models import sns_backends

from deploy.delivery import notify
from tests.rehearsal.aws import events, subscriptions
from tests.rehearsal.aws.notifications import Receiver, is_shown
from tests.support import cloudformation
from tests.support.aws import ACCOUNT

CUSTOM = json.loads(json.loads(notify.structure("A title", ["A line"]))["default"])


@pytest.mark.parametrize(
    "message",
    [
        CUSTOM,
        {"AlarmName": "one", "NewStateValue": "ALARM"},
        {"version": "0", "source": "aws.rds", "detail-type": "RDS DB Instance Event", "detail": {}},
    ],
)
def test_messages_in_a_supported_format_are_shown(message):
    assert is_shown(json.dumps(message))


@pytest.mark.parametrize(
    "message",
    [
        "a failover",
        '"a failover"',
        "[]",
        json.dumps({"message": "a failover"}),
        json.dumps(CUSTOM | {"version": "0"}),
        json.dumps(CUSTOM | {"content": {"title": "x"}}),
        json.dumps({"source": "ours", "detail-type": "x"}),
    ],
)
def test_messages_in_any_other_format_are_dropped(message):
    assert not is_shown(message)


RULES = {
    f"{path.stem} {name}": target
    for path in Path("devops").glob("*.yml")
    for name, one in cloudformation.load(path)["Resources"].items()
    if one["Type"] == "AWS::Events::Rule"
    for target in one["Properties"]["Targets"]
    if "Topic" in json.dumps(target["Arn"])
}


@pytest.mark.parametrize("rule", RULES)
def test_every_event_for_the_team_is_shown(rule):
    """Whatever it says: the message of an event may have quotes in it."""
    transformer = RULES[rule]["InputTransformer"]
    text = 'The "second" one failed'
    event = {
        "detail": {
            path.removeprefix("$.detail."): text for path in transformer["InputPathsMap"].values()
        }
    }
    template = transformer["InputTemplate"]["Fn::Sub"]
    shown = events.transform(transformer | {"InputTemplate": template}, event)
    assert is_shown(shown)
    assert "Users notice" in shown


def test_the_templates_have_events_for_the_team():
    assert len(RULES) == 2


@pytest.mark.parametrize(
    ("protocol", "text"), [("email", "A title\n\nA line\n"), ("slack", json.dumps(CUSTOM))]
)
def test_each_recipient_gets_the_text_in_its_format(protocol, text):
    """An e-mail is for people, and Slack has a form of its own."""
    known = SimpleNamespace(endpoint=f"http://127.0.0.1:1/{protocol}/one")
    assert subscriptions._choose(known, notify.structure("A title", ["A line"]), "http") == text


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()
    sns_backends.reset()


def chatbot(receiver, region):
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client("chatbot", region, endpoint_url=receiver.url, **keys)


def test_a_channel_gets_the_messages_of_its_topics(receiver):
    topics = sns_backends[ACCOUNT]["eu-central-1"]
    topic = topics.create_topic("one")
    made = chatbot(receiver, "us-east-2").create_slack_channel_configuration(
        SlackTeamId="T1234567",
        SlackChannelId="C1234567",
        ConfigurationName="one",
        IamRoleArn=f"arn:aws:iam::{ACCOUNT}:role/one",
        SnsTopicArns=[topic.arn],
    )["ChannelConfiguration"]
    [subscription] = topics.subscriptions.values()
    assert subscription.endpoint == f"{receiver.url}/slack/C1234567"
    chatbot(receiver, "eu-west-1").update_slack_channel_configuration(
        ChatConfigurationArn=made["ChatConfigurationArn"],
        SlackChannelId="C1234567",
        SnsTopicArns=[],
    )
    assert not topics.subscriptions


def test_a_second_configuration_and_other_regions_are_refused(receiver):
    asked = {
        "SlackTeamId": "T1234567",
        "SlackChannelId": "C1234567",
        "ConfigurationName": "one",
        "IamRoleArn": f"arn:aws:iam::{ACCOUNT}:role/one",
        "SnsTopicArns": [],
    }
    client = chatbot(receiver, "us-east-2")
    client.create_slack_channel_configuration(**asked)
    with pytest.raises(client.exceptions.InvalidRequestException, match="already been configured"):
        client.create_slack_channel_configuration(**asked | {"ConfigurationName": "two"})
    with pytest.raises(ConnectionClosedError):
        chatbot(receiver, "eu-central-1").describe_slack_workspaces()
