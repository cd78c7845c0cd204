"""A database of RDS: PostgreSQL in a container, and the certification authority of its certificate."""

import datetime
import ipaddress
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.rehearsal.machines.docker import address, docker, start


class TrustStore:
    """A certification authority, in place of RDS's own."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
        self._certificate = self._sign(
            self._name, self._key, (x509.BasicConstraints(ca=True, path_length=0), True)
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, ip, folder):
        """Write server.crt and server.key for ``ip`` into ``folder``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ip))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ip)])
        certificate = self._sign(subject, key, (names, False))
        (folder / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, extension):
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day)
        return builder.add_extension(*extension).sign(self._key, hashes.SHA256())


class Database:
    """PostgreSQL made from a declared AWS::RDS::DBInstance and its parameter group."""

    def __init__(self, properties, parameters, trust, folder):
        assert properties["Engine"] == "postgres"
        self.properties = properties
        folder.mkdir(parents=True)
        settings = {k: v for k, v in parameters.items() if not k.startswith("rds.")}
        kind = "hostssl" if parameters.get("rds.force_ssl") == "1" else "host"
        (folder / "pg_hba.conf").write_text(
            f"local all all trust\n{kind} all all all scram-sha-256\n"
        )
        command = (
            "until [ -f /rds/ready ]; do sleep 0.1; done; "
            "install -o postgres -m 600 /rds/server.key /rds/server.crt /rds/pg_hba.conf /srv; "
            "exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/srv/server.crt "
            "-c ssl_key_file=/srv/server.key -c hba_file=/srv/pg_hba.conf "
        ) + " ".join(f"-c {key}={value}" for key, value in settings.items())
        env = folder / "env"
        env.write_text(
            f"POSTGRES_USER={properties['MasterUsername']}\n"
            f"POSTGRES_PASSWORD={properties['MasterUserPassword']}\n"
            f"POSTGRES_DB={properties['DBName']}\n"
        )
        image = f"postgres:{properties['EngineVersion'].split('.')[0]}-trixie"
        self.container = start(
            "--env-file", str(env), "--volume", f"{folder}:/rds", image, "bash", "-c", command
        )
        self.host, self.port = address(self.container), properties["Port"]
        trust.issue(self.host, folder)
        (folder / "ready").touch()
        self._wait()

    def query(self, sql):
        """The rows of ``sql``, each a line, columns separated by |."""
        user, name = self.properties["MasterUsername"], self.properties["DBName"]
        return docker(
            "exec", self.container, "psql", "-U", user, "-d", name, "-Atc", sql
        ).stdout.split("\n")[:-1]

    def change_password(self, password):
        """What ModifyDBInstance does; connections that there are stay."""
        self.query(f"ALTER USER {self.properties['MasterUsername']} PASSWORD '{password}'")
        self.properties["MasterUserPassword"] = password

    def _wait(self):
        deadline = time.monotonic() + 60
        command = ("exec", self.container, "pg_isready", "-h", "127.0.0.1")
        while docker(*command, check=False).returncode:
            assert time.monotonic() < deadline, docker("logs", self.container).stderr
            time.sleep(0.2)
