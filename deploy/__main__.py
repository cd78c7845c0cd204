"""Starts the command line, if its packages are installed."""

import sys

NEEDED = ("boto3", "click", "yaml")


def main() -> int:
    """The exit code; see ``deploy.commands.cli.main``."""
    try:
        from deploy.commands.cli import main as cli
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(
            f"deploy: {sys.executable} lacks the package {error.name!r}. Install the "
            "requirements: make .venv/installed, or: "
            "python3 tools/install.py .venv requirements/deploy.txt",
            file=sys.stderr,
        )
        return 1
    return cli.start()


if __name__ == "__main__":
    sys.exit(main())
