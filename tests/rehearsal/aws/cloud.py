"""All of AWS on one port."""

import functools
import os
import socket
import threading
from contextlib import ExitStack
from unittest import mock

import boto3
from moto.backup.responses import BackupResponse
from moto.cloudwatch.responses import CloudWatchResponse
from moto.codepipeline.responses import CodePipelineResponse
from moto.ec2.responses import EC2Response
from moto.ecr.responses import ECRResponse
from moto.elasticbeanstalk.responses import EBResponse
from moto.elbv2.responses import ELBV2Response
from moto.logs.responses import LogsResponse
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.rds.models import DBSubnetGroup
from moto.rds.responses import RDSResponse
from moto.resourcegroupstaggingapi.responses import ResourceGroupsTaggingAPIResponse
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.servicequotas.responses import ServiceQuotasResponse
from moto.sns.responses import SNSResponse

from tests.rehearsal.aws import access, backup, ecr, subscriptions
from tests.rehearsal.aws.answers import (
    ByRegion,
    answer,
    checking,
    find_signed,
    from_json,
    from_parsed,
    from_path,
    from_query,
)
from tests.rehearsal.aws.beanstalk import Beanstalk
from tests.rehearsal.aws.cloudformation import CloudFormation
from tests.rehearsal.aws.cloudwatch import PLACES, CloudWatch
from tests.rehearsal.aws.codebuild import CodeBuild
from tests.rehearsal.aws.codepipeline import CodePipeline
from tests.rehearsal.aws.events import Events
from tests.rehearsal.aws.logs import Logs
from tests.rehearsal.aws.notifications import Receiver
from tests.rehearsal.aws.rds import Databases
from tests.rehearsal.aws.rights import Rights
from tests.rehearsal.aws.secrets import Replicas
from tests.rehearsal.aws.subscriptions import Subscriptions
from tests.rehearsal.aws.tags import Tags
from tests.rehearsal.machines.docker import docker, remove_all
from tests.rehearsal.machines.registry import PASSWORD, Registry
from tests.rehearsal.waiting import wait_for
from tests.support.aws import ACCOUNT, APPLICATION, REGION
from tests.support.regions import LACKING

# With these, `make test-docker ARGS=...` would give its arguments to the `make test` of a scenario
OF_MAKE = ("MAKE", "MFLAGS", "ARGS")
SECRET = "rehearsal"  # of every access key


class Defaults:
    """The account's defaults for the metadata of new instances, set as docs/deployment.md requires."""

    actions = ("get_instance_metadata_defaults",)

    def get_instance_metadata_defaults(self):
        return {"AccountLevel": {"HttpPutResponseHopLimit": 1}}


class Quotas:
    """The quota of instances, large enough."""

    actions = ("get_service_quota",)

    def get_service_quota(self, ServiceCode, QuotaCode):
        return {"Quota": {"ServiceCode": ServiceCode, "QuotaCode": QuotaCode, "Value": 64.0}}


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


class Region:
    """The account's services in one region that moto does not fully imitate."""

    def __init__(self, name, folder, cloud):
        for kind in ("registry", "instances", "snapshots"):
            (folder / kind).mkdir(parents=True)
        self.name = name
        resources = cloud.cloudformation.at(name)
        client = functools.partial(cloud.acting, region=name)
        self.registry = Registry(folder / "registry")
        self.images = ecr.Images(self.registry)
        self.replicas, self.tags = Replicas(name), Tags(name)
        self.cloudwatch = CloudWatch(resources, name)
        self.beanstalk = Beanstalk(folder / "instances", name, self._replicate(cloud))
        self.databases = Databases(name, self.beanstalk.environments, folder / "snapshots", client)
        self.events = Events(resources, name)
        self.backup = backup.Backup(
            name, resources, self.databases, cloud.find_backup, self.events.copy
        )
        self.balancers = LoadBalancers(self.beanstalk.environments)
        self.logs = Logs(name, self.beanstalk.environments)
        self.subscriptions = Subscriptions(name, lambda: cloud.confirmed)
        login = f"echo {PASSWORD} | docker login --username AWS --password-stdin {self.registry.host} 2>&1"
        self.beanstalk.connect(client, login, self.databases, Rights(cloud.access, name))

    def containers(self):
        """All that it consists of."""
        found = [self.registry.container]
        for environment in self.beanstalk.environments.values():
            both = (environment.balancer, environment.database)
            found += [one.container for one in both if one]
            for one in environment.instances:
                found += [one.machine, one.application]
        return [one for one in found if one]  # an instance starts without an application

    def _replicate(self, cloud):
        """Copies a version's image to other regions, which takes less time than creating the version."""
        return lambda label: ecr.replicate(APPLICATION, label, self.name, cloud.find_registry)


