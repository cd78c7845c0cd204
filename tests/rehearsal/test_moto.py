"""Each patch of moto in the rehearsal is still needed, and the rehearsal's own responses have AWS's shapes."""

import importlib
import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.loaders import Loader
from botocore.model import ServiceModel

from deploy.base.aws import open_session
from tests.rehearsal.aws import gaps
from tests.rehearsal.waiting import limit
from tests.support.aws import CREDENTIALS, REGION
from tests.support.shapes import keep_to_shape

PROBES = (
    *(f"the type {kind}" for kind in gaps.UNKNOWN),
    "codepipeline get_pipeline_state",
    "codepipeline put_approval_result",
    "elasticbeanstalk describe_events",
    "elasticbeanstalk describe_instances_health",
    "elasticbeanstalk create_storage_location",
    "elasticbeanstalk update_environment",
    "backup list_recovery_points_by_backup_vault",
    "secretsmanager stop_replication_to_replica",
    "ec2 get_instance_metadata_defaults",
    "outputs of change sets",
    "exports in change sets",
    "empty change sets",
    "cloudformation describe_events",
    "cloudformation continue_update_rollback",
    "operations that take a while",
    "rollbacks",
    "kept resources",
    "types by region",
    "resources of conditions",
    "keys of stacks",
    "kept defaults",
    "tags of stacks",
    "the quota of instances",
    "the newest lines",
    "names of subnet groups",
)


@pytest.fixture(scope="module")
def tried():
    """The features that moto lacks, probed in a process in which it is not patched."""
    ended = subprocess.run(
        [sys.executable, "-m", gaps.__name__], capture_output=True, text=True, timeout=limit(120)
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.process
@pytest.mark.parametrize("gap", PROBES)
def test_moto_still_lacks_the_feature(tried, gap):
    assert tried[gap], f"moto has {gap} now: remove what tests/rehearsal/aws does about it"


@pytest.mark.process
def test_every_probe_has_a_result(tried):
    from tests.rehearsal.aws.cloudformation import UNKNOWN

    assert set(tried) == set(PROBES)
    assert set(gaps.UNKNOWN) == set(UNKNOWN)


@contextmanager
def served(*patches):
    """Clients of a patched server, by the names of the service and the region."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    with ExitStack() as ending:
        for patch in patches:
            ending.enter_context(patch)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        ending.callback(server.stop)
        server.start()
        host, port = server.get_host_and_port()
        session = open_session(**CREDENTIALS)  # so that all answers are like those of AWS
        url = f"http://{host}:{port}"
        yield lambda name, region=REGION: session.client(name, region, endpoint_url=url)


class Refusing:
    """A service that refuses requests with an error code that AWS's service model does not list."""

    actions = ("update_environment",)

    def __init__(self, code):
        self._code = code

    def update_environment(self, **_):
        from tests.rehearsal.aws.answers import Refused

        raise Refused(self._code, "User is not authorized to perform: anything")


@pytest.mark.process
@pytest.mark.parametrize(("code", "wrong"), [("AccessDenied", 0), ("ResourceNotFound", 1)])
def test_a_refusal_reaches_the_client_as_an_error(monkeypatch, code, wrong):
    """Even where warnings are errors, as in these tests: moto warns about the unlisted code.

    One that AWS is not known to answer fails the scenario.
    """
    from moto.elasticbeanstalk.responses import EBResponse

    from tests.rehearsal.aws.answers import Answer, answer, from_query

    monkeypatch.setattr(Answer, "wrong", [])
    with (
        served(*answer(EBResponse, Refusing(code), from_query)) as client,
        pytest.raises(ClientError, match=rf"{code}.*not authorized to perform: anything"),
    ):
        client("elasticbeanstalk").update_environment(EnvironmentName="somebody")
    assert len(Answer.wrong) == wrong


@pytest.mark.process
@pytest.mark.parametrize("is_confirmed", [True, False])
def test_an_address_that_was_not_confirmed_has_no_arn(is_confirmed):
    from moto.sns.responses import SNSResponse

    from tests.rehearsal.aws.answers import answer, from_query
    from tests.rehearsal.aws.subscriptions import Subscriptions

    subscriptions = Subscriptions(REGION, lambda: is_confirmed)
    with served(*answer(SNSResponse, subscriptions, from_query)) as client:
        topic = client("sns").create_topic(Name="one")["TopicArn"]
        client("sns").subscribe(
            TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:1/email/owner@example.com"
        )
        [found] = client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (found["Protocol"], found["Endpoint"]) == ("email", "owner@example.com")
    assert (found["SubscriptionArn"] == "PendingConfirmation") is not is_confirmed


@pytest.mark.process
@pytest.mark.parametrize(
    ("service", "responses", "parameters", "operation", "asked"),
    [
        (
            "rds",
            "RDSResponse",
            "from_parsed",
            "modify_db_instance",
            {
                "DBInstanceIdentifier": "one",
                "MasterUserPassword": "older",
                "ApplyImmediately": True,
            },
        ),
        (
            "codepipeline",
            "CodePipelineResponse",
            "from_json",
            "get_pipeline_state",
            {"name": "one"},
        ),
    ],
)
def test_a_service_gets_the_parameters_of_a_request(
    service, responses, parameters, operation, asked
):
    from tests.rehearsal.aws import answers

    kind = getattr(importlib.import_module(f"moto.{service}.responses"), responses)
    seen = []
    recorder = SimpleNamespace(actions=[operation])
    setattr(recorder, operation, lambda **given: seen.append(given))
    with served(*answers.answer(kind, recorder, getattr(answers, parameters))) as client:
        getattr(client(service), operation)(**asked)
    assert seen == [asked]


@pytest.mark.process
def test_an_invalid_request_is_refused():
    from tests.rehearsal.aws.answers import checking

    with (
        served(checking()) as client,
        pytest.raises(ClientError, match=r"ValidationError.* logGroupName 'a b': expected \["),
    ):
        client("logs").create_log_group(logGroupName="a b")


@pytest.mark.process
def test_a_service_does_not_answer_where_it_does_not_exist():
    from tests.rehearsal.aws.cloud import Cloud

    everywhere = SimpleNamespace(lost=set(), refused=[])
    with served(Cloud._refusing(everywhere)) as client:
        assert client("codepipeline").list_pipelines()["pipelines"] == []
        with pytest.raises(ConnectionClosedError):
            client("codepipeline", "ca-west-1").list_pipelines()


def shape(service, operation):
    model = ServiceModel(Loader().load_service_model(service, "service-2"))
    return model.operation_model(operation).output_shape


@pytest.mark.parametrize(
    "answer",
    [
        {"Environments": [{"EnvironmentNam": "name"}]},
        {"Environments": {"EnvironmentName": "name"}},
        {"Environments": [{"EnvironmentName": 1}]},
        {"Environment": []},
    ],
)
def test_an_invalid_response_is_found(answer):
    keep_to_shape(
        {"Environments": [{"EnvironmentName": "name"}]},
        shape("elasticbeanstalk", "DescribeEnvironments"),
    )
    with pytest.raises(AssertionError, match="not as AWS answers"):
        keep_to_shape(answer, shape("elasticbeanstalk", "DescribeEnvironments"))


def test_a_response_without_a_required_key_is_detected():
    action = {"stageStates": [{"latestExecution": {"pipelineExecutionId": "x"}}]}
    with pytest.raises(AssertionError, match="status"):
        keep_to_shape(action, shape("codepipeline", "GetPipelineState"))
