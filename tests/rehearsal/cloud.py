"""AWS on loopback: moto for what it knows, a registry for ECR's images, and Beanstalk of our own.

Where moto falls short of AWS in what the deploy script uses, this says so and mends it.
"""

import json
import os
import socket
import time
import urllib.request
from base64 import b64encode
from functools import partialmethod

import bcrypt
import boto3
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.responses import CloudFormationResponse
from moto.codepipeline.responses import CodePipelineResponse
from moto.core.common_models import CloudFormationModel
from moto.core.responses import ActionResult
from moto.ecr.exceptions import ImageNotFoundException
from moto.ecr.models import Repository
from moto.ecr.responses import ECRResponse
from moto.elasticbeanstalk.responses import EBResponse
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.rds.responses import RDSResponse
from moto.secretsmanager.models import secretsmanager_backends

from tests.rehearsal.machines import docker, remove, start
from tests.rehearsal.pipeline import CodePipeline

ACCOUNT, REGION = "123456789012", "eu-west-1"
PASSWORD = f"{ACCOUNT}-auth-token"  # what moto gives for a login to ECR


class Secret(CloudFormationModel):
    """AWS::SecretsManager::Secret, which moto would leave out without a word."""

    def __init__(self, arn):
        self.physical_resource_id = arn

    @staticmethod
    def cloudformation_name_type():
        return "Name"

    @staticmethod
    def cloudformation_type():
        return "AWS::SecretsManager::Secret"

    @classmethod
    def create_from_cloudformation_json(cls, name, cloudformation_json, account_id, region, **_):
        properties = cloudformation_json["Properties"]
        backend = secretsmanager_backends[account_id][region]
        if "SecretString" in properties:
            return cls._create(backend, properties["Name"], properties["SecretString"])
        wanted = properties["GenerateSecretString"]
        no_punctuation = wanted["ExcludePunctuation"] in (True, "true")
        password = backend.get_random_password(
            int(wanted["PasswordLength"]), "", False, no_punctuation, False, False, False, True
        )
        value = json.loads(wanted["SecretStringTemplate"])
        value[wanted["GenerateStringKey"]] = json.loads(password)["RandomPassword"]
        return cls._create(backend, properties["Name"], json.dumps(value))

    @classmethod
    def _create(cls, backend, name, text):
        created = backend.create_secret(name, text, None, None, [], None, None, [], False)
        return cls(json.loads(created)["ARN"])

    @classmethod
    def update_from_cloudformation_json(cls, original_resource, *_):
        return original_resource