class Cloud:
    """An empty account. ``builds()`` returns environment variables for the CodeBuild projects."""

    def __init__(self, folder, builds):
        for name in ("builds", "sources"):
            (folder / name).mkdir(parents=True)
        self._folder, self._regions, self._making = folder, {}, threading.Lock()
        self.confirmed = False  # whether the recipients have clicked the links that AWS sent
        self.lost, self.refused = set(), []  # regions that do not answer, and who asked them
        self.receiver = Receiver()
        self.cloudformation = CloudFormation(self.receiver)
        self.access = access.Access(self.cloudformation.policy_of)
        self.pipeline = CodePipeline(folder / "sources", self.cloudformation)
        self._patches = ExitStack()
        for patch in self._all_patches():
            self._patches.enter_context(patch)
        # A local address, not that of an AWS host: moto takes the service from the signature
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        moto_api_backend.reset()  # the account may be the second one of this process
        self.region(REGION)
        for name in PLACES:
            self.client("ec2", name).enable_ebs_encryption_by_default()
        # Where nothing is known, so that the receiver's empty answer is the right one
        audit = {"AUDIT_URL": f"{self.receiver.url}/v1/query"}
        self.build = CodeBuild(
            folder / "builds",
            lambda role: self.credentials(self.access.key(role)) | builds() | audit,
            self.cloudformation,
        )
        self.build.connect(self.access, self.acting)
        self.pipeline.connect(self.build, self.access, self.acting)

    def region(self, name):
        """The services in a region, created at the first access."""
        with self._making:
            if name not in self._regions:
                self._regions[name] = Region(name, self._folder / name, self)
            return self._regions[name]

    @property
    def regions(self):
        """The regions that were used so far."""
        return list(self._regions.values())

    @property
    def beanstalk(self):
        """That of the home region, like the next four."""
        return self.region(REGION).beanstalk

    @property
    def registry(self):
        return self.region(REGION).registry

    @property
    def images(self):
        return self.region(REGION).images

    @property
    def cloudwatch(self):
        return self.region(REGION).cloudwatch

    @property
    def events(self):
        return self.region(REGION).events

    def find_backup(self, region):
        """AWS Backup in ``region``, or None if the region does not respond."""
        return None if region in self.lost else self.region(region).backup

    def find_registry(self, region):
        """The registry in ``region``, or None if the region does not respond."""
        return None if region in self.lost else self.region(region).registry

    def lose(self, region):
        """Take a region down: its endpoints, and all of its containers."""
        self.lost.add(region)
        for container in self.region(region).containers():
            pause = functools.partial(docker, "pause", container, check=False)
            # A process that writes to a busy disk cannot be frozen before that is done
            wait_for(lambda pause=pause: not pause().returncode, why=pause)

    def return_(self, region):
        """Bring the region back, as it was."""
        for container in self.region(region).containers():
            docker("unpause", container)
        self.lost.remove(region)

    def environment(self):
        """The environment variables with which a program finds this cloud, and no other."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "CODEBUILD_", "DOCKER_CONFIG", *OF_MAKE))
        }
        return kept | self.credentials()

    def credentials(self, key=access.OPERATOR):
        """Only the variables about AWS, for whoever has this access ``key``."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_CHATBOT": self.receiver.url,
            "AWS_ENDPOINT_URL_CODECONNECTIONS": self.receiver.url,
            "AWS_MAX_ATTEMPTS": "2",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service, region=REGION, key=access.OPERATOR):
        """A client of boto3, for whoever has this access ``key``."""
        return boto3.client(
            service,
            region,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=SECRET,
        )

    def acting(self, service, role=None, region=REGION):
        """A client with the role of this ARN, or for a service of AWS itself."""
        return self.client(service, region, self.access.key(role) if role else access.AWS)

    def stop(self):
        """Stop everything, whatever state it is in, and undo the patches of moto."""
        with ExitStack() as ending:  # in reverse order, each of them even if another fails
            ending.callback(self._patches.close)
            for region in self._regions.values():
                ending.callback(
                    region.registry.stop
                )  # images can be removed only when no container uses them
            ending.callback(remove_all)
            ending.callback(self.receiver.stop)
            ending.callback(self._server.stop)
            for region in self._regions.values():
                ending.callback(region.beanstalk.stop)
            for region in self.lost:  # what is paused cannot end by itself
                for container in self.region(region).containers():
                    ending.callback(docker, "unpause", container, check=False)

    def _refusing(self):
        """The patch that stops a lost region from responding, its buckets to any region, and services where AWS has none."""
        original = DomainDispatcherApplication.__call__

        def call(application, environ, start_response):
            region, service = find_signed(environ.get("HTTP_AUTHORIZATION", ""))
            if region in LACKING.get(service, ()):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)  # AWS has no such host
                raise ConnectionError
            path = environ["PATH_INFO"]
            where = {region, *(one for one in self.lost if f"-{one}-{ACCOUNT}" in path)}
            if where & self.lost:
                self.refused.append(f"{service} in {region}: {path}")
                start_response("503 Service Unavailable", [("Content-Length", "0")])
                return [b""]
            return original(application, environ, start_response)

        return mock.patch.object(DomainDispatcherApplication, "__call__", call)

    def _all_patches(self):
        def of(kind, attribute):
            return ByRegion(kind.actions, lambda region: getattr(self.region(region), attribute))

        return (
            *self.cloudformation.patches(),
            *self.access.patches(),
            *ecr.patches(lambda region: self.region(region).registry),
            *backup.patches(),
            *subscriptions.patches(),
            # What a template refers to; moto gives the object instead of its name
            mock.patch.object(
                DBSubnetGroup, "physical_resource_id", property(lambda self: self.name), create=True
            ),
            self._refusing(),
            checking(),
            *answer(EBResponse, of(Beanstalk, "beanstalk"), from_query),
            *answer(RDSResponse, of(Databases, "databases"), from_parsed),
            *answer(ELBV2Response, of(LoadBalancers, "balancers"), from_parsed),
            *answer(CloudWatchResponse, of(CloudWatch, "cloudwatch"), from_parsed),
            *answer(SNSResponse, of(Subscriptions, "subscriptions"), from_query),
            *answer(LogsResponse, of(Logs, "logs"), from_json),
            *answer(ECRResponse, of(ecr.Images, "images"), from_json),
            *answer(BackupResponse, of(backup.Backup, "backup"), from_path),
            *answer(ResourceGroupsTaggingAPIResponse, of(Tags, "tags"), from_json),
            *answer(SecretsManagerResponse, of(Replicas, "replicas"), from_json),
            *answer(CodePipelineResponse, self.pipeline, from_json),
            *answer(EC2Response, Defaults(), lambda _: {}),
            *answer(ServiceQuotasResponse, Quotas(), from_json),
        )
