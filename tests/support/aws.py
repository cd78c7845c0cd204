"""AWS in memory, behind real boto3 clients: requests and responses must have AWS's shapes."""

import hashlib
import itertools
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, ClassVar

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

from deploy.base import settings
from tests.support import cloudwatch
from tests.support.regions import LACKING, MISSING
from tests.support.shapes import find_denial, keep_to_codes, keep_to_limits, keep_to_shape

APPLICATION = settings.load({}).application
STAGING, PROD = f"{APPLICATION}-staging", f"{APPLICATION}-prod"
ACCOUNT, REGION = "123456789012", "eu-west-1"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
CREDENTIALS = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
LOAD_BALANCER = (
    f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/app/awseb-1/0123456789abcdef"
)
TARGET_GROUP = (
    f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/awseb-1/fedcba9876543210"
)
BEGINNING = datetime(2026, 11, 1, tzinfo=UTC)
IMAGE = "application/vnd.oci.image.manifest.v1+json"  # the media type of what is not an index
# One after the other, after a push: https://github.com/alexjurkiewicz/ecr-scan-image/pull/51. The end without findings
# is from https://github.com/aws/aws-sdk/issues/289
SCANS: tuple[tuple[Any, ...], ...] = (
    ("ScanNotFoundException",),
    ("PENDING",),
    ("IN_PROGRESS",),
    ("COMPLETE", {"findings": []}),
    ("COMPLETE", {"findings": [], "imageScanCompletedAt": BEGINNING}),
)


INSTANCE_TYPES = {"t3.micro", "t3.small", "t3a.small", "g4dn.xlarge"}


def bundles(region=REGION):
    """Beanstalk's own bucket in a region."""
    return f"elasticbeanstalk-{region}-{ACCOUNT}"


def records(region=REGION):
    """Our bucket in a region, as devops/foundation.yml names it."""
    return f"{APPLICATION}-records-{region}-{ACCOUNT}"


def digest(label):
    """What the registry says of an image."""
    return f"sha256:{hashlib.sha256(label.encode()).hexdigest()}"


def identify(short):
    """The id that Beanstalk gives to an environment."""
    return f"e-{hashlib.sha256(short.encode()).hexdigest()[:10]}"


def seal(bundle):
    """What a version's description says of its bundle."""
    return f"[bundle sha256:{hashlib.sha256(bundle).hexdigest()}]"


class Refused(Exception):
    """An AWS error, by its code, which must be one of tests/support/shapes.py."""

    def __init__(self, code, message="refused"):
        super().__init__(code, message)
        self.code, self.message = code, message


