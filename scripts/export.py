"""Exports a fine-tuned checkpoint to a folder that `transformers` reads alone, with a model card."""

import argparse
import sys
from collections.abc import Sequence

from textclf.classes.user_code import import_module, search_current_folder
from textclf.console import hush, run_script, say
from textclf.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", metavar="CKPT", help="best.ckpt or last.ckpt of a run")
    parser.add_argument("folder", metavar="OUT_FOLDER", help="folder to create")
    parser.add_argument(
        "--import",
        dest="modules",
        metavar="MODULE",
        action="append",
        default=[],
        help="module that defines the class in the checkpoint, such as mypkg.tuned; may be given several times",
    )
    options = parser.parse_args(arguments)
    return run_script("export", lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Exports the checkpoint."""
    from textclf.export import export_checkpoint  # takes seconds to import: not for --help

    hush()
    import_modules(options.modules)
    export_checkpoint(options.checkpoint, options.folder)
    say(f'pipeline("text-classification", model={options.folder!r}, truncation=True) gives the checkpoint\'s scores')


def import_modules(names: Sequence[str]) -> None:
    """Imports modules that define classes of the user's own, installed or in the current folder.

    Args:
        names: Dotted names of modules.

    Raises:
        UserError: There is no such module, or importing it fails.
    """
    search_current_folder()
    for name in names:
        try:
            import_module(name, f"--import {name}")
        except ModuleNotFoundError as error:
            raise UserError(
                f"--import {name}: there is no module {error.name!r}: install its package, or run in its folder"
            ) from error


if __name__ == "__main__":
    sys.exit(main())
