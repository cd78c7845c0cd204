"""Slack: one configuration for each channel of an account, which services and regions share."""

import json
from dataclasses import replace

import pytest

from deploy.base.aws import Aws
from deploy.config import owner
from deploy.resources import probe, slack
from tests.support.account import BOOTSTRAP, made
from tests.support.aws import ACCOUNT, APPLICATION, OUTPUTS, PROD, REGION
from tests.support.owner import OWNER

FOUNDATION = f"{APPLICATION}-foundation"
TEAM, ALL = OWNER["slack"]["channel"], OWNER["slack"]["deployments"]
OPERATIONS, DEPLOYMENTS = (
    OUTPUTS[FOUNDATION][f"{kind}Topic"] for kind in ("Operations", "Deployments")
)
ACTIONS = (
    "chatbot:DescribeSlackWorkspaces",
    "chatbot:DescribeSlackChannelConfigurations",
    "chatbot:CreateSlackChannelConfiguration",
)


@pytest.fixture
def account(aws):
    """An account in which the workspace was authorised, and the service has its topics."""
    made(aws, "foundation")
    return aws


def topics(aws):
    """The topics of each channel."""
    return {one["SlackChannelId"]: one["SnsTopicArns"] for one in aws.channels.values()}


def responsible(**more):
    return owner.load(json.dumps(OWNER | more))


def without_slack():
    return owner.load(json.dumps({key: one for key, one in OWNER.items() if key != "slack"}))


@pytest.fixture
def another(aws, run):
    """Another service of the same account: its context, its owner and its topic for deployments."""
    name, topic = f"{APPLICATION}s", f"arn:aws:sns:{REGION}:{ACCOUNT}:pet-deployments"
    outputs = OUTPUTS[FOUNDATION] | {"OperationsTopic": f"{topic}-2", "DeploymentsTopic": topic}
    aws.stacks[f"{name}-foundation"] = {"status": "CREATE_COMPLETE", "outputs": outputs}
    team = responsible(slack=OWNER["slack"] | {"channel": "CPETS1234"})
    return replace(run, settings=replace(run.settings, application=name)), team, topic


def test_bootstrap_connects_the_channels_with_the_topics(account, command):
    code, output = command(*BOOTSTRAP)
    assert code == 0, output
    assert topics(account) == {TEAM: [OPERATIONS], ALL: [DEPLOYMENTS]}
    for asked in account.asked("chatbot:CreateSlackChannelConfiguration"):
        assert asked["SlackTeamId"] == "TABCDEF12"
        assert asked["IamRoleArn"] == OUTPUTS[slack.STACK]["Role"]
        assert asked["GuardrailPolicyArns"] == ["arn:aws:iam::aws:policy/AWSDenyAll"]
    account.calls.clear()
    command(*BOOTSTRAP)
    assert {name for name, _ in account.calls if name.startswith("chatbot:")} == set(ACTIONS[:2])


def test_the_stack_of_another_service_is_unchanged(account, run):
    slack.connect(run, responsible())
    account.calls.clear()
    account.channels.clear()
    slack.connect(run, responsible())
    assert len(account.channels) == 2
    assert not account.asked("cloudformation:CreateChangeSet")


def test_two_services_share_the_channel_of_deployments(account, run, another):
    other, its_owner, topic = another
    slack.connect(run, responsible())
    slack.connect(other, its_owner)
    assert topics(account)[ALL] == [DEPLOYMENTS, topic]
    assert topics(account)[TEAM] == [OPERATIONS]
    assert topics(account)["CPETS1234"] == [f"{topic}-2"]

    slack.connect(run, without_slack())
    assert topics(account) == {ALL: [topic], "CPETS1234": [f"{topic}-2"]}


def test_concurrent_changes_of_a_channel_keep_both_topics(account, run, another):
    """AWS has no condition on what was there before, so that the later one may win: the other tries again."""
    other, its_owner, topic = another
    slack.connect(other, its_owner)
    update, lost = account.chatbot_update_slack_channel_configuration, []

    def overwritten(**asked):
        if lost:
            return update(**asked)
        lost.append(asked)
        return update(**asked | {"SnsTopicArns": [topic]})

    account.chatbot_update_slack_channel_configuration = overwritten
    slack.connect(run, responsible())
    assert lost
    assert topics(account)[ALL] == [topic, DEPLOYMENTS]


def test_a_new_home_region_shares_the_channels_with_the_old_one(account, run, command):
    """Its region has no endpoint of this service; the account's channels are the same ones."""
    command(*BOOTSTRAP)
    there = run.at("eu-central-1")
    account.stacks[f"eu-central-1/{FOUNDATION}"] = {
        "status": "CREATE_COMPLETE",
        "outputs": {
            key: one.replace(REGION, "eu-central-1") for key, one in OUTPUTS[FOUNDATION].items()
        },
    }
    slack.connect(there, responsible())
    new = DEPLOYMENTS.replace(REGION, "eu-central-1")
    assert topics(account)[ALL] == [DEPLOYMENTS, new]


@pytest.fixture
def outside(account, certificate):
    """The topic of production's probe, which is in another region."""
    topic = f"arn:aws:sns:{probe.REGION}:{ACCOUNT}:{PROD}-probe-Topic-1"
    stack = {"status": "CREATE_COMPLETE", "outputs": {"PublicName": "x", "Topic": topic}}
    account.stacks[f"{probe.REGION}/{PROD}-probe"] = stack
    return topic


