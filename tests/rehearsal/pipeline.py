"""CodePipeline, CodeBuild and those who are told, as devops/pipeline.yml and the buildspecs say.

Stages, actions, projects, subscriptions and notification rules are what CloudFormation made of the
template, with references resolved. Each build runs in a container of its own, from a clone with history.
Messages are posted over HTTP, to a receiver in which each address and each channel has a path.

Not done: several executions at once, GitHub's triggers, the clock that opens the window, IAM, and
what Slack makes of a message.
"""

import hashlib
import json
import re
import shlex
import subprocess
import threading
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import yaml
from moto.core.common_models import CloudFormationModel
from moto.core.exceptions import ServiceException
from moto.sns.models import sns_backends

from tests.rehearsal.machines import LABEL, docker

ACCOUNT, REGION = "123456789012", "eu-west-1"
IMAGE = "birthday-greetings-codebuild"
PIPELINE = "birthday-greetings"
SOURCE = "/codebuild/output/src/src"
PHASES = ("install", "pre_build", "build")
PACKAGES = "python3 -m pip install "
EVENTS = "codepipeline-pipeline-action-execution-failed"


class InvalidApprovalToken(ServiceException):
    code = "InvalidApprovalTokenException"


# --- What CloudFormation makes, and moto would leave out without a word ---------------------------


class Declared:
    """Resources by type and name, with their properties."""

    resources: ClassVar = defaultdict(dict)


def _declare(kind, name_key):
    """Let moto keep resources of the type ``kind``, whose names are in the property ``name_key``."""
    service = kind.split("::")[1].lower()

    class Resource(CloudFormationModel):
        def __init__(self, name):
            self.physical_resource_id = name

        @staticmethod
        def cloudformation_name_type():
            return None

        @staticmethod
        def cloudformation_type():
            return kind

        @staticmethod
        def has_cfn_attr(attr):
            return attr == "Arn"

        def get_cfn_attribute(self, attribute_name):
            return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{self.physical_resource_id}"

        @classmethod
        def create_from_cloudformation_json(cls, name, cloudformation_json, *_, **__):
            properties = cloudformation_json["Properties"]
            name = properties.get(name_key) or name
            if kind == "AWS::CodeConnections::Connection":
                name = f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/{name}"
            Declared.resources[kind][name] = properties
            if kind in SUBSCRIBERS:
                SUBSCRIBERS[kind](properties)
            return cls(name)

        @classmethod
        def update_from_cloudformation_json(cls, *, new_resource_name, cloudformation_json, **_):
            return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json)

    return Resource


def _subscribe_address(properties):
    backend = sns_backends[ACCOUNT][REGION]
    endpoint = f"{Receiver.url}/{properties['Protocol']}/{properties['Endpoint']}"
    made = backend.subscribe(properties["TopicArn"], endpoint, "http")
    if "FilterPolicy" in properties:
        policy = json.dumps(properties["FilterPolicy"])
        backend.set_subscription_attributes(made.arn, "FilterPolicy", policy)


def _subscribe_channel(properties):
    for topic in properties["SnsTopicArns"]:
        endpoint = f"{Receiver.url}/slack/{properties['SlackChannelId']}"
        sns_backends[ACCOUNT][REGION].subscribe(topic, endpoint, "http")


SUBSCRIBERS = {
    "AWS::SNS::Subscription": _subscribe_address,
    "AWS::Chatbot::SlackChannelConfiguration": _subscribe_channel,
}
MODELS = [
    _declare(kind, name)
    for kind, name in {
        "AWS::Chatbot::SlackChannelConfiguration": "ConfigurationName",
        "AWS::CodeBuild::Project": "Name",
        "AWS::CodeConnections::Connection": "ConnectionName",
        "AWS::CodePipeline::Pipeline": "Name",
        "AWS::CodeStarNotifications::NotificationRule": "Name",
        "AWS::SNS::Subscription": "",
        "AWS::Scheduler::Schedule": "Name",
    }.items()
]


# --- Those who are told ---------------------------------------------------------------------------


