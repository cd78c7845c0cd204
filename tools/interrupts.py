"""What Ctrl-C prints in the programs of this folder: one line in place of a traceback."""

import sys
from collections.abc import Callable


def run(main: Callable[[], None], left: str) -> None:
    """Run ``main``; after Ctrl-C, print what is ``left``, and exit with 130."""
    try:
        main()
    except KeyboardInterrupt:
        print(f"\nInterrupted: {left}.", file=sys.stderr)
        raise SystemExit(130) from None
