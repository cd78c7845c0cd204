"""Features that moto lacks and the rehearsal therefore adds, probed on moto as installed.

Usage: python -m tests.rehearsal.aws.gaps      prints a JSON object: each feature, and whether moto lacks it
"""

import json
import os
import sys
import time

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-west-1"}


def topic(name, **more):
    """A template with one topic."""
    properties = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": name}}
    return json.dumps(
        {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Topic": properties}} | more
    )


def deploy(client, stack, template, kind, **parameters):
    """As the deploy tool does it: by a change set, and from nothing or not."""
    made = client.create_change_set(
        StackName=stack,
        ChangeSetName="change",
        ChangeSetType=kind,
        TemplateBody=template,
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
    )
    client.execute_change_set(ChangeSetName=made["Id"])


def lacks_outputs_of_change_sets(client):
    """A stack made by a change set has its outputs, also after another change set has changed it."""
    output = {"Outputs": {"Name": {"Value": {"Fn::GetAtt": ["Topic", "TopicName"]}}}}
    deploy(client, "a", topic("a"), "CREATE")
    deploy(client, "a", topic("b", **output), "UPDATE")
    [stack] = client.describe_stacks(StackName="a")["Stacks"]
    return not stack.get("Outputs")


def lacks_exports_in_change_sets(client):
    """A stack made by a change set can import the exports of other stacks made by change sets."""
    exported = {"Outputs": {"Name": {"Value": "shared", "Export": {"Name": "shared-name"}}}}
    imported = json.loads(topic("x"))
    imported["Resources"]["Topic"]["Properties"]["DisplayName"] = {"Fn::ImportValue": "shared-name"}
    imported["Outputs"] = {"Seen": {"Value": {"Fn::ImportValue": "shared-name"}}}
    try:
        deploy(client, "a", topic("a", **exported), "CREATE")
        deploy(client, "b", json.dumps(imported), "CREATE")
        [stack] = client.describe_stacks(StackName="b")["Stacks"]
    except Exception:  # however it fails
        return True
    return [one["OutputValue"] for one in stack.get("Outputs", [])] != ["shared"]


MORE = {"Parameters": {"More": {"Type": "String"}}}


def lacks_empty_change_sets(client):
    """A change set that changes nothing is created, and its status reports this."""
    deploy(client, "a", topic("a", **MORE), "CREATE", More="no")
    try:
        deploy(client, "a", topic("a", **MORE), "UPDATE", More="no")
    except client.exceptions.ClientError:
        return True
    return False


def lacks_kept_defaults(client):
    """Keeping a parameter at its default is not a change."""
    more = {"Parameters": {"More": {"Type": "String", "Default": "no"}}}
    deploy(client, "a", topic("a", **more), "CREATE")
    from moto.cloudformation.models import cloudformation_backends

    [stack] = cloudformation_backends["123456789012"]["eu-west-1"].stacks.values()
    return not stack.has_parameters({"More": "no"})


def lacks_resources_of_conditions(client):
    """A conditional resource is created as soon as a change set makes its condition true."""
    template = json.loads(topic("a", **MORE))
    template["Conditions"] = {"IsMore": {"Fn::Equals": [{"Ref": "More"}, "yes"]}}
    template["Resources"]["Second"] = {"Type": "AWS::SNS::Topic", "Condition": "IsMore"}
    deploy(client, "a", json.dumps(template), "CREATE", More="no")
    deploy(client, "a", json.dumps(template), "UPDATE", More="yes")
    import boto3

    return len(boto3.client("sns").list_topics()["Topics"]) != 2


def lacks_keys_of_stacks(client):
    """A KMS key made by a stack can be described."""
    import boto3

    policy = {"Version": "2012-10-17", "Statement": []}
    key = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": policy}}
    client.create_stack(StackName="a", TemplateBody=json.dumps({"Resources": {"Key": key}}))
    found = client.describe_stack_resource(StackName="a", LogicalResourceId="Key")
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    kms = boto3.client("kms")
    try:
        kms.describe_key(KeyId=name)
    except Exception:  # however it fails
        return True
    return False


def lacks_names_of_subnet_groups(client):
    """A template can refer to a subnet group of databases by its name."""
    import boto3

    ec2 = boto3.client("ec2")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    properties = {"DBSubnetGroupDescription": "one", "SubnetIds": [subnet]}
    group = {"Type": "AWS::RDS::DBSubnetGroup", "Properties": properties}
    outputs = {"Name": {"Value": {"Ref": "Group"}}}
    template = json.dumps({"Resources": {"Group": group}, "Outputs": outputs})
    client.create_stack(StackName="a", TemplateBody=template)
    [found] = client.describe_stacks(StackName="a")["Stacks"][0]["Outputs"]
    return "object" in found["OutputValue"]


def lacks_the_newest_lines(_):
    """The lines of a log can be asked for from the newest."""
    import boto3

    client, names = boto3.client("logs"), {"logGroupName": "a", "logStreamName": "b"}
    client.create_log_group(logGroupName="a")
    client.create_log_stream(**names)
    now = int(time.time() * 1000)
    lines = [{"timestamp": now + number, "message": str(number)} for number in range(2)]
    client.put_log_events(**names, logEvents=lines)
    found = client.filter_log_events(logGroupName="a", startFromHead=False)["events"]
    return [one["message"] for one in found] != ["1", "0"]


def lacks_operations_that_take_a_while(client):
    """A stack is in progress after its change set is executed."""
    deploy(client, "a", topic("a"), "CREATE")
    [stack] = client.describe_stacks(StackName="a")["Stacks"]
    return stack["StackStatus"] == "CREATE_COMPLETE"


def lacks_rollbacks(client):
    """After the failure of a resource, there is a stack without resources."""
    import boto3

    boto3.client("s3", "us-east-1").create_bucket(Bucket="taken")
    template = json.loads(topic("a"))
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "taken"}}
    template["Resources"]["Bucket"] = bucket
    try:
        deploy(client, "a", json.dumps(template), "CREATE")
    except Exception:  # however it fails
        return True
    return False