def test_the_team_gets_the_messages_of_probes(account, outside, run):
    slack.connect(run, responsible())
    assert topics(account) == {TEAM: [OPERATIONS, outside], ALL: [DEPLOYMENTS]}
    slack.connect(run, without_slack())
    assert topics(account) == {}


@pytest.mark.parametrize("code", ["AccessDenied", None])
def test_where_the_region_of_probes_does_not_answer_all_else_is_connected(
    account, outside, run, capsys, code
):
    def elsewhere(_):
        return account.region == probe.REGION

    slack.connect(run, responsible())
    account.fail("cloudformation:DescribeStacks", code, when=elsewhere)
    slack.connect(run, responsible(slack=OWNER["slack"] | {"deployments": "CNEW12345"}))
    assert "the topics of probes are left as they are in Slack: " in capsys.readouterr().err
    assert topics(account) == {TEAM: [OPERATIONS, outside], "CNEW12345": [DEPLOYMENTS]}


def test_a_changed_channel_gets_the_topic(account, run):
    slack.connect(run, responsible())
    slack.connect(run, responsible(slack=OWNER["slack"] | {"deployments": "CNEW12345"}))
    assert topics(account) == {TEAM: [OPERATIONS], "CNEW12345": [DEPLOYMENTS]}


def by_hand(account, *topics):
    """Make a configuration of the channel of all deployments in the console."""
    account.chatbot_create_slack_channel_configuration(
        SlackTeamId="TABCDEF12",
        SlackChannelId=ALL,
        ConfigurationName="by-hand",
        IamRoleArn=f"arn:aws:iam::{ACCOUNT}:role/theirs",
        SnsTopicArns=list(topics),
    )


@pytest.mark.parametrize(
    "theirs", [(), (f"arn:aws:sns:{REGION}:{ACCOUNT}:theirs",)], ids=["empty", "with a topic"]
)
def test_a_configuration_made_by_hand_is_used_and_never_deleted(account, run, theirs):
    by_hand(account, *theirs)
    slack.connect(run, responsible())
    assert topics(account)[ALL] == [*theirs, DEPLOYMENTS]
    [used] = [one for one in account.channels.values() if one["ConfigurationName"] == "by-hand"]
    assert used["IamRoleArn"].endswith("role/theirs")
    slack.connect(run, responsible(slack=OWNER["slack"] | {"deployments": "CNEW12345"}))
    assert topics(account) == {
        ALL: list(theirs),
        TEAM: [OPERATIONS],
        "CNEW12345": [DEPLOYMENTS],
    }


def test_a_service_without_slack_needs_no_permissions_for_it(account, run, capsys):
    slack.connect(run, without_slack())
    stacks, account.stacks = account.stacks, {}
    slack.connect(run, without_slack())
    assert not capsys.readouterr().err
    account.stacks = stacks
    account.fail(ACTIONS[1], "AccessDeniedException")
    slack.connect(run, without_slack())
    [line] = capsys.readouterr().err.splitlines()
    assert "Slack is not configured; the topics of the channels could not be read" in line


def test_without_slack_a_topic_that_remains_is_reported(account, run, capsys):
    by_hand(account, DEPLOYMENTS)
    account.fail("chatbot:UpdateSlackChannelConfiguration", "AccessDeniedException")
    slack.connect(run, without_slack())
    assert "Slack is unchanged: " in capsys.readouterr().err
    assert topics(account) == {ALL: [DEPLOYMENTS]}


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", None])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_failure_of_slack_does_not_fail_bootstrap(account, command, action, code):
    account.fail(action, code)
    exit_code, output = command(*BOOTSTRAP)
    assert exit_code == 0, output
    assert "Slack is unchanged: " in output
    assert action in output
    assert f"{APPLICATION}-pipeline" in account.stacks
    assert not account.channels


@pytest.mark.parametrize("code", ["AccessDeniedException", None])
@pytest.mark.parametrize("action", ACTIONS[:2])
def test_a_query_without_a_response_removes_nothing(account, run, command, action, code):
    command(*BOOTSTRAP)
    before = topics(account)
    account.fail(action, code)
    assert command(*BOOTSTRAP)[0] == 0
    slack.connect(run, without_slack() if action == ACTIONS[1] else responsible())
    assert topics(account) == before


@pytest.mark.parametrize("workspaces", [[], ["TSOMEBODY"]])
def test_a_workspace_that_is_not_authorised_is_skipped(account, command, workspaces):
    account.workspaces = workspaces
    code, output = command(*BOOTSTRAP)
    assert code == 0, output
    assert "the workspace TABCDEF12 is not authorised" in output
    assert not account.channels


def test_a_dry_run_shows_what_it_would_change(account, command):
    code, output = command("bootstrap", "--dry-run")
    assert code == 0, output
    assert output.count("+ aws chatbot create-slack-channel-configuration") == 2
    assert not account.channels


def test_the_imitation_refuses_what_aws_refuses(account, run):
    slack.connect(run, responsible())
    asked = account.asked("chatbot:CreateSlackChannelConfiguration")[0]
    ask = Aws("us-east-2", run.changes, account).ask
    for more in ({"ConfigurationName": "another"}, {"SlackChannelId": "CANOTHER1"}):
        with pytest.raises(slack.Failure, match=r"already (been configured|exists)"):
            ask("chatbot", "create_slack_channel_configuration", **asked | more)
    with pytest.raises(slack.Failure, match="did not answer"):
        Aws("eu-central-1", run.changes, account).ask("chatbot", "describe_slack_workspaces")
