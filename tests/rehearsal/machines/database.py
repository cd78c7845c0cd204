"""An RDS database: PostgreSQL in a container, the certificate authority of its certificate, snapshots."""

import contextlib
import datetime
import socket
import subprocess

from tests.rehearsal.machines.docker import (
    HOSTS,
    MACHINE,
    Failed,
    address,
    docker,
    remove,
    start,
)
from tests.rehearsal.waiting import limit, wait_for

NAME = "app"  # of the application's database, by .ebextensions/40-database.config
# Memory of the classes in GiB, of which RDS derives max_connections:
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.MaxConnections
CLASSES = {"db.t4g.micro": 1, "db.t4g.small": 2}
GIB = 1024**3


class Database:
    """PostgreSQL made from a declared AWS::RDS::DBInstance and its parameter group, reached by its DNS name.

    ``snapshot`` is the file of another database's snapshot, from which this one is restored.
    """

    def __init__(self, name, properties, parameters, trust, folder, snapshot=None):
        assert properties["Engine"] == "postgres"
        self.properties = properties
        folder.mkdir(parents=True)
        settings = {"max_connections": CLASSES[properties["DBInstanceClass"]] * GIB // 9531392}
        settings |= {k: v for k, v in parameters.items() if not k.startswith("rds.")}
        kind = "hostssl" if parameters.get("rds.force_ssl") == "1" else "host"
        (folder / "pg_hba.conf").write_text(
            f"local all all trust\n{kind} all all all scram-sha-256\n"
            f"{kind} replication all all scram-sha-256\n"
        )
        self.name = name
        trust.issue(name, folder)
        self._command = (
            "install -o postgres -m 600 /rds/server.key /rds/server.crt /rds/pg_hba.conf /srv; "
            "exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/srv/server.crt "
            "-c ssl_key_file=/srv/server.key -c hba_file=/srv/pg_hba.conf "
        ) + " ".join(f"-c {key}={value}" for key, value in settings.items())
        self._folder, env = folder, folder / "env"
        env.write_text(
            f"POSTGRES_USER={properties['MasterUsername']}\n"
            f"POSTGRES_PASSWORD={properties['MasterUserPassword']}\n"
            f"POSTGRES_DB={properties.get('DBName', 'postgres')}\n"
        )
        self._image = f"postgres:{properties['EngineVersion'].split('.')[0]}-trixie"
        self.container, self.standby = self._start(self._command), None
        self.port = properties["Port"]
        self.answer(address(self.container))
        _wait(self.container)
        if snapshot:
            self._restore(snapshot)

    def _start(self, command):
        return start(
            "--env-file",
            str(self._folder / "env"),
            "--volume",
            f"{self._folder}:/rds",
            self._image,
            "bash",
            "-c",
            command,
        )

    def answer(self, ip, containers=()):
        """Let its name resolve to ``ip``, in containers started from now on and in ``containers``."""
        HOSTS[self.name] = ip
        change = (
            f"grep -v {self.name} /etc/hosts >/tmp/hosts; echo '{ip} {self.name}' >>/tmp/hosts; "
            "cat /tmp/hosts >/etc/hosts"
        )
        for one in containers:
            docker("exec", "--user", "0", one, "sh", "-c", change)

    def add_standby(self):
        """Add a standby that receives each transaction before it is acknowledged, as with Multi-AZ."""
        user, password = (self.properties[f"MasterUser{one}"] for one in ("name", "Password"))
        primary = address(self.container)
        copy = (
            f'set -e; rm -rf "$PGDATA"; export HOME=/var/lib/postgresql PGPASSWORD={password}; '
            f'pg_basebackup -h {primary} -U {user} -D "$PGDATA" -R -X stream -c fast; '
            "chown -R postgres /var/lib/postgresql; "
        )
        self.standby = self._start(copy + self._command)
        _wait(self.standby)
        self.query("ALTER SYSTEM SET synchronous_standby_names = '*'", "postgres")
        self.query("SELECT pg_reload_conf()", "postgres")
        state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_for(lambda: self.query(state, "postgres") == ["1"])

    def remove(self):
        """Delete it, and its name."""
        remove(*filter(None, (self.container, self.standby)))
        del HOSTS[self.name]

    def become_read_only(self):
        """Refuse writes, as the old primary does for a moment before it is gone: it is a standby."""
        signal = "touch $PGDATA/standby.signal"
        docker("exec", "--user", "postgres", self.container, "bash", "-c", signal)
        docker("restart", "--time", "5", self.container)

    def fail_over(self, containers):
        """Remove the primary; the standby takes over its role and its name, at another address."""
        remove(self.container)
        self.container, self.standby = self.standby, None
        docker(
            "exec",
            "--user",
            "postgres",
            self.container,
            "bash",
            "-c",
            "pg_ctl promote -D $PGDATA -w",
        )
        self.query("ALTER SYSTEM RESET synchronous_standby_names", "postgres")
        self.query("SELECT pg_reload_conf()", "postgres")
        self.answer(address(self.container), containers)

    @contextlib.contextmanager
    def unreachable(self):
        """Within this context, packets to the database are dropped."""
        self._filter("-A")
        try:
            yield
        finally:
            self._filter("-D")

    def _filter(self, action):
        docker(
            "run",
            "--rm",
            "--network",
            f"container:{self.container}",
            "--cap-add",
            "NET_ADMIN",
            MACHINE,
            "iptables",
            action,
            "INPUT",
            "-p",
            "tcp",
            "--dport",
            "5432",
            "-j",
            "DROP",
        )

    def query(self, sql, name=NAME):
        """The rows that ``sql`` returns, one per line, columns separated by |."""
        user = self.properties["MasterUsername"]
        return docker(
            "exec", self.container, "psql", "-U", user, "-d", name, "-Atc", sql
        ).stdout.split("\n")[:-1]

    def take_snapshot(self, path):
        """Dump the database to the file ``path``; returns the time (UTC) up to which it contains transactions."""
        [at] = self.query("SELECT clock_timestamp() AT TIME ZONE 'UTC'", "postgres")
        user = self.properties["MasterUsername"]
        with path.open("wb") as file:
            ended = subprocess.run(
                ["docker", "exec", self.container, "pg_dumpall", "-U", user],
                stdout=file,
                stderr=subprocess.PIPE,
                timeout=limit(300),
            )
        if ended.returncode:
            raise Failed(f"pg_dumpall: {ended.stderr.decode()}")
        return datetime.datetime.fromisoformat(at).replace(tzinfo=datetime.UTC)

    def _restore(self, path):
        """Restore users, passwords and databases of a snapshot, then set the password, as CloudFormation does."""
        user, wanted = self.properties["MasterUsername"], self.properties["MasterUserPassword"]
        with path.open("rb") as file:
            ended = subprocess.run(
                [
                    "docker",
                    "exec",
                    "-i",
                    self.container,
                    "psql",
                    "-q",
                    "-U",
                    user,
                    "-d",
                    "postgres",
                ],
                stdin=file,
                capture_output=True,
                text=True,
                timeout=limit(300),
            )
        # The image has already created the user
        wrong = [
            line
            for line in ended.stderr.splitlines()
            if "ERROR" in line and f'role "{user}" already exists' not in line
        ]
        if ended.returncode or wrong:
            raise Failed(f"psql: {wrong or ended.stderr}")
        self.change_password(wanted)

    def change_password(self, password):
        """Set another password, as ModifyDBInstance does; existing connections stay open."""
        user = self.properties["MasterUsername"]
        self.query(f"ALTER USER {user} PASSWORD '{password}'", "postgres")
        self.properties["MasterUserPassword"] = password


def _wait(container):
    """Wait until PostgreSQL listens, which costs little to look at, and then until it is ready."""
    where, command = (
        (address(container), 5432),
        ("exec", container, "pg_isready", "-h", "127.0.0.1"),
    )

    def is_listening():
        with contextlib.suppress(OSError), socket.create_connection(where, timeout=limit(5)):
            return True

    for condition in (is_listening, lambda: docker(*command, check=False).returncode == 0):
        wait_for(condition, why=lambda: docker("logs", container).stderr)
