"""The two buckets in S3: Beanstalk's, which has the bundles, and our own, which has the rest.

Ours belongs to the stack that all environments share, and has the locks, the history, and the
records of builds. Other accounts can guess both names, and take them in a region where we have no
bucket yet, so each request names the owner.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from deploy.base.aws import Answer
from deploy.base.context import Run
from deploy.base.errors import AwsFailure, Failure, NotFound

T = TypeVar("T")
BATCH = 1000  # of DeleteObjects


class Missing(NotFound):
    """There is no such bucket in the region."""


@dataclass(frozen=True)
class Bucket:
    """A bucket in the region of ``run``, whether it exists or not.

    Each request raises Missing if it does not, and AwsFailure.
    """

    run: Run
    name: str
    account: str  # its owner
    reason: str  # why it may be missing

    def put(
        self, key: str, body: bytes, shown: Mapping[str, str] | None = None, **condition: Any
    ) -> None:
        """Write the object ``key`` if the ``condition`` is met; ``shown`` is as in Aws.change."""
        put = partial(self.run.aws.change, "s3", "put_object", shown=shown)
        self._call(put, key, Key=key, Body=body, **condition)

    def get(self, key: str) -> Answer:
        """The object ``key``: Body, ETag, LastModified."""
        return self._call(partial(self.run.aws.ask, "s3", "get_object"), key, Key=key)

    def delete(self, key: str, etag: str) -> None:
        """Delete the object ``key``, unless it has another ETag by now."""
        self._call(partial(self.run.aws.change, "s3", "delete_object"), key, Key=key, IfMatch=etag)

    def find_keys(self, prefix: str) -> list[str]:
        """The keys that begin with ``prefix``, sorted."""
        list_ = partial(self.run.aws.every, "s3", "list_objects_v2", "Contents")
        return sorted(one["Key"] for one in self._call(list_, prefix, Prefix=prefix))

    def destroy(self) -> None:
        """Delete the bucket with all versions of its objects. Raises Failure."""
        pages = self._call(partial(self.run.aws.pages, "s3", "list_object_versions"), "")
        kinds = ("Versions", "DeleteMarkers")
        found = [one for page in pages for kind in kinds for one in page.get(kind, [])]
        self.delete_all([{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found])
        self._call(partial(self.run.aws.change, "s3", "delete_bucket"), "")

    def delete_all(self, objects: list[dict[str, str]]) -> None:
        """Delete objects by Key, and for good by VersionId. Raises Failure for one that is left."""
        for begin in range(0, len(objects), BATCH):
            some = objects[begin : begin + BATCH]
            shown = {"Delete": f"({len(some)} objects)"}
            delete = partial(self.run.aws.change, "s3", "delete_objects", shown=shown)
            wanted = {"Objects": some, "Quiet": True}  # which answers with what is left
            left = self._call(delete, "", Delete=wanted).get("Errors")
            if left:
                raise Failure(
                    f"S3 did not delete {len(left)} objects of {self.name}, such as "
                    f"{left[0]['Key']}: {left[0]['Code']}",
                    next="remove the cause, and run it again",
                )

    def _call(self, act: Callable[..., T], key: str, **parameters: Any) -> T:
        try:
            return act(Bucket=self.name, **parameters, ExpectedBucketOwner=self.account)
        except AwsFailure as failure:
            if failure.code != "NoSuchBucket":
                raise
            raise Missing(
                f"there is no bucket {self.name}: {self.reason}", next=self._remedy(key)
            ) from failure

    def _remedy(self, key: str) -> str:
        """The command that creates the bucket, for the environment in ``key``, or else any."""
        settings = self.run.settings
        _, _, rest = key.partition(f"/{settings.application}-")
        return settings.elsewhere(f"create {rest.partition('/')[0] or 'staging'}")


def find_records(run: Run) -> Bucket:
    """Our own bucket, as devops/foundation.yml names it. Raises AwsFailure."""
    region, account = run.settings.region, run.aws.account()
    reason = (
        f"the stack {run.settings.foundation} in {region} is missing, or older than this checkout"
    )
    return Bucket(run, f"{run.settings.application}-records-{region}-{account}", account, reason)


def exists(run: Run) -> bool:
    """Whether our own bucket exists in the region of ``run``. Raises AwsFailure."""
    try:
        find_records(run).find_keys("locks/")
    except Missing:
        return False
    return True


def find_bundles(run: Run) -> Bucket:
    """Beanstalk's bucket, by the name that AWS gives it. Raises AwsFailure."""
    region, account = run.settings.region, run.aws.account()
    reason = f"no environment was created in {region} yet"
    return Bucket(run, f"elasticbeanstalk-{region}-{account}", account, reason)


def create_bundles(run: Run) -> None:
    """Create Beanstalk's bucket unless it exists. Raises AwsFailure.

    Not a way to ask for its name: AWS requires permissions to create the bucket and to change its
    settings, which a deployment must not have
    (docs.aws.amazon.com/elasticbeanstalk/latest/api/API_CreateStorageLocation.html).
    """
    run.aws.change("elasticbeanstalk", "create_storage_location")
