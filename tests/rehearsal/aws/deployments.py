"""Beanstalk's operations: rolling and immutable deployments, settings, secrets, the database."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

from moto.acm.exceptions import CertificateNotFound
from moto.acm.models import acm_backends

from tests.rehearsal.aws.access import Denied
from tests.rehearsal.aws.environment import Release
from tests.rehearsal.aws.stack import NotMade, Stack
from tests.rehearsal.machines.balancer import LoadBalancer
from tests.rehearsal.machines.database import Database
from tests.rehearsal.machines.docker import Failed, remove
from tests.rehearsal.machines.instance import Instance
from tests.rehearsal.waiting import POLL, wait_for
from tests.support import ebextensions
from tests.support.aws import ACCOUNT

HEALTHY, UNHEALTHY = 4, 20  # answers in a row that are right, or wrong, and decide
STARTING = {None, 502, 503, 504}  # answers of nginx while the application starts; None is none
LOGS = ("eb-docker/containers/eb-current-app/stdouterr.log", "nginx/access.log")
SECRETS = "aws:elasticbeanstalk:application:environmentsecrets"
PROPERTIES = "aws:elasticbeanstalk:application:environment"
HTTPS = "aws:elbv2:listener:443"
CANCELLED = "Resource creation cancelled"  # because another resource failed
# A change of these requires replacement, which CloudFormation refuses for custom-named resources
REPLACED = (
    "DBInstanceIdentifier",
    "DBName",
    "DBSnapshotIdentifier",
    "MasterUsername",
    "Port",
    "StorageEncrypted",
    "KmsKeyId",
    "DBSubnetGroupName",
    "Engine",
)


class Deployments:
    """Carries out the operations, using the machines of an environment, the versions in S3 and the secrets."""

    def __init__(self, client, login, trust, versions, databases, rights):
        self._client, self._login, self.trust, self.versions = client, login, trust, versions
        self._databases, self._rights = databases, rights
        self.stalled = False  # whether deployments start and never end
        self.silent = False  # whether new instances never report to Beanstalk

    def launch(self, environment, label):
        """Create the environment: its resources, of which any may fail for good, and then its instances."""
        environment.release = self._release(environment, label)
        environment.stack = Stack(self._client, environment.region, environment.id)
        self._stall(environment)
        self._stream_logs(environment)
        try:
            self._make_resources(environment)
        except NotMade as error:
            self._leave_incomplete(environment, error)
            return
        count = environment.wanted_instances
        environment.instances = self._add(environment, environment.release, count)
        environment.label, environment.status = label, "Ready"
        environment.tell(f"Successfully launched environment: {environment.name}")

    def _make_resources(self, environment):
        try:
            self._make_database(environment)
        except Failed as failed:
            raise NotMade("Database", str(failed), ["AWSEBV2LoadBalancer"]) from failed
        try:
            certificate = self._certificate(environment)
        except Failed as failed:
            raise NotMade("AWSEBV2LoadBalancerListener443", str(failed)) from failed
        environment.balancer = LoadBalancer(
            environment.option(
                "aws:elasticbeanstalk:environment:process:default", "HealthCheckPath"
            ),
            environment.option("aws:elbv2:loadbalancer", "IdleTimeout"),
            self._redirected(environment),
            certificate,
        )
        environment.tell(f"Created load balancer named: {environment.load_balancer_arn}")
        if self.silent:
            raise NotMade(
                "AWSEBInstanceLaunchWaitCondition",
                "WaitCondition timed out. Received 0 conditions when expecting 1",
            )

    def _leave_incomplete(self, environment, error):
        """End a launch with the events of github.com/pulumi/pulumi-aws/issues/198, after which nothing is removed."""
        reasons = {error.resource: str(error)} | dict.fromkeys(error.others, CANCELLED)
        reason = environment.stack.fail("CREATE_FAILED", reasons)
        environment.tell(
            f"Stack named '{environment.stack.name}' aborted operation. Current state: "
            f"'CREATE_FAILED'  Reason: {reason}",
            "ERROR",
        )
        for resource, why in reasons.items():
            environment.tell(f"Creating {resource} failed Reason: {why}", "ERROR")
        environment.tell(
            f"Launched environment: {environment.name}. However, there were issues during launch. "
            "See event log for details."
        )
        environment.status = "Ready"

    def terminate(self, environment):
        """Delete everything. Raises Failed if the database is protected, of which all else is deleted nevertheless."""
        self._terminate(environment, environment.instances)
        environment.instances = []
        if environment.balancer:
            remove(environment.balancer.container)
            environment.balancer = None
        if environment.database:
            try:
                self._databases.refuse_deletion(environment.name)
            except Failed as failed:
                reason = environment.stack.fail("DELETE_FAILED", {"Database": str(failed)})
                environment.tell(f"Deleting Database failed Reason: {failed}", "ERROR")
                raise Failed(f"Stack deletion failed: {reason}") from failed
            self._databases.take_final(environment)
            environment.database.remove()
            environment.database = None
        environment.stack.delete()
        environment.tell("terminateEnvironment completed successfully.")

    def _redirected(self, environment):
        """The path patterns that the listener's rule redirects from HTTP to HTTPS."""
        rule = self._evaluated(environment, "HttpsRedirect")
        [condition], [action] = rule["Conditions"], rule["Actions"]
        assert action["RedirectConfig"] == {
            "Protocol": "HTTPS",
            "Port": "443",
            "StatusCode": "HTTP_301",
        }
        return condition["PathPatternConfig"]["Values"]

    def _certificate(self, environment):
        """The certificate of the listener for HTTPS, with its private key; empty without that listener."""
        options = environment.options()
        if options.get((HTTPS, "ListenerEnabled")) != "true":
            return ""
        assert options[HTTPS, "Protocol"] == "HTTPS"
        arn = options[HTTPS, "SSLCertificateArns"]
        try:
            found = acm_backends[ACCOUNT][environment.region].get_certificate(arn)
        except CertificateNotFound as error:
            raise Failed(f"Certificate '{arn}' not found") from error
        return (found.cert + found.key).decode()

    def _stream_logs(self, environment):
        """Make the log groups, which outlive an environment."""
        if environment.option("aws:elasticbeanstalk:cloudwatch:logs", "StreamLogs") != "true":
            return
        logs = self._client("logs")
        for name in LOGS:
            group = f"/aws/elasticbeanstalk/{environment.name}/var/log/{name}"
            if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
                logs.create_log_group(logGroupName=group)

    def update(self, environment, label):
        environment.stack.refuse_update()
        release = self._release(environment, label)
        before, environment.release = environment.release, release
        environment.tell("Deploying new version to instance(s).")
        self._stall(environment)
        try:
            policy = environment.option("aws:elasticbeanstalk:command", "DeploymentPolicy")
            deploy = {"Immutable": self._immutable, "RollingWithAdditionalBatch": self._rolling}
            if policy not in deploy:
                raise Failed(f"The policy {policy} causes downtime, and is not rehearsed.")
            if policy == "Immutable" and not release.is_set_up_as(before):
                raise Failed(
                    "You cannot perform an immutable deployment concurrently with changes of "
                    "configuration settings or resources."
                )
            self._make_database(environment)
            deploy[policy](environment, release)
        except Exception:
            environment.release = before
            raise
        environment.label, environment.status = label, "Ready"
        environment.tell("New application version was deployed to running EC2 instances.")
        environment.tell("Environment update completed successfully.")

    def refuse(self, why):
        """Let an operation fail because somebody may not do it."""
        raise Failed(why)

    def _stall(self, environment):
        while self.stalled:
            self._stop_if_aborted(environment)
            time.sleep(POLL)

    def configure(self, environment, changed, removed):
        environment.stack.refuse_update()
        before = environment.direct
        kept = {option: value for option, value in before.items() if option not in removed}
        environment.direct = kept | changed
        environment.tell("Updating environment's configuration settings.")
        try:
            if self._certificate(environment) != environment.balancer.certificate:
                raise Failed("Another listener of a running environment is not rehearsed.")
            self._configure_instances(environment)
        except Failed as failed:
            environment.tell(str(failed), "ERROR")
            environment.direct = before
            self._configure_instances(environment)
            environment.tell(
                "The environment was reverted to the previous configuration setting.", "ERROR"
            )
            environment.status = "Ready"
            return
        environment.status = "Ready"
        environment.tell("Successfully deployed new configuration to environment.")
        environment.tell("Environment update completed successfully.")

    def _configure_instances(self, environment):
        for instance in environment.instances:
            self._out(environment, instance)
            instance.configure(self._environment(environment))
            self._in(environment, instance)

    def _immutable(self, environment, release):
        old, count = environment.instances, environment.wanted_instances
        environment.tell(
            "Immutable deployment policy enabled. Launching one instance with the new settings to verify health."
        )
        new = self._add(environment, release, 1)
        try:
            environment.instances = old + new
            self._stop_if_aborted(environment)
            if count > 1:
                new += self._add(environment, release, count - 1)
            environment.instances = old + new
            self._stop_if_aborted(environment)
        except Exception:
            self._terminate(environment, new)
            environment.instances = old
            raise
        environment.instances = new
        self._terminate(environment, old)

    def _rolling(self, environment, release):
        count = environment.wanted_instances
        percentage = int(environment.option("aws:elasticbeanstalk:command", "BatchSize"))
        batch = max(1, count * percentage // 100)
        old = list(environment.instances)
        missing = max(0, count - len(old))  # after a launch in which a hook failed
        extra = self._add(environment, release, missing + batch)
        environment.instances = old + extra
        for instance in old[:count]:
            self._stop_if_aborted(environment)
            self._out(environment, instance)
            self._install(environment, instance, release)
            self._in(environment, instance)
        environment.instances = old[:count] + extra[:missing]
        self._terminate(environment, extra[missing:] + old[count:])

    def _add(self, environment, release, count):
        """Start new instances with ``release``, which serve; if one of them fails, remove them all."""
        instances = [Instance(environment.folder) for _ in range(count)]

        def launch(instance):
            self._install(environment, instance, release)
            self._in(environment, instance)

        try:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(launch, instances))
        except Exception:
            self._terminate(environment, instances)
            raise
        environment.tell(
            f"Added instances [{', '.join(one.id for one in instances)}] to your environment."
        )
        return instances

    def _install(self, environment, instance, release):
        try:
            self._rights.start_instance(environment)
            instance.deploy(
                release.label,
                release.bundle,
                release.files,
                self._environment(environment),
                self._login,
                self.trust,
            )
        except (Failed, Denied) as failed:
            raise Failed(
                f"[Instance: {instance.id}] Command failed on instance. {failed}"
            ) from failed

    def _in(self, environment, instance):
        path = environment.option(
            "aws:elasticbeanstalk:environment:process:default", "HealthCheckPath"
        )
        statuses = []

        def is_decided():
            self._stop_if_aborted(environment)
            instance.check()
            statuses.append(instance.ask(path))
            if not set(statuses[-UNHEALTHY:]) & {200, *STARTING} and len(statuses) >= UNHEALTHY:
                raise Failed(
                    f"[Instance: {instance.id}] is not healthy: Target.ResponseCodeMismatch at {path}"
                )
            return statuses[-HEALTHY:] == [200] * HEALTHY

        wait_for(is_decided, 300, lambda: f"[Instance: {instance.id}] answers {statuses[-1]}")
        environment.balancer.add(instance)

    def replace(self, environment, lost):
        """Replace a lost instance with a new one that serves, as the Auto Scaling group does."""
        environment.balancer.forget(lost)
        environment.instances.remove(lost)
        environment.instances += self._add(environment, environment.release, 1)

    def _out(self, environment, instance):
        drain = environment.option(
            "aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay"
        )
        environment.balancer.remove(instance, float(drain))

    def _terminate(self, environment, instances):
        def end(instance):
            self._out(environment, instance)
            instance.terminate()

        with ThreadPoolExecutor(len(instances) or 1) as pool:
            list(pool.map(end, instances))

    def _stop_if_aborted(self, environment):
        if environment.aborted.is_set():
            raise Failed("Environment update was aborted by the user.")

    def _release(self, environment, label):
        where = self.versions[label]["SourceBundle"]
        stored = self._client("s3").get_object(Bucket=where["S3Bucket"], Key=where["S3Key"])
        return Release(label, stored["Body"].read(), lambda text: environment.tell(text, "WARN"))

    # --- Resources and settings ------------------------------------------------------------------

    def _environment(self, environment):
        """The container's environment variables: properties, and the current values of secrets."""
        options = environment.options()
        values = {
            name: str(
                ebextensions.evaluate(value, environment.option, self._reference(environment))
            )
            for (namespace, name), value in options.items()
            if namespace == PROPERTIES
        }
        for (namespace, name), arn in options.items():
            if namespace == SECRETS:
                values[name] = self._secret(arn, self._rights.role_of(environment))
        return values

    def _secret(self, arn, role):
        parts = arn.split(":")
        try:
            client = self._client("secretsmanager", role)
            found = client.get_secret_value(SecretId=":".join(parts[:7]))
            text = found["SecretString"]
            return json.loads(text)[parts[7]] if len(parts) > 7 else text
        except Exception as error:
            raise Failed(
                f"Instance deployment failed to get one or more secrets: {error}"
            ) from error

    def _reference(self, environment):
        def look_up(name, attribute):
            if (name, attribute) == ("AWSEBEnvironmentName", None):
                return environment.name
            if name == "Database":
                return {
                    "Endpoint.Address": environment.database.name,
                    "Endpoint.Port": environment.database.port,
                }[attribute]
            return f"{environment.name}-{name}"

        return look_up

    def _make_database(self, environment):
        declared = environment.release.resources.get("Database")
        if not declared:
            return
        properties = self._evaluated(environment, "Database")
        if environment.database is None:
            parameters = self._evaluated(environment, "DatabaseParameters")["Parameters"]
            environment.tell("Creating the database.")
            self._databases.refuse_too_many()
            properties["MasterUserPassword"] = self._resolved(properties["MasterUserPassword"])
            snapshot = self._databases.find_restorable(properties)
            host = f"{environment.name}.{environment.region}.rds.internal"
            environment.database = Database(
                host, properties, parameters, self.trust, environment.folder / "database", snapshot
            )
            return
        before = environment.database.properties
        for name in REPLACED:
            if name == "DBSnapshotIdentifier" and not properties.get(name):
                continue  # that it goes changes nothing
            if before.get(name) != properties.get(name):
                raise Failed(
                    "CloudFormation cannot update a stack when a custom-named resource requires "
                    f"replacing: Database, {name}"
                )

    def _evaluated(self, environment, name):
        """The properties of a resource."""
        return ebextensions.evaluate(
            environment.release.resources[name]["Properties"],
            environment.option,
            self._reference(environment),
        )

    def _resolved(self, text):
        """The value of a dynamic reference to a secret, which CloudFormation resolves at creation."""
        secret, _, key = text.removeprefix("{{resolve:secretsmanager:")[:-2].split(":")
        found = self._client("secretsmanager").get_secret_value(SecretId=secret)
        return json.loads(found["SecretString"])[key]