class Registry:
    """registry:2 with ECR's user; ECR's answers about images are the registry's."""

    def __init__(self, folder):
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
        (folder / "htpasswd").write_text(f"AWS:{hashed}\n")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.container = start(
            "--publish", f"{self.host}:5000", "--volume", f"{folder}:/auth:ro",
            "--env=REGISTRY_AUTH=htpasswd", "--env=REGISTRY_AUTH_HTPASSWD_REALM=rehearsal",
            "--env=REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd", "registry:2",
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while self._get("/v2/") is None:
            assert time.monotonic() < deadline, docker("logs", self.container).stderr
            time.sleep(0.2)

    def digest(self, repository, tag):
        """The digest of an image, or None."""
        found = self._get(f"/v2/{repository}/manifests/{tag}")
        return found and found.headers["Docker-Content-Digest"]

    def stop(self):
        """Remove it, and what the engine keeps of its images."""
        remove(self.container)
        images = docker("images", "--quiet", "--filter", f"reference={self.host}/*").stdout.split()
        if images:
            docker("rmi", "--force", *set(images), check=False)

    def _get(self, path):
        login = b64encode(f"AWS:{PASSWORD}".encode()).decode()
        kinds = (
            "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
            "application/vnd.docker.distribution.manifest.v2+json"
        )
        request = urllib.request.Request(
            f"http://{self.host}{path}",
            headers={"Authorization": f"Basic {login}", "Accept": kinds},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                return response
        except OSError:
            return None


class Cloud:
    """All of AWS, on one port."""

    def __init__(self, folder, beanstalk, receiver):
        folder.mkdir(parents=True, exist_ok=True)
        self.registry = Registry(folder)
        self.login_password = PASSWORD
        self.beanstalk, self.receiver = beanstalk, receiver
        self.pipeline = None
        self._mend()
        # A local address that is no AWS host's: moto takes the service from the signature
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        beanstalk.connect(self.client, self.login())

    def environment(self):
        """What a program needs to find this cloud."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "CODEBUILD_", "DOCKER_CONFIG"))
        }
        return kept | self.credentials()

    def credentials(self):
        """The part of it that is about AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_CHATBOT": self.receiver.url,
            "AWS_ENDPOINT_URL_CODESTAR_CONNECTIONS": self.receiver.url,
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_MAX_ATTEMPTS": "2",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service):
        return boto3.client(
            service, REGION, endpoint_url=self.url,
            aws_access_key_id="rehearsal", aws_secret_access_key="rehearsal",
        )  # fmt: skip

    def login(self):
        """The command by which an instance logs in to the registry."""
        return f"echo {PASSWORD} | docker login --username AWS --password-stdin {self.registry.host} 2>&1"

    def stop(self):
        self._server.stop()
        self.registry.stop()

    def _mend(self):
        _mend_repositories(self.registry)
        _mend_change_sets()

        def get_authorization_token(response):
            token = b64encode(f"AWS:{self.login_password}".encode()).decode()
            proxy = f"http://{self.registry.host}"
            return ActionResult(
                {"authorizationData": [{"authorizationToken": token, "proxyEndpoint": proxy}]}
            )

        ECRResponse.get_authorization_token = get_authorization_token

        def answer(response, action):
            parameters = dict(response._get_params())
            return ActionResult(getattr(self.beanstalk, action)(**parameters))

        for action in self.beanstalk.actions:
            setattr(EBResponse, action, partialmethod(answer, action))

        def answer_about_pipeline(response, action):
            return ActionResult(getattr(self.pipeline, action)(**json.loads(response.body)))

        def modify_db_instance(response):
            name = response.params["DBInstanceIdentifier"]
            password = response.params["MasterUserPassword"]
            return ActionResult({"DBInstance": self.beanstalk.change_password(name, password)})

        def describe_db_instances(response):
            name = response.params["DBInstanceIdentifier"]
            return ActionResult({"DBInstances": [self.beanstalk.describe_database(name)]})

        RDSResponse.modify_db_instance = modify_db_instance
        RDSResponse.describe_db_instances = describe_db_instances

        for action in CodePipeline.actions:
            setattr(CodePipelineResponse, action, partialmethod(answer_about_pipeline, action))


def _mend_repositories(registry):
    # The repository is where our registry is
    original = Repository.__init__

    def init(repository, *arguments, **keywords):
        original(repository, *arguments, **keywords)
        repository.uri = f"{registry.host}/{repository.name}"

    Repository.__init__ = init

    # What was pushed is known to the registry and not to moto
    def describe_images(response):
        name = response._get_param("repositoryName")
        [wanted] = response._get_param("imageIds")
        tag = wanted["imageTag"]
        digest = registry.digest(name, tag)
        if not digest:
            raise ImageNotFoundException(f"imageTag: {tag}", name, ACCOUNT)
        return ActionResult(
            {"imageDetails": [{"repositoryName": name, "imageDigest": digest, "imageTags": [tag]}]}
        )

    ECRResponse.describe_images = describe_images


def _mend_change_sets():
    # `aws cloudformation deploy` makes a change set, which in moto sees no exports and has no outputs
    execute = CloudFormationBackend.execute_change_set

    def execute_change_set(backend, change_set_name, stack_name=None):
        for stack in backend.stacks.values():
            stack.cross_stack_resources = backend.exports
            stack.resource_map.cross_stack_resources = backend.exports
        execute(backend, change_set_name, stack_name)
        for stack in backend.stacks.values():
            if stack_name in (None, stack.name, stack.stack_id):
                for name in stack.resource_map.resources:
                    stack.resource_map[name]  # made now if its condition has become true
                stack._parse_template()
                stack.output_map = stack._create_output_map()
                backend.exports |= {export.name: export for export in stack.exports}

    CloudFormationBackend.execute_change_set = execute_change_set
    # It refuses an empty change set, where AWS makes one and says so in its status
    CloudFormationResponse._validate_different_update = lambda *_: None
