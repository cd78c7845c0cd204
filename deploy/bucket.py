"""Beanstalk's own bucket, in which the locks and the history are kept beside the bundles."""

from deploy.run import Run


def find(run: Run) -> str:
    """The name of the bucket, which is made if there is none. Raises AwsFailure."""
    name = f"elasticbeanstalk-{run.settings.region}-{run.aws.account()}"  # by which AWS makes it
    answer = run.aws.change(
        "elasticbeanstalk", "create_storage_location", otherwise={"S3Bucket": name}
    )
    return str(answer["S3Bucket"])
