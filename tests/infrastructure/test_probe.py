"""devops/probe.yml: what is asked from outside, what counts as an answer, and who is notified."""

import json

import pytest

from deploy.config import environments, owner
from deploy.resources import probe
from tests.infrastructure.permissions import PROD, STAGING
from tests.support import cloudformation, cloudwatch
from tests.support.aws import REGION
from tests.support.owner import OWNER
from tests.support.runbook import LINK
from web import create_app

PUBLIC, PAGER = "hello.greetings.test", "+15550100"


def stack(name, is_urgent, **more):
    """The template with the parameters that `create` passes to it."""
    responsible = owner.load(json.dumps(OWNER | more))
    own = {"Environment": name, "PublicName": PUBLIC}
    given = own | responsible.probe_parameters(is_urgent)
    return cloudformation.Stack(environments.PROBE, probe.name(name), given)


STACK = stack(PROD, is_urgent=True, pager=PAGER)
[ALARM] = STACK.properties("AWS::CloudWatch::Alarm").values()
[CHECK] = (
    one["HealthCheckConfig"] for one in STACK.properties("AWS::Route53::HealthCheck").values()
)


def test_it_gets_every_parameter_that_is_declared():
    given = owner.load(json.dumps(OWNER)).probe_parameters(is_urgent=True)
    assert {"Environment", "PublicName", *given} == set(STACK.template["Parameters"])


def test_the_alarm_is_on_the_metric_of_the_check():
    [(namespace, name, dimensions)] = cloudwatch.of_alarm(ALARM)
    cloudwatch.check(namespace, name, dimensions)
    assert ALARM["AlarmName"] == probe.alarm(PROD)
    assert ALARM["TreatMissingData"] == "breaching"
    assert LINK.findall(ALARM["AlarmDescription"]) == ["unreachable"]
    assert len(ALARM["AlarmDescription"]) < 300


def test_what_is_asked_is_answered_by_this_service_and_not_by_just_anybody():
    """A redirect of another host, for one, would count as healthy without the string."""
    assert CHECK["FullyQualifiedDomainName"] == PUBLIC
    assert CHECK["EnableSNI"] is True
    assert CHECK["Type"] == "HTTPS_STR_MATCH"
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    answer = create_app(nowhere).test_client().get(CHECK["ResourcePath"])
    assert answer.status_code == 200
    assert CHECK["SearchString"] in answer.text


@pytest.mark.parametrize(
    ("name", "is_urgent", "told"),
    [
        (PROD, True, {("email", OWNER["email"]), ("email", OWNER["escalation"]), ("sms", PAGER)}),
        (STAGING, False, {("email", OWNER["email"])}),
    ],
)
def test_who_is_notified(name, is_urgent, told):
    found = stack(name, is_urgent, pager=PAGER)
    subscribed = found.properties("AWS::SNS::Subscription").values()
    assert {(one["Protocol"], one["Endpoint"]) for one in subscribed} == told
    [alarm] = found.properties("AWS::CloudWatch::Alarm").values()
    topic = found.resolve({"Ref": "Topic"})
    assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    assert {one["TopicArn"] for one in subscribed} == {topic}


def test_alarms_of_this_account_may_write_to_the_encrypted_topic():
    [topic] = STACK.properties("AWS::SNS::Topic").values()
    [key] = STACK.properties("AWS::KMS::Key").values()
    [policy] = STACK.properties("AWS::SNS::TopicPolicy").values()
    assert topic["KmsMasterKeyId"] == STACK.resolve({"Ref": "TopicKey"})
    for document in (key["KeyPolicy"], policy["PolicyDocument"]):
        [statement] = [one for one in document["Statement"] if "Service" in one["Principal"]]
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert "aws:SourceAccount" in statement["Condition"]["StringEquals"]


def test_it_imports_nothing_from_the_region_whose_loss_it_reports():
    assert "Fn::ImportValue" not in json.dumps(STACK.template)
    assert REGION not in json.dumps(STACK.template)
