"""Each way in which the rehearsal corrects moto is still needed, and its own answers have AWS's shapes."""

import json
import subprocess
import sys

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from tests.rehearsal.aws import gaps
from tests.rehearsal.aws.cloudformation import UNKNOWN
from tests.support.aws import keep_to_shape

PROBES = (
    *(f"the type {kind}" for kind in UNKNOWN),
    "codepipeline get_pipeline_state", "codepipeline put_approval_result",
    "elasticbeanstalk describe_events", "elasticbeanstalk describe_instances_health",
    "elasticbeanstalk create_storage_location", "elasticbeanstalk update_environment",
    "outputs of change sets", "exports in change sets", "empty change sets",
    "resources of conditions",
)  # fmt: skip


@pytest.fixture(scope="module")
def tried():
    """What moto lacks, in a process in which nobody has corrected it."""
    ended = subprocess.run(
        [sys.executable, "-m", gaps.__name__], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("gap", PROBES)
def test_moto_lacks_it(tried, gap):
    assert tried[gap], f"moto has {gap} now: remove what tests/rehearsal/aws does about it"


def test_every_probe_is_looked_at(tried):
    assert set(tried) == set(PROBES)
    assert set(gaps.UNKNOWN) == set(UNKNOWN)


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
def test_an_answer_that_aws_would_not_give_is_found(answer):
    keep_to_shape(
        {"Environments": [{"EnvironmentName": "name"}]},
        shape("elasticbeanstalk", "DescribeEnvironments"),
    )
    with pytest.raises(AssertionError, match="not as AWS answers"):
        keep_to_shape(answer, shape("elasticbeanstalk", "DescribeEnvironments"))


def test_an_answer_without_what_aws_always_gives_is_found():
    action = {"stageStates": [{"latestExecution": {"pipelineExecutionId": "x"}}]}
    with pytest.raises(AssertionError, match="status"):
        keep_to_shape(action, shape("codepipeline", "GetPipelineState"))
