"""Query OSV for known vulnerabilities of the packages in the lock files.

Usage: python -m tools.audit [LOCK ...]      all of requirements/, if none is named

Exits with 1 if one is known that devops/vulnerabilities.toml does not accept today, or if a
query was not answered. AUDIT_URL is another address for the queries.
"""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from deploy.delivery import scan
from tools import interrupts

LOCKS = ("uv", "build", "main", "dev", "checkov")  # dev includes those of run and deploy


def main() -> None:
    """Exits with 1 and a message unless pip-audit exits with 0."""
    locks = sys.argv[1:] or [f"requirements/{name}.txt" for name in LOCKS]
    today = datetime.now(UTC).date()
    # One at a time: a query must not contain two versions of a package
    codes = [audit(lock, today) for lock in locks]
    if any(codes):
        raise SystemExit(
            "audit: see above. Update these packages (make lock ARGS=--upgrade), or accept them "
            f"temporarily in {scan.NAME}."
        )


def audit(lock: str, today: date) -> int:
    """The exit code of pip-audit for the packages of one lock."""
    accepted = sorted(scan.ids(scan.read(Path()), today))
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pip_audit",
            "--vulnerability-service=osv",
            "--disable-pip",
            "--require-hashes",
            "--strict",
            "--progress-spinner=off",
            "--desc=off",
            *([f"--osv-url={os.environ['AUDIT_URL']}"] if os.environ.get("AUDIT_URL") else []),
            f"--requirement={lock}",
            *(f"--ignore-vuln={one}" for one in accepted),
        ]
    ).returncode


if __name__ == "__main__":
    interrupts.run(main, "some lock files were not checked")