class Receiver:
    """Gets what SNS posts; also the two services that are asked by nobody but ``bootstrap``."""

    url = ""

    def __init__(self):
        self.messages = []  # (path, subject, text)
        self.connection = "PENDING"
        self.workspaces = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(receiver.take(self.path, self.headers, body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Receiver.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path, headers, body):
        if headers.get("X-Amz-Target", "").endswith(".GetConnection"):
            return {"Connection": {"ConnectionStatus": self.connection}}
        if path == "/describe-slack-workspaces":
            return {
                "SlackWorkspaces": [
                    {"SlackTeamId": one, "SlackTeamName": "Somebody"} for one in self.workspaces
                ]
            }
        if body.get("Type") == "Notification":
            self.messages.append((path, body.get("Subject") or "", body["Message"]))
        return {}

    def told(self, path):
        """What was sent to an address or a channel."""
        return [f"{subject}\n{text}" for to, subject, text in list(self.messages) if to == path]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


# --- CodeBuild ------------------------------------------------------------------------------------


class Failed(Exception):
    """An action failed; the text says how."""


class CodeBuild:
    """Runs a project's buildspec in a clean container, with the project's cache.

    An install phase that installs packages and does nothing else is run once for the same commands
    and locks: later builds begin with what it left in its container.
    """

    def __init__(self, folder, environment):
        self.folder, self._environment = folder, environment
        self.number = 0
        self.outputs = []  # (project, output)
        self.stand_ins = {}  # folders of commands that come first, by project
        self._installed = {}  # images by the commands and locks of the install phase

    def run(self, project, source, commit, variables):
        """What was exported. Raises Failed when a command of the buildspec did."""
        properties = Declared.resources["AWS::CodeBuild::Project"][project]
        self.number += 1
        work = self.folder / f"build-{self.number}"
        subprocess.run(["git", "clone", "--quiet", str(source), str(work / "src")], check=True)
        subprocess.run(["git", "checkout", "--quiet", commit], cwd=work / "src", check=True)
        buildspec = yaml.safe_load((work / "src" / properties["Source"]["BuildSpec"]).read_text())
        volumes = self._volumes(project, properties, buildspec, work)
        image, phases = self._install(buildspec, volumes, work)
        (work / "script").write_text(_script(buildspec, phases))
        environment = self._environment_of(project, properties, buildspec, commit, variables)
        code, output = _run(*volumes, *environment, image)
        self.outputs.append((project, output))
        print(f"\n[{project}]\n{output[-3000:]}")  # noqa: T201
        exported = work / "exported"
        found = exported.read_text().split("\0")[:-1] if exported.exists() else []
        for report in buildspec.get("reports", {}).values():
            for name in report["files"]:
                if not code and project not in self.stand_ins:
                    assert (work / "src" / name).exists(), name
        docker("run", "--rm", "--volume", f"{work}:/left", IMAGE, "rm", "-rf", "/left/src")
        if code:
            raise Failed(f"{project} ended with exit code {code}")
        return dict(one.split("=", 1) for one in found)

    def stop(self):
        for image in self._installed.values():
            docker("rmi", image, check=False)

    def _install(self, buildspec, volumes, work):
        """The image to begin with, and the phases that remain."""
        commands = buildspec["phases"]["install"]["commands"]
        if not all(one.startswith(PACKAGES) for one in commands):
            return IMAGE, PHASES
        locks = [path.read_text() for path in sorted((work / "src/requirements").glob("*.txt"))]
        key = hashlib.sha256("\n".join(commands + locks).encode()).hexdigest()[:12]
        if key not in self._installed:
            (work / "script").write_text(_script(buildspec, PHASES[:1]))
            name = f"install-{key}-{uuid.uuid4()}"
            code, output = _run(f"--name={name}", *volumes, IMAGE, keep=True)
            if not code:
                self._installed[key] = f"{IMAGE}:{key}"
                docker("commit", name, self._installed[key])
            docker("rm", name)
            if code:
                raise Failed(f"the install phase ended with exit code {code}: {output[-3000:]}")
        return self._installed[key], PHASES[1:]

    def _environment_of(self, project, properties, buildspec, commit, variables):
        environment = dict(buildspec.get("env", {}).get("variables", {}))
        for one in properties["Environment"].get("EnvironmentVariables", []):
            environment[one["Name"]] = one["Value"]
        environment |= variables | self._environment
        environment |= {
            "AWS_DEFAULT_REGION": REGION,
            "CODEBUILD_BUILD_NUMBER": str(self.number),
            "CODEBUILD_BUILD_URL": f"https://{REGION}.console.aws.amazon.com/codebuild/{project}",
            "CODEBUILD_CI": "true",
            "CODEBUILD_INITIATOR": f"codepipeline/{PIPELINE}",
            "CODEBUILD_RESOLVED_SOURCE_VERSION": commit,
            # The clone belongs to another user than CodeBuild's would
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment["PATH"] = f"/stand-ins:{path}" if project in self.stand_ins else path
        return [f"--env={name}={value}" for name, value in environment.items()]

    def _volumes(self, project, properties, buildspec, work):
        arguments = ["--volume", f"{work}:/codebuild/output/src", "--workdir", SOURCE]
        for path in buildspec.get("cache", {}).get("paths", []):
            cached = self.folder / "cache" / project
            cached.mkdir(parents=True, exist_ok=True)
            arguments += ["--volume", f"{cached}:{path.removesuffix('/**/*')}"]
        if properties["Environment"].get("PrivilegedMode") in (True, "true"):
            arguments += ["--volume", "/var/run/docker.sock:/var/run/docker.sock"]
        if project in self.stand_ins:
            arguments += ["--volume", f"{self.stand_ins[project]}:/stand-ins:ro"]
        return arguments


def _run(*arguments, keep=False):
    """Exit code and output of the script in a container."""
    ended = subprocess.run(
        ["docker", "run", *([] if keep else ["--rm"]), "--network=host", "--label", LABEL,
         *arguments, "bash", "/codebuild/output/src/script"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
    )  # fmt: skip
    return ended.returncode, ended.stdout


def _script(buildspec, phases):
    """The phases in one shell: the first command that fails ends it with its exit code."""
    lines = []
    for phase in phases:
        lines.append(f"echo '[Container] Entering phase {phase.upper()}'")
        for command in buildspec["phases"].get(phase, {}).get("commands", []):
            lines += [f"echo {shlex.quote('[Container] ' + command)}", command]
            lines.append('code=$?; [ "$code" = 0 ] || exit "$code"')
    for name in buildspec.get("env", {}).get("exported-variables", []):
        lines.append(f'printf "{name}=%s\\0" "${name}" >>/codebuild/output/src/exported')
    return "\n".join(lines) + "\n"


# --- CodePipeline ---------------------------------------------------------------------------------


class Execution:
    """One commit on its way through the stages."""

    def __init__(self, source, commit):
        self.id = str(uuid.uuid4())
        self.source, self.commit = source, commit
        self.variables = {"codepipeline.PipelineExecutionId": self.id}
        self.stages = {}  # their status, in the order in which they began
        self.actions = {}  # the latest state of each: (stage, action) -> what GetPipelineState says
        self.thread = None


class CodePipeline:
    """The pipeline that CloudFormation made, for one execution at a time."""

    actions = ("get_pipeline_state", "put_approval_result")

    def __init__(self, folder, build, publish):
        self.folder, self.build, self._publish = folder, build, publish
        self.execution = None
        self._decisions = {}
        self._decided = threading.Condition()

    @property
    def properties(self):
        return Declared.resources["AWS::CodePipeline::Pipeline"][PIPELINE]

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
        """Repeat the stage that failed, and go on from there."""
        names = [one["Name"] for one in self.properties["Stages"]]
        assert self.execution.stages[stage] == "Failed"
        self._begin(names[names.index(stage) :])

    def wait(self, seconds=420):
        """The status of each stage, when the execution has ended."""
        self.execution.thread.join(seconds)
        assert not self.execution.thread.is_alive(), self.execution.stages
        return self.execution.stages

    def decide(self, status):
        """Somebody decides in the console: Approved or Rejected; or nobody ever does: Expired."""
        deadline = time.monotonic() + 120
        while True:
            for (stage, action), state in list(self.execution.actions.items()):
                if "token" in state and state["status"] == "InProgress":
                    result = {"status": status, "summary": "By hand"}
                    self.put_approval_result(PIPELINE, stage, action, result, state["token"])
                    return
            assert time.monotonic() < deadline, self.execution.actions
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
            raise InvalidApprovalToken(
                "The approval was already decided, or is of another execution"
            )
        with self._decided:
            self._decisions[token] = result
            self._decided.notify_all()
        return {"approvedAt": datetime.now(UTC)}

    # --- What it does --------------------------------------------------------------------------

    def _begin(self, names):
        execution = self.execution
        execution.thread = threading.Thread(target=self._work, args=(names,), daemon=True)
        execution.thread.start()

    def _work(self, names):
        for stage in self.properties["Stages"]:
            if stage["Name"] in names and not self._stage(stage):
                return

    def _stage(self, stage):
        name, execution = stage["Name"], self.execution
        execution.stages[name] = "InProgress"
        orders = sorted({int(action.get("RunOrder", 1)) for action in stage["Actions"]})
        for order in orders:
            group = [one for one in stage["Actions"] if int(one.get("RunOrder", 1)) == order]
            with ThreadPoolExecutor(len(group)) as pool:
                done = list(pool.map(lambda action: self._action(name, action), group))
            if not all(done):
                execution.stages[name] = "Failed"
                return False
        execution.stages[name] = "Succeeded"
        return True

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
            else:
                assert kind == "Source", kind
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

    def _build(self, action):
        configuration = action["Configuration"]
        text = configuration.get("EnvironmentVariables", "[]")
        text = re.sub(r"#{([\w.]+)}", lambda match: self.execution.variables[match[1]], text)
        variables = {one["name"]: one["value"] for one in json.loads(text)}
        exported = self.build.run(
            configuration["ProjectName"], self.execution.source, self.execution.commit, variables
        )
        for name, value in exported.items():
            self.execution.variables[f"{action['Namespace']}.{name}"] = value

    def _notify(self, stage, action, reason):
        message = {
            "detailType": "CodePipeline Action Execution State Change",
            "detail": {"pipeline": PIPELINE, "stage": stage, "action": action, "state": "FAILED"},
            "additionalAttributes": {"reason": reason},
        }
        for rule in Declared.resources["AWS::CodeStarNotifications::NotificationRule"].values():
            if rule["Resource"].endswith(f":{PIPELINE}") and EVENTS in rule["EventTypeIds"]:
                for target in rule["Targets"]:
                    self._publish(TopicArn=target["TargetAddress"], Message=json.dumps(message))


def build_image():
    docker(
        "build", "--quiet", "--tag", IMAGE, str(Path(__file__).parent / "codebuild"), timeout=600
    )
