"""Secrets Manager where moto falls short: a replica that becomes a secret of its own."""

from moto.secretsmanager.models import ReplicaSecret, secretsmanager_backends

from tests.rehearsal.aws.answers import Refused
from tests.support.aws import ACCOUNT


class Replicas:
    """Serves the replicas in ``region``."""

    actions = ("stop_replication_to_replica",)

    def __init__(self, region):
        self._region = region

    def stop_replication_to_replica(self, SecretId):
        backend = secretsmanager_backends[ACCOUNT][self._region]
        replica = backend.secrets.get(SecretId)
        if not isinstance(replica, ReplicaSecret):
            raise Refused("InvalidRequestException", f"{SecretId} is not a replica")
        text = replica.versions[replica.default_version_id]["secret_string"]
        replica.source.replicas.remove(replica)
        dict.pop(backend.secrets, replica.arn)
        backend.create_secret(replica.name, text, None, None, [], None, None, [], False)
        backend.describe_secret(replica.name).arn = replica.arn  # which it keeps
        return {"ARN": replica.arn}
