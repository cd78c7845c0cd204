"""Production in its home region, with backups there and elsewhere: for the scenarios of recovery, and of removal after them."""

import contextlib
import json
import shlex
import signal
import urllib.request

from tests.rehearsal import disaster
from tests.rehearsal.load import Load
from tests.rehearsal.project import SCRIPT
from tests.rehearsal.waiting import limit, wait_for
from tests.support.account import DESTINATIONS
from tests.support.aws import APPLICATION, PROD, REGION

FIRST, SECOND = DESTINATIONS
USER, BORN = "Ada", "1990-02-28"  # saved before the backup
# Every command of docs/recovery.md (tests/test_docs.py compares them), by purpose
COMMANDS = {
    "look": "scripts/build_and_deploy.sh recover prod --dry-run",
    "recover": "scripts/build_and_deploy.sh recover prod --greet Ada --yes",
    "work there": "export AWS_REGION=eu-central-1",
    "see": "scripts/build_and_deploy.sh status prod",
    "beside": "scripts/build_and_deploy.sh recover prod --region eu-west-1 --as before --greet Ada --yes",
    "stop": "scripts/build_and_deploy.sh writes stop prod",
    "allow": "scripts/build_and_deploy.sh writes allow prod",
    "moment": f"aws rds describe-db-instances --db-instance-identifier {PROD}",
    "list": "scripts/build_and_deploy.sh backups list prod",
    "back": "scripts/build_and_deploy.sh recover prod --region eu-west-1 --as home --greet Ada --yes",
    "install": "scripts/build_and_deploy.sh backups install prod",
    "exercise": "scripts/build_and_deploy.sh recover prod --region eu-north-1 --as exercise --greet Ada "
    "--no-backups --yes",
    "remove": "scripts/build_and_deploy.sh remove prod --protected",
    "remove there": "AWS_REGION=eu-central-1 scripts/build_and_deploy.sh remove prod --protected",
    "remove the exercise": "AWS_REGION=eu-north-1 scripts/build_and_deploy.sh remove exercise --protected",
}
ENOUGH = 100  # PUTs, before and after a moment


class Home:
    """Production in its home region, backed up there and to two other regions."""

    def __init__(self, world):
        self.world, self.cloud = world, world.cloud
        world.project.script("create", "prod", BUILD_NUMBER="0")
        self.type("install")

    def type(self, name, *more, fails=False, **env):
        """Run a command from the document, with ``more`` arguments, and return its output."""
        words = shlex.split(COMMANDS[name])
        begin = words.index(SCRIPT)
        env |= dict(word.split("=") for word in words[:begin])
        return self.world.project.script(*words[begin + 1 :], *more, fails=fails, **env)

    def at(self, region):
        return self.cloud.region(region)

    def environment(self, region=REGION, short="prod"):
        return self.at(region).beanstalk.environments[f"{APPLICATION}-{short}"]

    def night(self, region=REGION, unfinished=()):
        """Let a night pass; the failed copies, and the time of the last transaction in the backup."""
        failed, newest = disaster.night(self.cloud, region, unfinished)
        return failed, newest[PROD]

    @contextlib.contextmanager
    def load(self, region=REGION, short="prod"):
        """Clients that save and greet until the end of the block."""
        load = Load(self.environment(region, short))
        try:
            wait_for(lambda: len(load.saved) > ENOUGH)
            yield load
            more = len(load.saved)
            wait_for(lambda: len(load.saved) > more + ENOUGH)
        finally:
            load.stop()
        assert not load.failures, load.failures[:5]

    def recovered(self, region, short="prod"):
        """Assert that an environment serves, and return its rows by name."""
        environment = self.environment(region, short)
        assert environment.status == "Ready"
        assert environment.colour() == ("Green", "Ok")
        assert not [one["Message"] for one in environment.events if one["Severity"] == "WARN"]
        rows = environment.database.query("SELECT username, date_of_birth FROM person")
        return dict(row.split("|") for row in rows)

    def interrupt(self, words, step, meanwhile=lambda: None):
        """The exit code of the script, which somebody ends with Ctrl-C as soon as it prints ``step``."""
        with self.world.project.begin(*words) as process:
            text = ""
            for line in process.stdout:
                text += line
                if step in line:
                    meanwhile()
                    process.send_signal(signal.SIGINT)
                    break
            text += process.communicate(timeout=limit(300))[0]
        print(text)  # noqa: T201
        return process.returncode


def make(world):
    home = Home(world)
    save(home.environment(), USER, BORN)
    home.night()
    return home


def save(environment, name, born):
    request = urllib.request.Request(
        f"http://{environment.balancer.cname}/hello/{name}",
        json.dumps({"dateOfBirth": born}).encode(),
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=limit(10)) as response:
        assert response.status == 204