def lacks_kept_resources(client):
    """What has the deletion policy of most of ours outlives its stack."""
    import boto3

    template = json.loads(topic("a"))
    template["Resources"]["Topic"]["DeletionPolicy"] = "RetainExceptOnCreate"
    deploy(client, "a", json.dumps(template), "CREATE")
    client.delete_stack(StackName="a")
    return not boto3.client("sns").list_topics()["Topics"]


def lacks_types_by_region(_):
    """A type that a region does not have is refused there."""
    import boto3

    properties = {"Budget": {"BudgetType": "COST", "TimeUnit": "MONTHLY"}}
    budget = {"Type": "AWS::Budgets::Budget", "Properties": properties}
    client = boto3.client("cloudformation", "eu-north-1")
    try:
        client.create_change_set(
            StackName="a",
            ChangeSetName="change",
            ChangeSetType="CREATE",
            TemplateBody=json.dumps({"Resources": {"Budget": budget}}),
        )
    except client.exceptions.ClientError:
        return False
    return True


def lacks_the_quota_of_instances(_):
    """Service Quotas knows how many vCPUs of standard instances the account may run."""
    import boto3

    client = boto3.client("service-quotas")
    try:
        client.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")
    except client.exceptions.ClientError:
        return True
    return False


def lacks_tags_of_stacks(client):
    """A key made by a stack has the stack's tags, and is found by them."""
    import boto3

    policy = {"Version": "2012-10-17", "Statement": []}
    key = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": policy}}
    client.create_stack(
        StackName="a",
        TemplateBody=json.dumps({"Resources": {"Key": key}}),
        Tags=[{"Key": "Application", "Value": "x"}],
    )
    tagging = boto3.client("resourcegroupstaggingapi")
    return not tagging.get_resources(ResourceTypeFilters=["kms:key"])["ResourceTagMappingList"]


def gaps():
    """Each patched feature, and whether moto still lacks it."""
    import boto3
    from moto import mock_aws
    from moto.backup.responses import BackupResponse
    from moto.cloudformation import parsing
    from moto.cloudformation.responses import CloudFormationResponse
    from moto.codepipeline.responses import CodePipelineResponse
    from moto.ec2.responses import EC2Response
    from moto.elasticbeanstalk.responses import EBResponse
    from moto.secretsmanager.responses import SecretsManagerResponse

    known = parsing.get_model_map()
    found = {f"the type {kind}": kind not in known for kind in UNKNOWN}
    for action in ("describe_events", "continue_update_rollback"):
        found[f"cloudformation {action}"] = not hasattr(CloudFormationResponse, action)
    for action in ("get_pipeline_state", "put_approval_result"):
        found[f"codepipeline {action}"] = not hasattr(CodePipelineResponse, action)
    for action in (
        "describe_events",
        "describe_instances_health",
        "create_storage_location",
        "update_environment",
    ):
        found[f"elasticbeanstalk {action}"] = not hasattr(EBResponse, action)
    action = "list_recovery_points_by_backup_vault"
    found[f"backup {action}"] = not hasattr(BackupResponse, action)
    action = "stop_replication_to_replica"
    found[f"secretsmanager {action}"] = not hasattr(SecretsManagerResponse, action)
    action = "get_instance_metadata_defaults"
    found[f"ec2 {action}"] = not hasattr(EC2Response, action)
    for probe in (
        lacks_outputs_of_change_sets,
        lacks_exports_in_change_sets,
        lacks_empty_change_sets,
        lacks_kept_defaults,
        lacks_resources_of_conditions,
        lacks_keys_of_stacks,
        lacks_operations_that_take_a_while,
        lacks_rollbacks,
        lacks_kept_resources,
        lacks_types_by_region,
        lacks_tags_of_stacks,
        lacks_the_quota_of_instances,
        lacks_the_newest_lines,
        lacks_names_of_subnet_groups,
    ):
        with mock_aws():
            found[probe.__name__.removeprefix("lacks_").replace("_", " ")] = probe(
                boto3.client("cloudformation")
            )
    return found


# As in cloudformation.py, which must not be imported here because it patches moto
UNKNOWN = (
    "AWS::Backup::BackupPlan",
    "AWS::Backup::BackupSelection",
    "AWS::Backup::BackupVault",
    "AWS::CodeBuild::Project",
    "AWS::CodeConnections::Connection",
    "AWS::CodePipeline::Pipeline",
    "AWS::CodeStarNotifications::NotificationRule",
    "AWS::ECR::ReplicationConfiguration",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
    "AWS::SNS::Subscription",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::Budgets::Budget",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::SNS::TopicPolicy",
)

if __name__ == "__main__":
    os.environ.update(KEYS)
    json.dump(gaps(), sys.stdout)
