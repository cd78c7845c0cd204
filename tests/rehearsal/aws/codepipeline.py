"""CodePipeline: the pipeline that CloudFormation made, for one execution at a time.

Not imitated: several executions at once, GitHub's triggers, the clock of the schedule that opens the
window, and how Slack displays a message.
"""

import json
import re
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from tests.rehearsal.aws.access import Denied
from tests.rehearsal.aws.answers import Refused
from tests.rehearsal.aws.codebuild import Failed
from tests.rehearsal.waiting import limit
from tests.support.aws import ACCOUNT, REGION
from tests.support.aws import APPLICATION as PIPELINE

EVENTS = "codepipeline-pipeline-action-execution-failed"


class Execution:
    """One commit on its way through the stages."""

    def __init__(self, source, commit):
        self.id = str(uuid.uuid4())
        self.source, self.commit = source, commit
        self.artifacts = {}  # by name
        self.variables = {"codepipeline.PipelineExecutionId": self.id}
        self.stages = {}  # stages' statuses, in the order in which the stages started
        self.actions = {}  # the latest state of each action: (stage, action) -> its entry in GetPipelineState
        self.thread = None


class CodePipeline:
    """The pipeline that CloudFormation made, for one execution at a time."""

    actions = ("get_pipeline_state", "put_approval_result")

    def __init__(self, folder, cloudformation):
        self.folder, self._cloudformation = folder, cloudformation
        self.on_change = lambda stage, status: None
        self.execution = None
        self._decisions = {}
        self._decided = threading.Condition()

    @property
    def properties(self):
        """The pipeline's definition, as CloudFormation made it."""
        made = self._cloudformation.resources["AWS::CodePipeline::Pipeline"]
        if PIPELINE not in made:
            raise Refused("PipelineNotFoundException", f"There is no pipeline {PIPELINE}")
        return made[PIPELINE]

    def connect(self, build, access, client):
        """``build`` runs the builds, ``access`` knows who may do what, ``client(service, role)`` makes clients."""
        self.build, self._access, self._client = build, access, client

    def _require(self, action, resource, context=None):
        """Raises Failed unless the pipeline's role may do it."""
        try:
            self._access.require(self.properties["RoleArn"], action, resource, context)
        except Denied as denied:
            raise Failed(str(denied)) from denied

    def start(self, repository):
        """Begin with what is at the head of ``repository``."""
        source = self.folder / f"source-{uuid.uuid4()}"
        subprocess.run(
            ["git", "clone", "--quiet", "--bare", str(repository), str(source)], check=True
        )
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
        )
        self.execution = Execution(source, head.stdout.strip())
        self._begin([stage["Name"] for stage in self.properties["Stages"]])
        return self.execution

    def retry(self, stage):
        """Retry the stage that failed, and continue from there."""
        names = [one["Name"] for one in self.properties["Stages"]]
        assert self.execution.stages[stage] == "Failed"
        self._begin(names[names.index(stage) :])

    def wait(self, seconds=1800):
        """Wait until the execution has ended, and return the status of each stage."""
        self.execution.thread.join(limit(seconds))
        assert not self.execution.thread.is_alive(), self.execution.stages
        return self.execution.stages

    def decide(self, status, seconds=120):
        """Decide on the approval as in the console: Approved or Rejected; Expired if nobody ever decides.

        Waits up to ``seconds`` for a pending approval, and returns whether there was one.
        """
        deadline = time.monotonic() + limit(seconds)
        while True:
            for (stage, action), state in list(self.execution.actions.items()):
                if "token" in state and state["status"] == "InProgress":
                    result = {"status": status, "summary": "By hand"}
                    self.put_approval_result(PIPELINE, stage, action, result, state["token"])
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.2)

    # --- The API -------------------------------------------------------------------------------

    def get_pipeline_state(self, name):
        assert name == PIPELINE
        states = []
        for stage in self.properties["Stages"]:
            actions = []
            for action in stage["Actions"]:
                state = {"actionName": action["Name"]}
                key = (stage["Name"], action["Name"])
                if self.execution and key in self.execution.actions:
                    state["latestExecution"] = self.execution.actions[key]
                actions.append(state)
            described = {"stageName": stage["Name"], "actionStates": actions}
            if self.execution and stage["Name"] in self.execution.stages:
                described["latestExecution"] = {
                    "pipelineExecutionId": self.execution.id,
                    "status": self.execution.stages[stage["Name"]],
                }
            states.append(described)
        return {"pipelineName": name, "stageStates": states}

    def put_approval_result(self, pipelineName, stageName, actionName, result, token):
        state = self.execution.actions[stageName, actionName]
        if state.get("token") != token or state["status"] != "InProgress":
            raise Refused(
                "InvalidApprovalTokenException",
                "The approval was already decided, or is of another execution",
            )
        with self._decided:
            self._decisions[token] = result
            self._decided.notify_all()
        return {"approvedAt": datetime.now(UTC)}

    # --- Executions --------------------------------------------------------------------------

    def _begin(self, names):
        execution = self.execution
        execution.thread = threading.Thread(target=self._work, args=(names,), daemon=True)
        execution.thread.start()

    def _work(self, names):
        for stage in self.properties["Stages"]:
            if stage["Name"] in names and not self._stage(stage):
                return

    def _stage(self, stage):
        name = stage["Name"]
        self._set(name, "InProgress")
        orders = sorted({int(action.get("RunOrder", 1)) for action in stage["Actions"]})
        for order in orders:
            group = [one for one in stage["Actions"] if int(one.get("RunOrder", 1)) == order]
            with ThreadPoolExecutor(len(group)) as pool:
                done = list(pool.map(lambda action: self._action(name, action), group))
            if not all(done):
                self._set(name, "Failed")
                return False
        self._set(name, "Succeeded")
        return True

    def _set(self, stage, status):
        self.execution.stages[stage] = status
        self.on_change(stage, status)

    def _action(self, stage, action):
        kind = action["ActionTypeId"]["Category"]
        state = {"status": "InProgress"}
        if kind == "Approval":
            state["token"] = str(uuid.uuid4())
        self.execution.actions[stage, action["Name"]] = state
        try:
            if kind == "Approval":
                state["summary"] = self._approval(state["token"])
            elif kind == "Build":
                self._build(action)
            elif kind == "Deploy":
                self._copy(action)
            else:
                assert kind == "Source", kind
                self._fetch(action)
        except Failed as failed:
            state["status"] = "Failed"
            self._notify(stage, action["Name"], str(failed))
            return False
        state["status"] = "Succeeded"
        return True

    def _approval(self, token):
        with self._decided:
            self._decided.wait_for(lambda: token in self._decisions)
        result = self._decisions[token]
        if result["status"] == "Expired":
            raise Failed("Approval expired")
        if result["status"] != "Approved":
            raise Failed(f"Rejected: {result['summary']}")
        return result["summary"]

    def _fetch(self, action):
        """The file with the commit, as the action for a connection leaves it for a full clone."""
        configuration = action["Configuration"]
        context = {
            "codeconnections:FullRepositoryId": configuration["FullRepositoryId"],
            "codeconnections:ProviderPermissionsRequired": "read_only",
        }
        self._require("codeconnections:UseConnection", configuration["ConnectionArn"], context)
        store = self.properties["ArtifactStore"]
        self._require("s3:PutObject", f"arn:aws:s3:::{store['Location']}/{PIPELINE}/Source/1")
        self._require("kms:GenerateDataKey", store["EncryptionKey"]["Id"])

    def _build(self, action):
        configuration = action["Configuration"]
        project = f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{configuration['ProjectName']}"
        for one in ("codebuild:StartBuild", "codebuild:BatchGetBuilds"):
            self._require(one, project)
        text = configuration.get("EnvironmentVariables", "[]")
        text = re.sub(r"#{([\w.]+)}", lambda match: self.execution.variables[match[1]], text)
        variables = {one["name"]: one["value"] for one in json.loads(text)}
        built = self.build.run(
            configuration["ProjectName"], self.execution.source, self.execution.commit, variables
        )
        for name, value in built.exported.items():
            self.execution.variables[f"{action['Namespace']}.{name}"] = value
        for one in action.get("OutputArtifacts", []):
            self.execution.artifacts[one["Name"]] = built.artifact

    def _copy(self, action):
        configuration = action["Configuration"]
        assert (action["ActionTypeId"]["Provider"], configuration["Extract"]) == ("S3", "false")
        [artifact] = action["InputArtifacts"]
        for one in ("s3:GetBucketAcl", "s3:GetBucketLocation"):
            self._require(one, f"arn:aws:s3:::{configuration['BucketName']}")
        self._client("s3", self.properties["RoleArn"]).put_object(
            Bucket=configuration["BucketName"],
            Key=configuration["ObjectKey"],
            Body=self.execution.artifacts[artifact["Name"]],
        )

    def _notify(self, stage, action, reason):
        message = {
            "source": "aws.codepipeline",
            "detailType": "CodePipeline Action Execution State Change",
            "detail": {"pipeline": PIPELINE, "stage": stage, "action": action, "state": "FAILED"},
            "additionalAttributes": {"reason": reason},
        }
        rules = self._cloudformation.resources["AWS::CodeStarNotifications::NotificationRule"]
        for rule in rules.values():
            if rule["Resource"].endswith(f":{PIPELINE}") and EVENTS in rule["EventTypeIds"]:
                for target in rule["Targets"]:
                    self._client("sns").publish(
                        TopicArn=target["TargetAddress"], Message=json.dumps(message)
                    )
