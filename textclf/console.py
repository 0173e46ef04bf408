"""One line for the person who runs a command."""

import sys

from lightning.pytorch.utilities import rank_zero_only


@rank_zero_only
def say(message: str) -> None:
    """Prints a line on standard error, so that standard output stays free for results; on the first process only."""
    print(f"textclf: {message}", file=sys.stderr, flush=True)
