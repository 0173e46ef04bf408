"""`python -m textclf`, and the `textclf` command."""

import sys

from textclf.classes.user_code import search_current_folder
from textclf.redaction import print_redacted


def run() -> None:
    """Runs the command line; Ctrl-C during its imports, which take seconds, ends it without a traceback."""
    search_current_folder()
    sys.excepthook = print_redacted
    try:
        from textclf.cli import main  # noqa: PLC0415 - takes seconds, in which Ctrl-C ends it quietly
    except KeyboardInterrupt:
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