class FakeAws:
    """One account. Each method named SERVICE_OPERATION implements that operation.

    ``fail`` makes operations fail; ``calls`` has what was asked, as "service:Operation" and the
    parameters.
    """

    _clients: ClassVar[
        dict[Any, Any]
    ] = {}  # they take long to create, and do not depend on the account

    def __init__(self):
        self.calls, self._failures = [], []
        self.versions, self.descriptions, self.images = {}, {}, {}
        self.encrypted, self.hops, self.vcpus, self.vpcs = True, 1, 1000, 5
        self.lacking, self.pending = set(), set()  # services of a region; unconfirmed addresses
        self.listed = None  # the names of the metrics that have data; all of them if None
        self.scans = list(SCANS)  # the responses about them, one after the other
        self.media_type = IMAGE  # of all images
        self.environments, self.events = {}, []
        # Objects: of our bucket
        self.objects, self.stacks, self.secrets = {}, {}, {}
        self.bundles, self.locations = {}, set()  # locations: regions that have Beanstalk's bucket
        self.may_create_buckets = False
        self.applications, self.published, self.approvals = [], [], []
        self.pipeline_states, self.connection = [], "AVAILABLE"
        # Of Slack: those authorised in the console, and by ARN, the same ones in each region
        self.workspaces, self.channels = ["TABCDEF12"], {}
        self.protected = set()  # databases that cannot be deleted
        self.database_ids = {}  # by database; another one has the same name, and another id
        self.databases, self.solution_stacks = (
            {},
            ["64bit Amazon Linux 2023 v4.13.7 running Docker"],
        )
        self.change_sets, self.failing, self.invalid = (
            {},
            {},
            [],
        )  # resources that fail; what is wrong with change sets
        self.logs, self.metrics = {}, []  # log groups, with their retention
        self.lines, self._ids = {}, itertools.count()  # time, id and text, by log group
        # Of home; name: kind, state, description, actions, and what else AWS tells of it
        self.alarms = {}
        self.certificate = {"Status": "ISSUED", "NotAfter": datetime(2999, 1, 1, tzinfo=UTC)}
        self.account, self.region = ACCOUNT, REGION
        self.vaults = {}  # vault: backup: status, time
        self.manual, self.storage = {}, 20  # (region, snapshot): time; GiB of each database
        self.key_state, self.certificates, self.replication = "Enabled", [], []
        self.replicas = set()  # (region, secret)
        self._elsewhere = {}  # (region, kind): the contents of the regions other than home
        self.time = BEGINNING

    # --- What tests say ------------------------------------------------------------------------

    def fail(self, action, code="AccessDenied", times=None, message="refused", when=None):
        """Let ``action`` ("service:Operation") fail with ``code``, or without an answer if None.

        "AccessDenied" becomes the code that the service has for a missing permission.
        ``times`` is how often, always if None; ``when(parameters)`` restricts it.
        """
        self._failures.append([action, code, times, message, when])

    def asked(self, action):
        """The parameters of each call of ``action``."""
        return [parameters for name, parameters in self.calls if name == action]

    def at(self, region, kind):
        """The contents of a region of one kind, such as "versions", by name."""
        if region == REGION:
            return getattr(self, kind)
        return self._elsewhere.setdefault((region, kind), {})

    def _here(self, kind):
        return self.at(self.region, kind)

    def now(self):
        """AWS's clock: a second later each time."""
        self.time += timedelta(seconds=1)
        return self.time

    def add_version(self, *labels, bundle=b"a bundle"):
        """Versions with an image, and a bundle whose hash their descriptions have."""
        for label in labels:
            self.region = REGION
            self.locations.add(REGION)
            self.versions[label] = self.now()
            self.images.setdefault(label, digest(label))
            self.s3_put_object(bundles(), f"{APPLICATION}/{label}.zip", bundle)
            self.descriptions[label] = f"A change {seal(bundle)}"

    def add_environment(self, short, label, **more):
        name = f"{APPLICATION}-{short}"
        self._here("environments")[name] = {
            "status": "Ready",
            "label": label,
            "colour": "Green",
            "health": "Ok",
            "instances": [label, label],
            "cname": f"{short}.elasticbeanstalk.test",
            "id": identify(short),
            "options": [],
            "deployment": "Deployed",
            "platform": self.solution_stacks[0],
            "created": BEGINNING,
        } | more
        return self._here("environments")[name]

    def tell(self, name, message, severity="INFO"):
        """Add an event."""
        self.events.append((self.now(), name, severity, message))

    # --- The way in ----------------------------------------------------------------------------

    def client(self, service, region_name=None, config=None):
        """As of boto3.Session."""
        key = (service, region_name)
        if key not in self._clients:
            self._clients[key] = _create_client(*key)
        self._clients[key].account = self
        return self._clients[key]

    def _answer(self, model, context, request_signer, **_):
        self.region = request_signer.region_name
        service, parameters = model.service_model.service_name, context["parameters"]
        action = f"{service}:{model.name}"
        self.calls.append((action, parameters))
        if self.region in LACKING.get(service, ()):
            raise EndpointConnectionError(endpoint_url=f"https://{service}.{self.region}.aws.test")
        try:
            self._fail_if_told(action, parameters, model.service_model)
            operation = f"{service.replace('-', '_')}_{xform_name(model.name)}"
            answer = getattr(self, operation)(**parameters) or {}
        except Refused as refused:
            keep_to_codes(refused.code, model)
            error = {"Code": refused.code, "Message": refused.message}
            return _Http(400), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}
        keep_to_limits(parameters, model.input_shape)  # of what was not refused
        keep_to_shape(answer, model.output_shape)
        return _Http(200), answer

    def _fail_if_told(self, action, parameters, service):
        for failure in self._failures:
            name, code, times, message, when = failure
            if name != action or times == 0 or (when and not when(parameters)):
                continue
            failure[2] = times and times - 1
            if code is None:
                raise EndpointConnectionError(endpoint_url="https://aws.test")
            raise Refused(find_denial(service) if code == "AccessDenied" else code, message)

    # --- Elastic Beanstalk ---------------------------------------------------------------------

    def elasticbeanstalk_create_storage_location(self):
        """It acts with the caller's permissions: github.com/ingenieux/awseb-deployment-plugin/issues/36."""
        if not self.may_create_buckets:
            what = "You do not have permission to perform the 's3:CreateBucket' action."
            raise Refused("InsufficientPrivilegesException", what)
        self.locations.add(self.region)
        return {"S3Bucket": bundles(self.region)}

    def elasticbeanstalk_create_application(self, ApplicationName):
        if ApplicationName in self.applications:
            raise Refused("InvalidParameterValue", f"Application {ApplicationName} already exists.")
        self.applications.append(ApplicationName)

    def elasticbeanstalk_describe_application_versions(self, ApplicationName, VersionLabels=None):
        found = [
            {
                "ApplicationName": ApplicationName,
                "VersionLabel": label,
                "DateCreated": created,
                "Description": self._here("descriptions").get(label, ""),
                "SourceBundle": {
                    "S3Bucket": bundles(self.region),
                    "S3Key": f"{APPLICATION}/{label}.zip",
                },
            }
            for label, created in self._here("versions").items()
            if VersionLabels is None or label in VersionLabels
        ]
        return {"ApplicationVersions": found}

    def elasticbeanstalk_delete_application_version(self, ApplicationName, VersionLabel, **_):
        del self._here("versions")[VersionLabel]

    def elasticbeanstalk_describe_environments(self, EnvironmentNames=None, **_):
        found = [
            {
                "EnvironmentName": name,
                "Status": one["status"],
                "Health": one["colour"],
                "HealthStatus": one["health"],
                "CNAME": one["cname"],
                "EnvironmentId": one["id"],
                "SolutionStackName": one["platform"],
                "DateCreated": one["created"],
                **({"VersionLabel": one["label"]} if one["label"] else {}),
            }
            for name, one in self._here("environments").items()
            if EnvironmentNames is None or name in EnvironmentNames
        ]
        return {"Environments": found}

    def elasticbeanstalk_describe_instances_health(self, EnvironmentName, **_):
        """A deployment that failed has a label: https://docs.aws.amazon.com/elasticbeanstalk/latest/api/API_Deployment.html"""
        environment = self._environment(EnvironmentName)
        found = [
            {
                "InstanceId": f"i-{number}",
                "Deployment": {"VersionLabel": label, "Status": environment["deployment"]}
                if label
                else {},
            }
            for number, label in enumerate(environment["instances"])
        ]
        return {"InstanceHealthList": found}

    def elasticbeanstalk_describe_events(
        self, EnvironmentName, StartTime=None, MaxRecords=1000, **_
    ):
        self._environment(EnvironmentName)
        found = [
            {"EventDate": at, "EnvironmentName": name, "Severity": severity, "Message": message}
            for at, name, severity, message in reversed(self.events)
            if name == EnvironmentName and (StartTime is None or at >= StartTime)
        ]
        return {"Events": found[:MaxRecords]}

    def elasticbeanstalk_abort_environment_update(self, EnvironmentName):
        self._environment(EnvironmentName)["status"] = "Ready"

    def elasticbeanstalk_create_environment(
        self, EnvironmentName, VersionLabel, OptionSettings=(), **_
    ):
        short = EnvironmentName.removeprefix(f"{APPLICATION}-")
        self.add_environment(short, VersionLabel, options=OptionSettings)
        self.tell(EnvironmentName, f"Successfully launched environment: {EnvironmentName}")
        return {"EnvironmentName": EnvironmentName, "Status": "Launching"}

    def elasticbeanstalk_update_environment(
        self, EnvironmentName, VersionLabel=None, OptionSettings=(), OptionsToRemove=()
    ):
        """Refused by an event once a resource has failed, as in tests/rehearsal/aws/stack.py."""
        environment = self._environment(EnvironmentName)
        stack = f"awseb-{environment['id']}-stack"
        status = self.stacks.get(self._stack(stack), {}).get("status", "")
        if status.endswith("_FAILED"):
            refusal = f"Message:Stack:{stack} is in {status} state and can not be updated."
            self.tell(EnvironmentName, f"Service:AmazonCloudFormation, {refusal}", "ERROR")
            self.tell(EnvironmentName, "Failed to deploy application.", "ERROR")
            return {"EnvironmentName": EnvironmentName, "Status": "Updating"}
        options = {(one["Namespace"], one["OptionName"]): one for one in environment["options"]}
        options |= {(one["Namespace"], one["OptionName"]): one for one in OptionSettings}
        for one in OptionsToRemove:
            options.pop((one["Namespace"], one["OptionName"]))
        environment["options"] = list(options.values())
        if VersionLabel:
            environment |= {
                "label": VersionLabel,
                "instances": [VersionLabel] * 2,
                "deployment": "Deployed",
            }
        self.tell(EnvironmentName, "Environment update completed successfully.")
        return {"EnvironmentName": EnvironmentName, "Status": "Updating"}

    def elasticbeanstalk_describe_configuration_settings(self, ApplicationName, EnvironmentName):
        """Also a draft, where one could not be deployed; nothing for those who may not see it."""
        environment = self._environment(EnvironmentName)
        deployed = {"DeploymentStatus": "deployed", "OptionSettings": environment["options"]}
        drafts = [{"DeploymentStatus": "failed", "OptionSettings": []}]
        return {"ConfigurationSettings": [] if environment.get("hidden") else [*drafts, deployed]}

    def elasticbeanstalk_create_application_version(
        self, ApplicationName, VersionLabel, Description, SourceBundle
    ):
        bundle = {"S3Bucket": bundles(self.region), "S3Key": f"{APPLICATION}/{VersionLabel}.zip"}
        if VersionLabel in self._here("versions"):
            what = f"Application Version {VersionLabel} already exists."
            raise Refused("InvalidParameterValue", what)
        assert SourceBundle == bundle
        assert bundle["S3Key"] in self._here("bundles")
        assert len(Description) <= 200
        self._here("versions")[VersionLabel] = self.now()
        self._here("descriptions")[VersionLabel] = Description

    def elasticbeanstalk_list_available_solution_stacks(self):
        return {"SolutionStacks": self.solution_stacks}

    def elasticbeanstalk_describe_environment_resources(self, EnvironmentName):
        self._environment(EnvironmentName)
        found = {
            "EnvironmentName": EnvironmentName,
            "LoadBalancers": [{"Name": LOAD_BALANCER}],
            "AutoScalingGroups": [{"Name": f"awseb-{EnvironmentName}"}],
        }
        return {"EnvironmentResources": found}

    def elbv2_describe_target_groups(self, LoadBalancerArn):
        assert LoadBalancerArn == LOAD_BALANCER
        return {"TargetGroups": [{"TargetGroupArn": TARGET_GROUP}]}

    def _environment(self, name):
        if name not in self._here("environments"):
            raise Refused("InvalidParameterValue", f"No Environment found for '{name}'.")
        return self._here("environments")[name]

    # --- Images --------------------------------------------------------------------------------

    def ecr_describe_repositories(self, repositoryNames):
        uri = f"{REGISTRY.replace(REGION, self.region)}/{repositoryNames[0]}"
        return {"repositories": [{"repositoryName": repositoryNames[0], "repositoryUri": uri}]}

    def ecr_describe_images(self, repositoryName, imageIds):
        label = imageIds[0]["imageTag"]
        if label not in self._here("images"):
            raise Refused("ImageNotFoundException", f"no image {label}")
        found = {
            "imageDigest": self._here("images")[label],
            "imageTags": [label],
            "imageManifestMediaType": self.media_type,
        }
        return {"imageDetails": [found]}

    def ecr_describe_registry(self):
        return {"replicationConfiguration": {"rules": self.replication}}

    def ecr_get_authorization_token(self):
        token = b64encode(b"AWS:a-token").decode()
        return {"authorizationData": [{"authorizationToken": token}]}

    # --- S3 ------------------------------------------------------------------------------------

    def s3_put_object(self, Bucket, Key, Body=b"", IfNoneMatch=None, **_):
        objects = self._objects(Bucket)
        if IfNoneMatch and Key in objects:
            raise Refused("PreconditionFailed")
        content = Body if isinstance(Body, bytes) else Body.read()
        etag = f'"{hashlib.md5(content + str(self.now()).encode()).hexdigest()}"'
        objects[Key] = {"content": content, "etag": etag, "at": self.time}
        return {"ETag": etag}

    def _objects(self, name):
        """Of a bucket, which must be asked in its own region."""
        if name == records(self.region):
            stack = self.stacks.get(self._stack(f"{APPLICATION}-foundation"), {})
            kind, exists = "objects", stack.get("status", "").endswith("_COMPLETE")
        else:
            assert name == bundles(self.region)
            kind, exists = "bundles", self.region in self.locations
        if not exists:
            raise Refused("NoSuchBucket", "The specified bucket does not exist")
        return self._here(kind)

    def s3_get_object(self, Bucket, Key, **_):
        objects = self._objects(Bucket)
        if Key not in objects:
            raise Refused("NoSuchKey")
        found = objects[Key]
        body = BytesIO(found["content"])
        return {"Body": body, "ETag": found["etag"], "LastModified": found["at"]}

    def s3_delete_object(self, Bucket, Key, IfMatch=None, **_):
        objects = self._objects(Bucket)
        if IfMatch and Key not in objects:
            raise Refused("NoSuchKey")
        if IfMatch and objects[Key]["etag"] != IfMatch:
            raise Refused("PreconditionFailed")
        objects.pop(Key, None)

    def s3_list_objects_v2(self, Bucket, Prefix, ContinuationToken=None, **_):
        """In pages of two, so that a caller that reads only one page is detected."""
        keys = [key for key in sorted(self._objects(Bucket)) if key.startswith(Prefix)]
        begin = int(ContinuationToken or 0)
        more: dict[str, Any] = {"IsTruncated": False}
        if begin + 2 < len(keys):
            more = {"IsTruncated": True, "NextContinuationToken": str(begin + 2)}
        return {"Contents": [{"Key": key} for key in keys[begin : begin + 2]], **more}

    # --- CloudFormation: in another region than home, a stack's key begins with the region ------
    # An operation goes a step further with each answer about its stack; the first answer is still that of before.
    # tests/rehearsal/aws/stacks.py does the same with real resources, and has the sources of states and texts

    def fail_resource(self, stack, resource, reason):
        """Let a resource fail whenever a stack, by its key, is created or updated; without one, the stack itself."""
        self.failing[stack] = resource, reason

    def _stack(self, name):
        """The key of a stack, by its name or its id."""
        name = name.removeprefix("arn:stack/")
        return name if self.region == REGION else f"{self.region}/{name}"

    def _known(self, name):
        if self._stack(name) not in self.stacks:
            raise Refused("ValidationError", f"Stack with id {name} does not exist")
        return self.stacks[self._stack(name)]

    def cloudformation_describe_stacks(self, StackName):
        coming = self._known(StackName).get("coming")
        if coming:
            coming.pop(0)()
        stack = self._known(StackName)
        outputs = [{"OutputKey": k, "OutputValue": v} for k, v in stack["outputs"].items()]
        given = stack.get("parameters", {})
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()]
        described = {
            "StackName": StackName,
            "StackStatus": stack["status"],
            "Outputs": outputs,
            "StackId": f"arn:stack/{StackName}",
            "CreationTime": BEGINNING,
            "Parameters": parameters,
        }
        return {"Stacks": [described]}

    def cloudformation_create_change_set(self, StackName, ChangeSetName, ChangeSetType, **more):
        for kind, regions in MISSING.items():
            if f"Type: {kind}\n" in more["TemplateBody"] and self.region in regions:
                reason = f"Template format error: Unrecognized resource types: [{kind}]"
                raise Refused("ValidationError", reason)
        identity = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:changeSet/{ChangeSetName}"
        if ChangeSetType == "CREATE":
            before = self.stacks.get(self._stack(StackName))  # of a run that was interrupted
            if before not in (None, {"status": "REVIEW_IN_PROGRESS", "outputs": {}}):
                what = f"already exists and cannot be created again with the changeSet [{ChangeSetName}]."
                raise Refused("ValidationError", f"Stack [{StackName}] {what}")
            self.stacks[self._stack(StackName)] = {"status": "REVIEW_IN_PROGRESS", "outputs": {}}
        before = self.stacks[self._stack(StackName)].get("parameters", {})
        parameters = {
            one["ParameterKey"]: before[one["ParameterKey"]]
            if one.get("UsePreviousValue")
            else one["ParameterValue"]
            for one in more["Parameters"]
        }
        self.change_sets[identity] = {
            "ChangeSetId": identity,
            "ChangeSetName": ChangeSetName,
            "StackName": self._stack(StackName),
            "Status": "CREATE_COMPLETE",
            "changed": parameters,
            "template": more["TemplateBody"],
            "before": ["CREATE_PENDING", "CREATE_IN_PROGRESS"],
            "Changes": [
                {
                    "Type": "Resource",
                    "ResourceChange": {
                        "Action": "Add",
                        "LogicalResourceId": "Topic",
                        "ResourceType": "AWS::SNS::Topic",
                    },
                }
            ],
        }
        if self.stacks[self._stack(StackName)].get("parameters") == parameters:
            self.change_sets[identity] |= {
                "Status": "FAILED",
                "StatusReason": "The submitted information didn't contain changes.",
                "Changes": [],
            }
        return {"Id": identity}

    def cloudformation_describe_change_set(self, ChangeSetName, NextToken=None):
        """In two pages, the first of which has no changes; at first it is not complete."""
        found = dict(self.change_sets[ChangeSetName])
        del found["changed"], found["template"]
        found["StackName"] = found["StackName"].rpartition("/")[2]
        if before := found.pop("before"):
            return found | {"Status": before.pop(0), "StatusReason": "", "Changes": []}
        if found["Changes"] and not NextToken:
            return found | {"Changes": [], "NextToken": "more"}
        return found

    def cloudformation_describe_events(self, ChangeSetName, Filters, NextToken=None):
        """Of change sets that are not valid, in two pages, the first of which is empty."""
        assert Filters == {"FailedEvents": True}
        if not NextToken:
            return {"OperationEvents": [], "NextToken": "more"}
        return {"OperationEvents": self.invalid}

    def begin(self, change_set, token):
        """The stack of a change set that is executed, with the event that says so."""
        name = self.change_sets.pop(change_set)["StackName"]
        verb = "CREATE" if self.stacks[name]["status"] == "REVIEW_IN_PROGRESS" else "UPDATE"
        self.happen(name, "", f"{verb}_IN_PROGRESS", token)
        return self.stacks[name]

    def happen(self, stack, resource, status, token=None, reason=""):
        """An event of a stack: its own, if no ``resource`` is given, whose status is then the stack's."""
        name = stack.rpartition("/")[2]
        if not resource:
            self.stacks[stack]["status"] = status
        self.stacks[stack].setdefault("events", []).insert(
            0,
            {
                "StackId": "x",
                "EventId": "1",
                "StackName": name,
                "Timestamp": self.now(),
                "LogicalResourceId": resource or name,
                "ResourceStatus": status,
                **({"ResourceStatusReason": reason} if reason else {}),
                **({"ClientRequestToken": token} if token else {}),
            },
        )

    def cloudformation_execute_change_set(self, ChangeSetName, ClientRequestToken):
        change, token = self.change_sets[ChangeSetName], ClientRequestToken
        key = change["StackName"]
        resource, reason = self.failing.get(key, (None, None))
        steps = [lambda: None, lambda: self.begin(ChangeSetName, token)]
        if reason:
            steps += [
                lambda: self._roll_back(key, resource, reason, token),
                lambda: self.happen(
                    key, "", self.stacks[key]["status"].replace("IN_PROGRESS", "COMPLETE"), token
                ),
            ]
        else:
            steps.append(lambda: self._complete(change, token))
        self.stacks[key]["coming"] = steps

    def _roll_back(self, stack, resource, reason, token):
        """After the failure of a resource, others are cancelled; the newest event comes first."""
        verb = self.stacks[stack]["status"].removesuffix("_IN_PROGRESS")
        if resource:
            self.happen(stack, resource, f"{verb}_FAILED", token, reason)
            self.happen(stack, "Other", f"{verb}_FAILED", token, "Resource creation cancelled")
            reason = f"The following resource(s) failed: [{resource}, Other]. "
        rolled = {"CREATE": "ROLLBACK", "UPDATE": "UPDATE_ROLLBACK"}[verb]
        self.happen(stack, "", f"{rolled}_IN_PROGRESS", token, reason)

    def _complete(self, change, token):
        stack = self.stacks[change["StackName"]]
        verb = stack["status"].removesuffix("_IN_PROGRESS")
        self.happen(change["StackName"], "", f"{verb}_COMPLETE", token)
        name = change["StackName"].rpartition("/")[2]
        stack |= {
            "parameters": change["changed"],
            "outputs": self._outputs(name, change["changed"]),
        }
        if PULL_REQUEST_TOKEN in stack["outputs"].values():
            self.secrets.setdefault(PULL_REQUEST_TOKEN, {"Token": ""})

    def _outputs(self, name, parameters):
        if "Network" in parameters:  # an environment, whatever its name
            given = {key: parameters.get(key, "") for key in ("Certificate", "PublicName")}
            own = OUTPUTS.get(name) or {
                key: value.replace("secret:x", f"secret:{name}")
                for key, value in OUTPUTS[f"{APPLICATION}-prod"].items()
            }
            return {key: value.replace(REGION, self.region) for key, value in own.items()} | given
        if name.endswith("-probe"):
            topic = f"arn:aws:sns:{self.region}:{ACCOUNT}:{name}-Topic-1"
            return {"PublicName": parameters["PublicName"], "Topic": topic}
        return OUTPUTS.get(name) or vault_outputs(name, self.region)

    def cloudformation_delete_change_set(self, ChangeSetName):
        del self.change_sets[ChangeSetName]

    def cloudformation_delete_stack(self, StackName, ClientRequestToken=None):
        key = self._stack(StackName)
        for identity, one in list(self.change_sets.items()):
            if one["StackName"] == key:
                del self.change_sets[identity]
        if self.stacks[key]["status"] == "REVIEW_IN_PROGRESS":  # nothing to delete
            del self.stacks[key]
            return
        self.stacks[key]["coming"] = [
            lambda: None,
            lambda: self.happen(key, "", "DELETE_IN_PROGRESS", ClientRequestToken),
            lambda: self.stacks.pop(key),
        ]

    def cloudformation_describe_stack_events(self, StackName):
        return {"StackEvents": self._known(StackName).get("events", [])}

    # --- Backups: by region --------------------------------------------------------------------

    def backup_list_backup_vaults(self, NextToken=None):
        """In two pages, the first of which is empty."""
        names = [{"BackupVaultName": one} for one in self.vaults if one.endswith(f"-{self.region}")]
        return (
            {"BackupVaultList": names} if NextToken else {"BackupVaultList": [], "NextToken": "x"}
        )

    def backup_list_recovery_points_by_backup_vault(
        self, BackupVaultName, ByResourceType, NextToken=None
    ):
        """In two pages, the first of which is empty."""
        assert ByResourceType == "RDS"
        if BackupVaultName not in self.vaults:
            # Not "not found": github.com/boto/boto3/issues/2269
            raise Refused(
                "AccessDeniedException", "Insufficient privileges to perform this action."
            )
        assert BackupVaultName.endswith(f"-{self.region}")
        if not NextToken:
            return {"RecoveryPoints": [], "NextToken": "more"}
        found = [
            {
                "RecoveryPointArn": f"arn:aws:rds:{self.region}:{ACCOUNT}:snapshot:{identifier}",
                "Status": status,
                "CreationDate": at,
                "CalculatedLifecycle": {"DeleteAt": BEGINNING + timedelta(days=60)},
            }
            for identifier, (status, at) in self.vaults[BackupVaultName].items()
        ]
        return {"RecoveryPoints": found}

    def rds_describe_db_snapshots(
        self, SnapshotType, DBSnapshotIdentifier=None, DBInstanceIdentifier=None
    ):
        kept = {
            identifier: (at, status)
            for name, points in self.vaults.items()
            for identifier, (status, at) in points.items()
            if name.endswith(f"-{self.region}")
        }
        if SnapshotType == "manual":
            kept = {
                name: (at, "COMPLETED")
                for (region, name), at in self.manual.items()
                if region == self.region
            }
        if DBSnapshotIdentifier:
            if DBSnapshotIdentifier not in kept:
                raise Refused("DBSnapshotNotFound")
            kept = {DBSnapshotIdentifier: kept[DBSnapshotIdentifier]}
        found = [
            {
                "DBSnapshotIdentifier": identifier,
                "AllocatedStorage": self.storage,
                "KmsKeyId": f"arn:aws:kms:{self.region}:{ACCOUNT}:key/abcd",
                "PercentProgress": 40,
                "Status": "available" if status == "COMPLETED" else "creating",
                "OriginalSnapshotCreateTime": at,
                "SnapshotCreateTime": self.now(),
            }
            for identifier, (at, status) in kept.items()
        ]
        return {"DBSnapshots": found}

    def rds_copy_db_snapshot(self, SourceDBSnapshotIdentifier, TargetDBSnapshotIdentifier):
        if (self.region, TargetDBSnapshotIdentifier) in self.manual:
            raise Refused("DBSnapshotAlreadyExists")
        [source] = self.rds_describe_db_snapshots("awsbackup", SourceDBSnapshotIdentifier)[
            "DBSnapshots"
        ]
        at = source["OriginalSnapshotCreateTime"]
        self.manual[self.region, TargetDBSnapshotIdentifier] = at

    def kms_describe_key(self, KeyId):
        return {"KeyMetadata": {"KeyId": KeyId, "KeyState": self.key_state}}

    # --- CloudWatch ----------------------------------------------------------------------------

    def logs_describe_log_groups(self, logGroupNamePrefix):
        found = [
            {"logGroupName": name} for name in self.logs if name.startswith(logGroupNamePrefix)
        ]
        return {"logGroups": found}

    def add_line(self, group, text, ago=0):
        """A line of a log, written ``ago`` seconds before now, which the clock on the wall says."""
        at = int((datetime.now(UTC) - timedelta(seconds=ago)).timestamp() * 1000)
        self.logs.setdefault(group, None)
        self.lines.setdefault(group, []).append((at, f"id-{next(self._ids):06}", text))

    def logs_filter_log_events(
        self,
        logGroupName,
        startTime,
        filterPattern="",
        startFromHead=True,
        limit=10_000,
        nextToken=None,
    ):
        """In pages of two, and the first one is empty, as the documentation of the operation announces."""
        if logGroupName not in self.logs:
            raise Refused("ResourceNotFoundException", "The specified log group does not exist.")
        found = sorted(
            one
            for one in self.lines.get(logGroupName, [])
            if one[0] >= startTime and cloudwatch.matches(filterPattern, one[2])
        )
        if not startFromHead:
            found.reverse()
        if nextToken is None:
            return {"events": [], "nextToken": "0"}
        begin, size = int(nextToken), min(2, limit)
        events = [
            {"timestamp": at, "eventId": identity, "message": text, "logStreamName": "i-1"}
            for at, identity, text in found[begin : begin + size]
        ]
        more = {"nextToken": str(begin + size)} if begin + size < len(found) else {}
        return {"events": events} | more

    def logs_create_log_group(self, logGroupName):
        if logGroupName in self.logs:
            raise Refused("ResourceAlreadyExistsException")
        self.logs[logGroupName] = None

    def logs_put_retention_policy(self, logGroupName, retentionInDays):
        self.logs[logGroupName] = retentionInDays

    def cloudwatch_describe_alarms(self, AlarmNamePrefix, AlarmTypes, NextToken=None):
        """In two pages, the first of which has no metric alarms."""
        kinds: dict[str, list[Any]] = {"MetricAlarm": [], "CompositeAlarm": []}
        for name, (kind, alarm_state, description, actions, *more) in self._here("alarms").items():
            if name.startswith(AlarmNamePrefix):
                kinds[kind].append(
                    {
                        "AlarmName": name,
                        "StateValue": alarm_state,
                        "AlarmDescription": description,
                        "AlarmActions": actions,
                        "StateUpdatedTimestamp": BEGINNING,
                    }
                    | (more[0] if more else {})
                )
        assert set(AlarmTypes) == set(kinds)
        if not NextToken:
            return {"CompositeAlarms": kinds["CompositeAlarm"], "NextToken": "more"}
        return {"MetricAlarms": kinds["MetricAlarm"]}

    def cloudwatch_list_metrics(self, Namespace, MetricName, Dimensions=(), NextToken=None):
        """In two pages, the first of which is empty."""
        if not NextToken:
            return {"Metrics": [], "NextToken": "more"}
        is_there = self.listed is None or MetricName in self.listed
        found = {"Namespace": Namespace, "MetricName": MetricName, "Dimensions": list(Dimensions)}
        return {"Metrics": [found] if is_there else []}

    def acm_describe_certificate(self, CertificateArn):
        return {"Certificate": {"CertificateArn": CertificateArn} | self.certificate}

    def acm_list_certificates(self, CertificateStatuses):
        assert CertificateStatuses == ["ISSUED"]
        return {"CertificateSummaryList": self.certificates}

    def cloudwatch_put_metric_data(self, Namespace, MetricData):
        self.metrics += [(Namespace, one["MetricName"], one["Value"]) for one in MetricData]

    # --- The rest ------------------------------------------------------------------------------

    def ecr_describe_image_scan_findings(self, repositoryName, imageId, nextToken=None):
        """In two pages, the first of which has the status only. An index is not scanned:
        https://github.com/alexjurkiewicz/ecr-scan-image/issues/43"""
        if imageId["imageDigest"] not in self._here("images").values():
            raise Refused("ImageNotFoundException")
        if self.media_type != IMAGE:
            raise Refused("ScanNotFoundException")
        status, *findings = self.scans.pop(0) if len(self.scans) > 1 else self.scans[0]
        if status == "ScanNotFoundException":
            raise Refused(status, "Image scan does not exist")
        answer = {"imageScanStatus": {"status": status, "description": "as asked for"}}
        if nextToken or not findings:
            return answer | {"imageScanFindings": findings[0] if findings else {}}
        self.scans.insert(0, (status, *findings))
        return answer | {"nextToken": "more"}

    def ec2_get_ebs_encryption_by_default(self):
        return {"EbsEncryptionByDefault": self.encrypted}

    def ec2_get_instance_metadata_defaults(self):
        return {"AccountLevel": {"HttpPutResponseHopLimit": self.hops} if self.hops else {}}

    def ec2_describe_instance_types(self, InstanceTypes):
        """All types have two vCPUs. The error: github.com/scylladb/scylla-cluster-tests/issues/12419."""
        if unknown := sorted(set(InstanceTypes) - INSTANCE_TYPES):
            what = f"The following supplied instance types do not exist: [{', '.join(unknown)}]"
            raise Refused("InvalidInstanceType", what)
        found = [{"InstanceType": one, "VCpuInfo": {"DefaultVCpus": 2}} for one in InstanceTypes]
        return {"InstanceTypes": found}

    def service_quotas_get_service_quota(self, ServiceCode, QuotaCode):
        """Each code is of one service: https://docs.aws.amazon.com/general/latest/gr/vpc-service.html"""
        values = {("ec2", "L-1216C47A"): self.vcpus, ("vpc", "L-F678F1CE"): self.vpcs}
        value = float(values[ServiceCode, QuotaCode])
        return {"Quota": {"QuotaCode": QuotaCode, "Value": value}}

    def ec2_describe_vpcs(self, NextToken=None):
        """The default one, and those of the environments' stacks; the first page is empty."""
        if not NextToken:
            return {"Vpcs": [], "NextToken": "more"}
        own = [
            one for one in self.stacks if one in {f"{APPLICATION}-staging", f"{APPLICATION}-prod"}
        ]
        return {"Vpcs": [{"VpcId": "vpc-0"}, *({"VpcId": f"vpc-{one}"} for one in own)]}

    def ssm_get_parameters(self, Names):
        """What moto has of https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-global-infrastructure.html"""
        assert len(Names) <= 10
        found = [
            name for name in Names if not {name, name.rpartition("/regions/")[0]} & self.lacking
        ]
        parameters = [{"Name": name, "Value": name.rpartition("/")[2]} for name in found]
        rest = sorted(set(Names) - set(found))
        return {"Parameters": parameters} | ({"InvalidParameters": rest} if rest else {})

    def sts_get_caller_identity(self):
        return {"Account": self.account, "Arn": f"arn:aws:iam::{self.account}:user/somebody"}

    def secretsmanager_get_secret_value(self, SecretId):
        secrets, name = self._here("secrets"), self._secret(SecretId)
        if name not in secrets:
            raise Refused("ResourceNotFoundException")
        return {"SecretString": json.dumps(secrets[name])}

    def secretsmanager_list_secrets(self, Filters, IncludePlannedDeletion, NextToken=None):
        """In two pages, the first of which is empty."""
        assert IncludePlannedDeletion
        if not NextToken:
            return {"SecretList": [], "NextToken": "more"}
        [prefix] = Filters[0]["Values"]
        names = [one for one in self._here("secrets") if one.startswith(prefix)]
        return {"SecretList": [{"Name": one} for one in names]}

    def secretsmanager_put_secret_value(self, SecretId, SecretString, **_):
        self._here("secrets")[self._secret(SecretId)] = json.loads(SecretString)

    @staticmethod
    def _secret(identity):
        """The name of a secret; the ARN of those whose environment has none in it."""
        name = identity.partition(":secret:")[2].removesuffix("-AbCdEf")
        return name if name and not name.startswith("x/") else identity

    def secretsmanager_describe_secret(self, SecretId):
        if SecretId not in self._here("secrets"):
            raise Refused("ResourceNotFoundException")
        arn = f"arn:aws:secretsmanager:{self.region}:{ACCOUNT}:secret:{SecretId}-AbCdEf"
        primary = {"PrimaryRegion": REGION} if (self.region, SecretId) in self.replicas else {}
        return {"ARN": arn, "Name": SecretId} | primary

    def secretsmanager_stop_replication_to_replica(self, SecretId):
        name = SecretId.partition(":secret:")[2].removesuffix("-AbCdEf")
        self.replicas.remove((self.region, name))
        return {"ARN": SecretId}

    def secretsmanager_get_random_password(self, PasswordLength, ExcludePunctuation):
        assert (PasswordLength, ExcludePunctuation) == (40, True)
        return {"RandomPassword": "new-one"}

    def rds_modify_db_instance(self, DBInstanceIdentifier, MasterUserPassword, ApplyImmediately):
        assert ApplyImmediately
        self.databases[DBInstanceIdentifier] = MasterUserPassword

    def rds_describe_db_instances(self, DBInstanceIdentifier):
        found = {
            "DBInstanceIdentifier": DBInstanceIdentifier,
            "DBInstanceStatus": "available",
            "PendingModifiedValues": {},
            "InstanceCreateTime": BEGINNING,
            "DbiResourceId": self.database_ids.get(DBInstanceIdentifier, "db-FIRST"),
            "DeletionProtection": DBInstanceIdentifier in self.protected,
        }
        return {"DBInstances": [found]}

    def sns_list_subscriptions_by_topic(self, TopicArn, NextToken=None):
        """In two pages, the first of which is empty. An unconfirmed one has no ARN:
        https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html"""
        if not NextToken:
            return {"Subscriptions": [], "NextToken": "more"}
        address = "chief@greetings.test" if "escalation" in TopicArn else "team@greetings.test"
        arn = "PendingConfirmation" if address in self.pending else f"{TopicArn}:1"
        return {
            "Subscriptions": [{"SubscriptionArn": arn, "Protocol": "email", "Endpoint": address}]
        }

    def sns_publish(self, **message):
        self.published.append(message)
        return {"MessageId": "1"}

    def codepipeline_get_pipeline_state(self, name):
        assert name == APPLICATION
        states = self.pipeline_states
        if not states:
            raise Refused("PipelineNotFoundException", "there is no pipeline")
        return states.pop(0) if len(states) > 1 else states[0]

    def codepipeline_put_approval_result(self, **result):
        self.approvals.append(result)

    def codeconnections_get_connection(self, ConnectionArn):
        """Of the new ARNs only; whether the old API, codestar-connections, knows them is not documented."""
        return {"Connection": {"ConnectionArn": ConnectionArn, "ConnectionStatus": self.connection}}

    def chatbot_describe_slack_workspaces(self, **_):
        found = [{"SlackTeamId": one, "SlackTeamName": "Greeters"} for one in self.workspaces]
        return {"SlackWorkspaces": found}

    def chatbot_describe_slack_channel_configurations(self, NextToken=None, **_):
        """In two pages, the first of which is empty."""
        if not NextToken:
            return {"SlackChannelConfigurations": [], "NextToken": "more"}
        return {"SlackChannelConfigurations": list(self.channels.values())}

    def chatbot_create_slack_channel_configuration(self, **asked):
        """The refusals are from https://github.com/cloudcomponents/cdk-constructs/issues/92, and from pull request 11 of
        https://github.com/aws-samples/aws-securityhub-to-slack."""
        channel, name = asked["SlackChannelId"], asked["ConfigurationName"]
        for one in self.channels.values():
            if one["SlackChannelId"] == channel:
                reason = f"Slack channel with ID {channel} has already been configured for AWS account {ACCOUNT}"
                raise Refused("InvalidRequestException", reason)
            if one["ConfigurationName"] == name:
                reason = f"The chat configuration with the name {name} already exists"
                raise Refused("ConflictException", reason)
        arn = f"arn:aws:chatbot::{ACCOUNT}:chat-configuration/slack-channel/{name}"
        named = {
            "ChatConfigurationArn": arn,
            "SlackTeamName": "Greeters",
            "SlackChannelName": "one",
        }
        self.channels[arn] = asked | named
        return {"ChannelConfiguration": self.channels[arn]}

    def chatbot_update_slack_channel_configuration(self, ChatConfigurationArn, **asked):
        self.channels[ChatConfigurationArn] |= asked
        return {"ChannelConfiguration": self.channels[ChatConfigurationArn]}

    def chatbot_delete_slack_channel_configuration(self, ChatConfigurationArn):
        del self.channels[ChatConfigurationArn]


