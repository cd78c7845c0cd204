"""Which permissions a request needs: an action, a resource, and the values of condition keys.

Which action knows which resource is in the Service Authorization Reference
(docs.aws.amazon.com/service-authorization/latest/reference). Only the services that roles of the templates use are
told here; to any other, a role may send a request only if a policy allows it for all resources.
"""

from moto.core.utils import get_service_model
from moto.s3.models import s3_backends
from moto.secretsmanager.exceptions import SecretNotFoundException
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends

from tests.rehearsal.aws.answers import parameters_of
from tests.support.aws import ACCOUNT, APPLICATION

PREFIXES = {"cloudwatch": "cloudwatch"}  # of actions, where it is not the name in signatures
# S3 has no action of this name
S3_NAMES = {"HeadBucket": "ListBucket"}


def of(response):
    """The permissions that a request needs, to any service but S3."""
    service, operation = response.boto3_service_name, response._get_action()
    model = get_service_model(service)
    prefix = PREFIXES.get(service, model.signing_name)
    place = f"arn:aws:{prefix}:{response.region}:{ACCOUNT}"
    if operation == "GetCallerIdentity":
        return  # docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: no permissions are required
    find = KNOWN.get(service)
    if not find:
        yield f"{prefix}:{operation}", "*", {}
        return
    for action, resource, context in find(operation, parameters_of(response), response.region):
        one = resource if resource.startswith(("arn:", "*")) else f"{place}:{resource}"
        yield action if ":" in action else f"{prefix}:{action}", one, context


def of_s3(response, bucket, key):
    """The permissions that a request to S3 needs, and those for the key of an encrypted bucket."""
    name = response.data["Action"]
    if not bucket:
        yield f"s3:{name}", "*", {}
        return
    arn, found = f"arn:aws:s3:::{bucket}", s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    if not key:
        prefix = response._get_param("prefix")
        yield f"s3:{S3_NAMES.get(name, name)}", arn, {"s3:prefix": prefix} if prefix else {}
        return
    yield f"s3:{name}", f"{arn}/{key}", {}
    # docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: who may not list a bucket is not told what is missing
    if name == "GetObject" and found and key not in found.keys:
        yield "s3:ListBucket", arn, {}
    if found and found.encryption:
        action = "kms:GenerateDataKey" if name == "PutObject" else "kms:Decrypt"
        for one in _keys(found.encryption):
            yield action, _key(one, response.region), {}


def _key(name, region):
    """The ARN of a key, which may be known by its id."""
    return name if name.startswith("arn:") else f"arn:aws:kms:{region}:{ACCOUNT}:key/{name}"


def _keys(value):
    """The keys in a bucket's settings for encryption."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from [one] if name == "KMSMasterKeyID" else _keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from _keys(one)


def _beanstalk(operation, asked, region):
    names = asked.get("EnvironmentNames") or [asked.get("EnvironmentName")]
    labels = asked.get("VersionLabels") or [asked.get("VersionLabel")]
    if any(names):
        found = [f"environment/{APPLICATION}/{one}" for one in names]
    elif operation in ("DescribeEnvironments", "DescribeEvents"):
        found = [f"environment/{APPLICATION}/*"]
    elif any(labels):
        found = [f"applicationversion/{APPLICATION}/{one}" for one in labels]
    elif operation == "DescribeApplicationVersions":
        found = [f"applicationversion/{APPLICATION}/*"]
    elif operation == "DescribeApplications":
        found = [f"application/{APPLICATION}"]
    else:
        found = ["*"]
    return [(operation, one, {}) for one in found]


def _secrets(operation, asked, region):
    """With the permission for the key by which the secret is encrypted, which only Secrets Manager may use."""
    name = asked.get("SecretId", "")
    backend = secretsmanager_backends[ACCOUNT][region]
    try:
        found = backend.describe_secret(name)
    except SecretNotFoundException:
        found = None
    arn = found.arn if found else f"secret:{name}-??????" if name else "*"
    yield operation, arn, {}
    key = getattr(
        found, "kms_key_id", None
    )  # moto's replicas have the key of AWS, open to all of the account
    if operation == "GetSecretValue" and key:
        context = {
            "kms:ViaService": f"secretsmanager.{region}.amazonaws.com",
            "kms:EncryptionContext:SecretARN": arn,
        }
        yield "kms:Decrypt", _key(key, region), context


def _topics(operation, asked, region):
    arn = asked.get("TopicArn", "*")
    yield operation, arn, {}
    topic = sns_backends[ACCOUNT][region].topics.get(arn)
    if operation == "Publish" and topic and topic.kms_master_key_id:
        for action in ("kms:GenerateDataKey", "kms:Decrypt"):
            yield action, _key(topic.kms_master_key_id, region), {}


def _metrics(operation, asked, region):
    context = {"cloudwatch:namespace": asked["Namespace"]} if operation == "PutMetricData" else {}
    return [(operation, "*", context)]


def _images(operation, asked, region):
    name = asked.get("repositoryName") or (asked.get("repositoryNames") or [""])[0]
    return [(operation, f"repository/{name}" if name else "*", {})]


def _pipelines(operation, asked, region):
    parts = [asked.get(one) for one in ("name", "pipelineName", "stageName", "actionName")]
    return [(operation, "/".join(one for one in parts if one), {})]


def _stacks(operation, asked, region):
    name = asked.get("StackName", "*")
    return [(operation, name if name.startswith("arn:") else f"stack/{name}/*", {})]


def _vaults(operation, asked, region):
    vault = asked.get("BackupVaultName") or asked.get("backupVaultName")
    return [(operation, f"backup-vault:{vault}" if vault else "*", {})]


KNOWN = {
    "backup": _vaults,
    "elasticbeanstalk": _beanstalk,
    "secretsmanager": _secrets,
    "sns": _topics,
    "cloudwatch": _metrics,
    "ecr": _images,
    "codepipeline": _pipelines,
    "cloudformation": _stacks,
}
