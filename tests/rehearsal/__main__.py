"""AWS on loopback for a person instead of a test: ``make cloud``.

It stays up until Ctrl-C, and prints what to do in another terminal. Beside AWS there is a clone of this
project, whose commits on main start the pipeline. Actions that belong in the AWS console or in Slack are
typed here: "help" lists it.
"""

import fcntl
import logging
import os
import re
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

from tests.rehearsal import disaster
from tests.rehearsal.project import SCRIPT
from tests.rehearsal.world import TIMES, World
from tests.support.aws import REGION
from tests.support.needs import why_no_docker

HOME = Path(".local/cloud")
HELP = """
    confirm          click the links that AWS sent to new addresses, which end NO MESSAGES in `status`
    connect          complete the connection to GitHub, and authorise Slack (after the first `bootstrap`)
    approve          approve the version that waits in the pipeline
    reject           reject it
    night            run the nightly backups, and copy them to the other regions (after `backups install prod`)
    lose REGION      take a region down, such as {home}: it does not answer until it returns
    return REGION    bring it back, as it was
    help             show this

The worst day, docs/recovery.md, can be practised here: "night", "lose {home}", then the commands of that page. A
recovery takes about half a minute here, and an hour on AWS.
"""
WELCOME = """
AWS is at {url}, with an account that has nothing in it. In another terminal:

  cd {project}        # a clone of this project to play with; it is removed at the end
  source {env}

Then follow docs/deployment.md. devops/owner.json already names a team, and
devops/environments.toml lets production serve without a certificate. For example:

  {script} create staging
  {script} create prod --version LABEL
  {script} status
  {script} bootstrap                # then type "connect" here, and run it again

After that, each commit on main goes through the pipeline. To break something, commit a mistake:

  sed -i 's/Your birthday is/Your day is/' web/birthday.py && git commit --quiet --all --no-verify -m Mistake
  {script} build && {script} deploy staging

Times are shortened: {times}. Notifications and addresses appear here. Ctrl-C removes everything.
{help}"""


class Stop(BaseException):
    """A signal requested termination."""


def main():
    """Exits with a message if Docker is not available, or if another `make cloud` is running."""
    reason = why_no_docker()
    if reason:
        raise SystemExit(f"make cloud: {reason}: it needs Docker.")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request to AWS
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("a+") as lock:
        _hold(lock)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _stop)
        world = None
        try:
            _say("starting; the first time this takes some minutes, because images are built")
            world = World()
            Cloud(world).run()
        except Stop:
            _say("removing everything...")
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(
                    number, signal.SIG_IGN
                )  # the clean-up takes some seconds, and must not be interrupted
            if world:
                world.stop()
            (HOME / "env").unlink(missing_ok=True)
            lock.truncate(0)
    _say("everything is removed")


class Cloud:
    """Shows what happens in a world, and carries out the commands typed."""

    def __init__(self, world):
        self._world, self._told, self._addresses = world, 0, set()
        self._head = world.project.git("rev-parse", "main")

    def run(self):
        """Until Stop."""
        folder, env = self._world.project.folder, (HOME / "env").absolute()
        variables = self._world.cloud.credentials() | TIMES
        env.write_text(
            "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        )
        times = ", ".join(f"{name}={value}" for name, value in TIMES.items())
        print(
            WELCOME.format(
                url=self._world.cloud.url,
                project=shlex.quote(str(folder)),
                env=shlex.quote(str(env)),
                script=SCRIPT,
                times=times,
                help=_help(),
            ),
            flush=True,
        )
        threading.Thread(target=self._obey, daemon=True).start()
        while True:
            self._show_addresses()
            self._show_notifications()
            self._start_pipeline()
            time.sleep(0.5)

    def _show_addresses(self):
        known = [one.beanstalk.environments for one in self._world.cloud.regions]
        for name, environment in [pair for one in known for pair in list(one.items())]:
            if environment.balancer and environment.id not in self._addresses and environment.label:
                self._addresses.add(environment.id)
                port = environment.balancer.cname.rpartition(":")[2]
                _say(f"{name} answers at http://{name}.localhost:{port}/docs")

    def _show_notifications(self):
        messages = self._world.cloud.receiver.messages
        for path, subject, text in messages[self._told :]:
            _say(f"to {path.strip('/').replace('/', ' ')}: {subject or '(no subject)'}")
            for line in text.strip().splitlines():
                print(f"       {line[:160]}", flush=True)
        self._told = len(messages)

    def _start_pipeline(self):
        """Start the pipeline for a new commit on main, as GitHub would."""
        head = self._world.project.git("rev-parse", "main")
        if head == self._head:
            return
        self._head = head
        pipeline = self._world.cloud.pipeline
        if not self._world.cloud.cloudformation.resources["AWS::CodePipeline::Pipeline"]:
            return
        if pipeline.execution and pipeline.execution.thread.is_alive():
            _say(
                f"the pipeline is busy; commit again when it has finished to have {head[:12]} built"
            )
            return
        pipeline.on_change = lambda stage, status: _say(f"the pipeline: {stage} {status}")
        pipeline.start(self._world.project.folder)
        _say(f"the pipeline: {head[:12]} begins")

    def _obey(self):
        for line in sys.stdin:
            try:
                self.obey(line.split())
            except disaster.Impossible as reason:
                _say(str(reason))
            except Exception as error:  # the next line may work
                _say(f"this did not work: {error!r}")

    def obey(self, words):
        """Carry out a line that somebody typed."""
        cloud = self._world.cloud
        match words:
            case ["confirm"]:
                cloud.confirmed = True
                _say("confirmed: each address gets its messages")
            case ["connect"]:
                cloud.receiver.connection = "AVAILABLE"
                _say(f"connected; now repeat: {SCRIPT} bootstrap")
            case ["approve" | "reject" as word]:
                status = {"approve": "Approved", "reject": "Rejected"}[word]
                waits = cloud.pipeline.execution and cloud.pipeline.decide(status, seconds=0)
                _say(f"{status.lower()}" if waits else "nothing waits for approval")
            case ["night"]:
                self._pass_a_night(cloud)
            case ["lose", region]:
                disaster.lose(cloud, region)
                _say(f"{region} is down: nothing there answers")
            case ["return", region]:
                disaster.bring_back(cloud, region)
                _say(f"{region} is back, as it was")
            case ["help"] | []:
                print(_help(), flush=True)
            case _:
                _say(f'there is no {" ".join(words)!r}; "help" lists the commands')

    def _pass_a_night(self, cloud):
        for region, failed, newest in disaster.nights(cloud):
            for name, at in newest.items():
                _say(f"a night has passed in {region}: {name} is backed up as of {at:%H:%M:%S} UTC")
            for there, why in failed:
                _say(f"  the copy to {there} failed: {why}")


def _help():
    return HELP.format(home=REGION)


def _hold(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise SystemExit(
            f"make cloud: already running as process {holder}. End it with Ctrl-C there, or use it: "
            f"source {(HOME / 'env').absolute()}"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _stop(*_):
    raise Stop


def _say(text):
    print("cloud:", re.sub(r"\s+", " ", text), flush=True)


if __name__ == "__main__":
    main()
