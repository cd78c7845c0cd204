"""A load balancer: HAProxy in a container."""

import contextlib
import csv
import re
import socket
import time

from tests.rehearsal.machines.docker import MACHINE, address, docker, start
from tests.rehearsal.waiting import POLL, limit, wait_for


class LoadBalancer:
    """HAProxy with the timeouts and health checks of the option settings; drains instances before removing them.

    Requests for a path that matches one of ``redirected`` are redirected from HTTP to HTTPS, which is
    served if there is a ``certificate``, in PEM with its private key.
    """

    slots = 12

    def __init__(self, health_path, idle_timeout, redirected, certificate):
        self.certificate = certificate
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
{_frontend("http", ":80", _redirect(redirected))}
{_frontend("https", ":443 ssl crt /run/lb.pem ssl-min-ver TLSv1.2") if certificate else ""}
backend instances
  option httpchk GET {health_path}
{servers}
"""
        command = (
            'printf "%s" "$CONFIG" >/run/lb.cfg; printf "%s" "$CERTIFICATE" >/run/lb.pem; '
            "exec haproxy -q -f /run/lb.cfg"
        )
        self.container = start(
            "--publish=127.0.0.1::80",
            "--publish=127.0.0.1::9999",
            "--env",
            f"CONFIG={config}",
            "--env",
            f"CERTIFICATE={certificate}",
            MACHINE,
            "sh",
            "-c",
            command,
        )
        self.address = address(self.container)
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

    def counts(self):
        """How many requests there were, how many answers 5xx, of all and of instances, and the healthy instances."""
        rows = list(self._rows())
        frontends = [row for row in rows if row["svname"] == "FRONTEND"]
        servers = [row for row in rows if row["svname"].startswith("i")]
        return {
            "requests": sum(int(row["req_tot"]) for row in frontends),
            "all_5xx": sum(int(row["hrsp_5xx"]) for row in frontends),
            "target_5xx": sum(int(row["hrsp_5xx"]) for row in servers),
            "healthy": sum(row["status"].startswith("UP") for row in servers),
        }

    def _answers(self):
        with contextlib.suppress(OSError):
            return self._ask("show info")

    def _sessions(self, slot):
        return next(int(row["scur"]) for row in self._rows() if row["svname"] == f"i{slot}")

    def _rows(self):
        """Its statistics: https://docs.haproxy.org/2.6/management.html#9.1"""
        return csv.DictReader(self._ask("show stat").lstrip("# ").strip().splitlines())

    def _port(self, inside):
        return int(docker("port", self.container, f"{inside}/tcp").stdout.rsplit(":", 1)[1])

    def _ask(self, command):
        with socket.create_connection(("127.0.0.1", self._control), timeout=limit(5)) as connection:
            connection.sendall(f"{command}\n".encode())
            answer = connection.makefile().read()
        assert "No such" not in answer, answer
        return answer


def _frontend(scheme, bind, more=""):
    return f"""
frontend {scheme}
  bind {bind}
  option forwardfor
  http-request set-header X-Forwarded-Proto {scheme}
  {more}
  default_backend instances
"""


def _redirect(patterns):
    """The rule for paths that match one of ``patterns``, in which * is any text and ? any character."""
    expressions = (re.escape(one).replace(r"\*", ".*").replace(r"\?", ".") for one in patterns)
    matched = " ".join(f"'^{one}$'" for one in expressions)
    where = "https://%[hdr(host),field(1,:)]:443%[pathq]"
    return f"http-request redirect code 301 location {where} if {{ path -m reg {matched} }}"
