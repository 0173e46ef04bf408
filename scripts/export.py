"""Exports a fine-tuned checkpoint to a folder that `transformers` reads alone, with a model card."""

import argparse
import sys
from collections.abc import Sequence

from textclf.console import say, use_utf8
from textclf.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and gives the exit code: 2, after one line, where the user can mend it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="best.ckpt or last.ckpt of a run")
    parser.add_argument("folder", metavar="OUT_FOLDER", help="folder to make")
    options = parser.parse_args(arguments)
    use_utf8()
    from textclf.export import export_checkpoint  # takes seconds to import: not for --help

    try:
        export_checkpoint(options.checkpoint, options.folder)
    except UserError as error:
        print(f"export: error: {error}", file=sys.stderr)
        return 2
    say(f'pipeline("text-classification", model={options.folder!r}, truncation=True) gives the checkpoint\'s scores')
    return 0


if __name__ == "__main__":
    sys.exit(main())
