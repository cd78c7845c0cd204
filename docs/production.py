"""The picture of production on AWS, drawn from code: docs/production.png.

Usage: python -m docs.production      (needs Graphviz's `dot`; on Debian: apt-get install graphviz)

The picture carries the fingerprint of what it was drawn from, so that a test can tell whether it is
up to date without drawing it again.
"""

import hashlib
import re
import shutil
import struct
import tempfile
import zlib
from pathlib import Path

from diagrams import Cluster, Diagram, Edge
from diagrams.aws.compute import ECR, EC2Instances
from diagrams.aws.database import RDSPostgresqlInstance
from diagrams.aws.integration import SimpleNotificationServiceSns
from diagrams.aws.management import Cloudwatch
from diagrams.aws.network import ElbApplicationLoadBalancer
from diagrams.aws.security import KMS, SecretsManager
from diagrams.aws.storage import S3, Backup
from diagrams.onprem.client import Client, Users

PICTURE = Path(__file__).with_suffix(".png")
KEY = b"Fingerprint"
LOOK = {
    "fontname": "DejaVu Sans",
    "fontsize": "22",
    "pad": "0.4",
    "splines": "spline",
    "nodesep": "0.6",
    "ranksep": "1.4",
}
SMALL = {"fontname": "DejaVu Sans", "fontsize": "14"}
CLUSTER = {"fontname": "DejaVu Sans", "fontsize": "15", "labeljust": "l", "margin": "22"}


def main() -> None:
    """Draw it; exits with a sentence when Graphviz is missing."""
    if not shutil.which("dot"):
        raise SystemExit("docs.production needs Graphviz. On Debian: apt-get install graphviz")
    with tempfile.TemporaryDirectory() as folder:
        diagram = build(Path(folder, "production"))
        diagram.render()
        picture = Path(folder, "production.png").read_bytes()
        PICTURE.write_bytes(_with_text(picture, fingerprint(diagram)))


def build(output: Path) -> Diagram:
    """The diagram, not yet drawn."""
    diagram = Diagram(
        "One environment: staging and production are two of these",
        filename=str(output), show=False, direction="LR", outformat="png",
        graph_attr=LOOK, node_attr=SMALL, edge_attr=SMALL,
    )  # fmt: skip
    # Its __exit__ would draw, which needs dot, and remove what was drawn
    diagram.render = output.touch  # type: ignore[method-assign]
    with diagram:
        _draw()
    del diagram.render
    return diagram


def fingerprint(diagram: Diagram) -> str:
    """What ``diagram`` shows, as a hash: nodes by number, icons without their folder."""
    numbers: dict[str, str] = {}
    source = re.sub(
        r'"?\b([0-9a-f]{32})\b"?',
        lambda match: numbers.setdefault(match[1], f"n{len(numbers)}"),
        diagram.dot.source,
    )
    source = re.sub(r'"[^"]*/resources/', "", source)
    return hashlib.sha256(source.encode()).hexdigest()


def drawn_from() -> str:
    """The fingerprint that the picture carries, or nothing."""
    found = re.search(KEY + rb"\0([0-9a-f]{64})", PICTURE.read_bytes())
    return found[1].decode() if found else ""


def _draw() -> None:
    people = Users("people and programs")
    with Cluster("AWS region", graph_attr=CLUSTER):
        with Cluster("Elastic Beanstalk environment, in a VPC of its own", graph_attr=CLUSTER):
            with Cluster("public subnets, two zones", graph_attr=CLUSTER):
                balancer = ElbApplicationLoadBalancer("load balancer:\nasks /readyz, drains 30 s")
                instances = EC2Instances("2 to 8 instances:\nnginx, then the container")
            with Cluster("subnets without a way out, two zones", graph_attr=CLUSTER):
                database = RDSPostgresqlInstance(
                    "PostgreSQL 18, Multi-AZ,\nencrypted, backups 14 days"
                )
        with Cluster("outlives environments", graph_attr=CLUSTER):
            secret = SecretsManager("passwords\n(Secrets Manager)")
            key = KMS("key (KMS)")
            images = ECR("images\n(ECR, immutable)")
            bundles = S3("bundles, locks,\nlog of deployments")
        backup = Backup("nightly backup\n(AWS Backup)")
        logs = Cloudwatch("logs, health,\nmetrics (CloudWatch)")
        topic = SimpleNotificationServiceSns("topics: operators,\ndeployments")
    with Cluster("production: two other regions", graph_attr=CLUSTER):
        copies = Backup("copies of backups,\neach with its own key")
        elsewhere = ECR("the same images, secrets,\nand what was deployed")
    deployer = Client("build_and_deploy.sh,\nrun by CI or a person")
    people >> _edge("https") >> balancer >> _edge("http") >> instances
    instances >> _edge("TLS, verified") >> database
    instances >> _edge("at the start", "dashed") >> secret
    instances >> _edge("pull by digest", "dashed") >> images
    instances >> _edge("stream", "dashed") >> logs
    instances >> _edge("events", "dashed") >> topic
    database >> _edge("", "dotted") >> key
    secret >> _edge("", "dotted") >> key
    database >> _edge("snapshot", "dashed") >> backup
    backup >> _edge("copy") >> copies
    images >> _edge("replicate", "dashed") >> elsewhere
    images << _edge("docker push") << deployer
    bundles << _edge("eb appversion, eb deploy") << deployer
    topic << _edge("result") << deployer


def _edge(label: str, style: str = "solid") -> Edge:
    return Edge(label=f" {label} ", style=style)


def _with_text(picture: bytes, text: str) -> bytes:
    """The PNG ``picture`` with ``text`` as a chunk before its last one."""
    body = b"tEXt" + KEY + b"\0" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return picture[:-12] + chunk + picture[-12:]


if __name__ == "__main__":
    main()
