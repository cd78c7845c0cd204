"""What a deleted stack has left behind, so that a new one cannot be created.

The templates keep what must not be lost (DeletionPolicy), and most of it has a name, of which there
can be only one.
"""

from deploy.base.context import Run
from deploy.base.errors import AwsFailure

TAKEN = ("already exists", "already scheduled for deletion")
IMPORT = "docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources.html"
DELETE = "secretsmanager delete-secret --force-delete-without-recovery --secret-id"


def advise(run: Run, stack: str, reason: str) -> str:
    """What to do if ``stack`` cannot be created for this ``reason``; empty if it is another one."""
    if not any(words in reason for words in TAKEN):
        return ""
    if "secret" not in reason.lower():
        return f"import it into the stack ({IMPORT}), or delete it; then run this again"
    try:
        # Also those that wait for their deletion, which keep their names until then
        secrets = run.aws.every(
            "secretsmanager",
            "list_secrets",
            "SecretList",
            IncludePlannedDeletion=True,
            Filters=[{"Key": "name", "Values": [f"{stack}/"]}],
        )
    except AwsFailure as failure:
        return f"delete the secrets whose names begin with {stack}/ ({failure.what})"
    commands = [run.settings.aws(f"{DELETE} {one['Name']}") for one in secrets]
    return (
        f"if nothing uses the secrets of an earlier stack {stack}, whose values are then lost: "
        f"{'; '.join(commands) or 'delete them'}; then run this again"
    )
