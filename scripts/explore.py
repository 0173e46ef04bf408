"""Explores a data set before training: what is odd in its rows, and which cleaning step mends it.

python scripts/explore.py --config configs/kor_sarcasm.yaml --html explore.html
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from textclf.classes.user_code import search_current_folder
from textclf.console import hush, run_script
from textclf.errors import UserError

NO_METHOD = ["--model", "TfidfClassifier"]
"""Read where the arguments name no method; it has no tokenizer."""


def run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Prints the exploration, and writes what is asked for.

    Raises:
        UserError: An option is wrong, the rows cannot be read, or a place cannot be written.
    """
    import json

    from textclf.files import atomic_path, check_writable

    for path in (options.json, options.html):
        if path is not None:
            check_writable(path)
    if options.json is not None and options.json == options.html:
        raise UserError(f"{options.json!r} is given for two outputs: name a file for each")

    from textclf.cli.app import build_parts
    from textclf.cli.config import axes_as_configs, axes_named
    from textclf.findings.table import as_text
    from textclf.run.exploration import explore

    hush()
    named = axes_named(axes_as_configs(arguments))
    if "--data" not in named:
        raise UserError(
            "there is no data: pass --config with a file such as configs/nsmc.yaml, or --data FilesDataModule "
            "--data.data_dir FOLDER for your own files"
        )
    model, data = build_parts([*arguments, *([] if "--model" in named else NO_METHOD)])
    exploration = explore(
        data, model if "--model" in named else None, label_errors=options.label_errors, similar=options.similar
    )
    print(as_text(exploration), end="", flush=True)
    if options.json is not None:
        with atomic_path(options.json) as temporary:
            temporary.write_text(
                json.dumps(exploration.as_json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
            )
    if options.html is not None:
        from textclf.evaluation.pages.exploration_page import write_exploration_page

        write_exploration_page(Path(options.html), exploration)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="All other arguments are those of `python -m textclf test`: configs of the data and of a method whose "
        "tokenizer counts tokens, then values such as --data.limit '{train: 10000}'.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--html", metavar="FILE", help="write a page with figures and rows there")
    parser.add_argument(
        "--no-label-errors",
        dest="label_errors",
        action="store_false",
        help="do not look for label errors, which takes longest",
    )
    parser.add_argument(
        "--similar",
        action="store_true",
        help="look for near repeats by the embeddings of the configured method, too",
    )
    options, rest = parser.parse_known_args(arguments)
    search_current_folder()  # classes of the user may be there
    return run_script("explore", lambda: run(options, rest))


if __name__ == "__main__":
    sys.exit(main())
