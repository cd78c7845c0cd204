"""A load balancer: HAProxy in a container."""

import contextlib
import socket
import time

from tests.rehearsal.machines.docker import MACHINE, docker, start
from tests.rehearsal.waiting import POLL, wait_for


class LoadBalancer:
    """HAProxy with the timeouts and health checks of the option settings; drains instances before removing them."""

    slots = 12

    def __init__(self, health_path, idle_timeout):
        servers = "\n".join(
            f"  server i{slot} 127.0.0.1:80 check inter 500ms rise 2 fall 3 disabled"
            for slot in range(self.slots)
        )
        config = f"""
global
  stats socket ipv4@0.0.0.0:9999 level admin
defaults
  mode http
  timeout connect 5s
  timeout check 10s
  timeout client {idle_timeout}s
  timeout server {idle_timeout}s
  retries 0
frontend public
  bind :80
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  default_backend instances
backend instances
  option httpchk GET {health_path}
{servers}
"""
        command = 'printf "%s" "$CONFIG" >/run/lb.cfg; exec haproxy -q -f /run/lb.cfg'
        self.container = start(
            "--publish=127.0.0.1::80", "--publish=127.0.0.1::9999", "--env", f"CONFIG={config}",
            MACHINE, "sh", "-c", command,
        )  # fmt: skip
        self._control = self._port("9999")
        self.cname = f"127.0.0.1:{self._port('80')}"
        self._free = list(range(self.slots))
        wait_for(self._answers, why=lambda: docker("logs", self.container).stderr)

    def add(self, instance):
        instance.slot = self._free.pop(0)
        server = f"instances/i{instance.slot}"
        self._ask(f"set server {server} addr {instance.address} port 80")
        self._ask(f"set server {server} state ready")

    def remove(self, instance, drain):
        """Send no more requests to ``instance``, and wait for the answers, at most ``drain`` s."""
        if instance.slot is None:
            return
        server = f"instances/i{instance.slot}"
        self._ask(f"set server {server} state drain")
        deadline = time.monotonic() + drain
        quiet = 0  # looks in a row without a request: one may just have been assigned to it
        while quiet < 3 and time.monotonic() < deadline:
            quiet = 0 if self._sessions(instance.slot) else quiet + 1
            time.sleep(POLL)
        self._ask(f"set server {server} state maint")
        self._free.append(instance.slot)
        instance.slot = None

    def forget(self, instance):
        """Take ``instance`` out without draining it."""
        self._ask(f"set server instances/i{instance.slot} state maint")
        self._free.append(instance.slot)
        instance.slot = None

    def _answers(self):
        with contextlib.suppress(OSError):
            return self._ask("show info")

    def _sessions(self, slot):
        lines = self._ask("show stat").splitlines()
        names = lines[0].lstrip("# ").split(",")
        for line in lines[1:]:
            row = dict(zip(names, line.split(","), strict=False))
            if row.get("svname") == f"i{slot}":
                return int(row["scur"])
        raise AssertionError(slot)

    def _port(self, inside):
        return int(docker("port", self.container, f"{inside}/tcp").stdout.rsplit(":", 1)[1])

    def _ask(self, command):
        with socket.create_connection(("127.0.0.1", self._control), timeout=5) as connection:
            connection.sendall(f"{command}\n".encode())
            answer = connection.makefile().read()
        assert "No such" not in answer, answer
        return answer
