"""What the topics' recipients read: the texts of all alarms, and which events Slack shows."""

import json
import re
from pathlib import Path

import pytest

from tests.support import cloudformation
from tests.support.runbook import SECTIONS, parts

RESOURCES = {
    f"{path.stem} {name}": one
    for path in sorted(Path("devops").glob("*.yml"))
    for name, one in cloudformation.load(path)["Resources"].items()
}
TEXTS = {
    name: one["Properties"]["AlarmDescription"]["Fn::Sub"]
    for name, one in RESOURCES.items()
    if "AlarmActions" in one.get("Properties", {})
}
# Read both when it fires and when that is over, since an alarm has one text
FORM = re.compile(
    r"Fires when [^.]+\. Users notice ([^.]+)\. Over (?:when|after) [^.]+\. "
    r"What to do: https://github\.com/\S+/docs/operations\.md#(\S+)"
)


@pytest.mark.parametrize("name", TEXTS)
def test_an_alarm_says_what_users_notice_and_when_it_is_over(name):
    found = FORM.fullmatch(TEXTS[name])
    assert found, TEXTS[name]
    notice, section = found.groups()
    in_the_runbook = parts(SECTIONS[section])["Users notice"]
    assert notice.startswith("nothing") == in_the_runbook.startswith(" nothing")


def test_there_are_such_alarms():
    assert len(TEXTS) > 15


# What Slack shows as it is, as is_shown() of tests/rehearsal/aws/notifications.py says
SHOWN = {
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CodeStarNotifications::NotificationRule",
}
# What sends nothing, or by deploy/delivery/notify.py, which writes in the form of Slack
OURS = {
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::IAM::Role",
    "AWS::IAM::ManagedPolicy",
    "AWS::CodeBuild::Project",
}
RULE = "AWS::Events::Rule"  # tests/rehearsal/test_notifications.py looks at each
BUDGET = "AWS::Budgets::Budget"  # by e-mail only, as docs/operations.md says


def test_whatever_writes_to_a_topic_is_shown_in_slack():
    """Slack drops any other message, and nothing says so."""
    writing = {
        one["Type"]
        for one in RESOURCES.values()
        if re.search(r"\w+Topic\b", json.dumps(one.get("Properties", {})))
    }
    assert writing >= SHOWN
    assert writing <= SHOWN | OURS | {RULE}


def test_what_is_sent_by_email_only_is_documented_as_such():
    [budget] = [one for one in RESOURCES.values() if one["Type"] == BUDGET]
    subscribers = budget["Properties"]["NotificationsWithSubscribers"]
    assert {to["SubscriptionType"] for one in subscribers for to in one["Subscribers"]} == {"EMAIL"}
    assert "AWS Budgets sends the team an e-mail" in SECTIONS["costs"]
    assert "aws:elasticbeanstalk:sns:topics" not in Path("devops/environments.toml").read_text()
    for path in Path(".ebextensions").glob("*.config"):
        assert "aws:elasticbeanstalk:sns:topics" not in path.read_text()
