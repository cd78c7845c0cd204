"""All of AWS on one port."""

import os
from contextlib import ExitStack

import boto3
from moto.cloudwatch.responses import CloudWatchResponse
from moto.codepipeline.responses import CodePipelineResponse
from moto.ec2.responses import EC2Response
from moto.elasticbeanstalk.responses import EBResponse
from moto.elbv2.responses import ELBV2Response
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.rds.responses import RDSResponse

from tests.rehearsal.aws.answers import answer, from_json, from_parsed, from_query
from tests.rehearsal.aws.beanstalk import Beanstalk
from tests.rehearsal.aws.cloudformation import CloudFormation
from tests.rehearsal.aws.cloudwatch import CloudWatch
from tests.rehearsal.aws.codebuild import CodeBuild
from tests.rehearsal.aws.codepipeline import CodePipeline
from tests.rehearsal.aws.ecr import Images
from tests.rehearsal.aws.events import Events
from tests.rehearsal.aws.notifications import Receiver
from tests.rehearsal.aws.rds import Databases
from tests.rehearsal.machines.docker import remove_all
from tests.rehearsal.machines.registry import PASSWORD, Registry
from tests.support.aws import REGION

KEYS = {"AWS_ACCESS_KEY_ID": "rehearsal", "AWS_SECRET_ACCESS_KEY": "rehearsal"}


class Defaults:
    """What the account says of the metadata of new instances, as README.md asks for."""

    actions = ("get_instance_metadata_defaults",)

    def get_instance_metadata_defaults(self):
        return {"AccountLevel": {"HttpPutResponseHopLimit": 1}}


class LoadBalancers:
    """The target groups of the load balancers that ``environments`` have."""

    actions = ("describe_target_groups",)

    def __init__(self, environments):
        self._environments = environments

    def describe_target_groups(self, LoadBalancerArn, **_):
        found = [
            {"TargetGroupArn": one.target_group_arn}
            for one in self._environments.values()
            if one.load_balancer_arn == LoadBalancerArn
        ]
        return {"TargetGroups": found}


class Cloud:
    """An account without anything in it. ``builds`` are variables for the projects."""

    def __init__(self, folder, builds):
        for name in ("registry", "instances", "builds", "sources"):
            (folder / name).mkdir(parents=True)
        self.registry = Registry(folder / "registry")
        self.images = Images(self.registry)
        self.receiver = Receiver()
        self.cloudformation = CloudFormation(self.receiver)
        self.events = Events(self.cloudformation.resources)
        self.cloudwatch = CloudWatch(self.cloudformation.resources)
        self.beanstalk = Beanstalk(folder / "instances")
        self.pipeline = CodePipeline(folder / "sources", self.cloudformation)
        self._patches = ExitStack()
        for patch in self._all_patches():
            self._patches.enter_context(patch)
        # A local address that is no AWS host's: moto takes the service from the signature
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.client("ec2").enable_ebs_encryption_by_default()
        # Where nothing is known, so that the receiver's empty answer is the right one
        audit = {"AUDIT_URL": f"{self.receiver.url}/v1/query"}
        environment = self.credentials() | builds | audit
        self.build = CodeBuild(folder / "builds", environment, self.cloudformation)
        self.beanstalk.connect(self.client, self._login())
        self.build.connect(self.client)
        self.pipeline.connect(self.build, self.client)

    def environment(self):
        """The variables that a program needs to find this cloud, and none of another."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "CODEBUILD_", "DOCKER_CONFIG"))
        }
        return kept | self.credentials()

    def credentials(self):
        """The part of it that is about AWS."""
        return KEYS | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_CHATBOT": self.receiver.url,
            "AWS_ENDPOINT_URL_CODESTAR_CONNECTIONS": self.receiver.url,
            "AWS_MAX_ATTEMPTS": "2",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service):
        """A client of boto3."""
        keys = {name.lower(): value for name, value in KEYS.items()}
        return boto3.client(service, REGION, endpoint_url=self.url, **keys)

    def stop(self):
        """End all of it, whatever state it is in, and leave moto as it was."""
        with ExitStack() as ending:  # in the reverse order, each of them whatever the others do
            ending.callback(self._patches.close)
            ending.callback(self.registry.stop)  # whose images can be removed when nothing runs
            ending.callback(remove_all)
            ending.callback(self.receiver.stop)
            ending.callback(self._server.stop)
            ending.callback(self.build.stop)
            ending.callback(self.beanstalk.stop)

    def _login(self):
        """The command by which an instance logs in to the registry."""
        return f"echo {PASSWORD} | docker login --username AWS --password-stdin {self.registry.host} 2>&1"

    def _all_patches(self):
        databases = Databases(self.beanstalk.environments)
        return (
            *self.cloudformation.patches(),
            *self.images.patches(),
            *answer(EBResponse, self.beanstalk, from_query),
            *answer(RDSResponse, databases, from_parsed),
            *answer(ELBV2Response, LoadBalancers(self.beanstalk.environments), from_parsed),
            *answer(CloudWatchResponse, self.cloudwatch, from_parsed),
            *answer(CodePipelineResponse, self.pipeline, from_json),
            *answer(EC2Response, Defaults(), lambda _: {}),
        )