# What the stacks have, once they were made
PULL_REQUEST_TOKEN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:x/pull-requests-AbCdEf"
OUTPUTS = {
    f"{APPLICATION}-foundation": {
        "DeploymentsTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:deployments",
        "OperationsTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:operations",
        "EscalationTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:escalation",
        "ServiceRole": f"{APPLICATION}-service",
        "MonitoringRole": f"arn:aws:iam::{ACCOUNT}:role/monitoring",
        "ImagesArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{APPLICATION}",
        "TopicKey": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/5678",
    },
    f"{APPLICATION}-pipeline": {
        "Connection": f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/1",
        "PullRequestToken": PULL_REQUEST_TOKEN,
    },
    "slack-notifications": {"Role": f"arn:aws:iam::{ACCOUNT}:role/slack-notifications"},
    f"{APPLICATION}-staging-operations": {"LoadBalancer": "app/awseb-1/0123456789abcdef"},
    f"{APPLICATION}-prod-operations": {"LoadBalancer": "app/awseb-1/0123456789abcdef"},
} | {
    f"{APPLICATION}-{short}": {
        "InstanceProfile": f"{APPLICATION}-instance",
        "Vpc": "vpc-1234567890abcdef0",
        "PublicSubnets": "subnet-1,subnet-2",
        "DatabaseSubnetGroup": "database",
        "DatabaseSecret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:x/database-AbCdEf",
        "ApplicationSecret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:x/application-AbCdEf",
        "SmokeTestSecret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:x/smoke-test-AbCdEf",
        "Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234",
        "Certificate": "",
        "PublicName": "",
    }
    for short in ("staging", "prod")
}


def vault_outputs(name, region):
    """The outputs of a stack of devops/vault.yml; none of any other."""
    if not name.endswith("-vault"):
        return {}
    vault = f"{name.removesuffix('-vault')}-{region}"
    return {
        "Vault": vault,
        "VaultArn": f"arn:aws:backup:{region}:{ACCOUNT}:backup-vault:{vault}",
        "Key": f"arn:aws:kms:{region}:{ACCOUNT}:key/abcd",
        "KeptDays": "35",
    }


def _create_client(service, region_name):
    """A client whose calls its ``account`` answers."""
    # With a user agent of its own, botocore does not compose one for each call
    agent = Config(user_agent="tests")
    client = boto3.client(service, region_name, config=agent, **CREDENTIALS)

    def remember(params, context, **_):
        context["parameters"] = params

    def answer(**call):
        return client.account._answer(**call)

    client.meta.events.register("before-parameter-build", remember)
    client.meta.events.register("before-call", answer)
    return client


class _Http:
    """The parts of an HTTP response that botocore uses."""

    def __init__(self, status_code):
        self.status_code = status_code
