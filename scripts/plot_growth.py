"""Draws how the cost of label likelihood grows with labels, prompt length and texts.

The report comes from `benchmark.py likelihood_growth --json REPORT`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textclf.console import run_script
from textclf.errors import UserError


def draw(report: dict[str, Any], path: Path) -> None:
    """Draws seconds per text against the number of labels and the length of prompts.

    Args:
        report: What `benchmark.py --json` wrote.
        path: A PNG file.

    Raises:
        UserError: The report is not one of `likelihood_growth`.
    """
    from matplotlib.ticker import LogLocator

    from textclf.evaluation.figures.style import drawing

    try:
        measured = report["parts"]["likelihood_growth"]["contenders"]
    except (KeyError, TypeError):
        raise UserError(
            "the report has no part likelihood_growth: run `benchmark.py likelihood_growth --json REPORT`"
        ) from None
    panels = {
        "labels": ("labels", "number of labels"),
        "tokens": ("prompt tokens", "tokens of a prompt, four labels"),
        "texts": ("rows", "number of texts, four labels"),
    }
    with drawing(path, 13, 4, title_of(report)) as figure:
        for place, (unit, (count, title)) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, 3, place)
            chosen = [c for c in measured if c["name"].endswith(f" {unit}")]
            for way in dict.fromkeys(c["name"].rpartition(", ")[0] for c in chosen):
                own = [c for c in chosen if c["name"].startswith(way)]
                sizes = [c["counts"][count] for c in own]
                seconds_per_text = [c["median"] / c["counts"]["rows"] for c in own]
                axes.plot(sizes, seconds_per_text, marker="o", label=way)
            scale = "linear" if unit == "texts" else "log"  # a constant time per text then looks flat
            axes.set(xlabel=title, ylabel="seconds a text", xscale=scale, yscale=scale)
            if scale == "log":
                counts = sorted({c["counts"][count] for c in chosen})
                axes.set_xticks(counts, [f"{value:,.0f}" for value in counts])
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.minorticks_off()
            if scale == "linear":
                axes.set_ylim(bottom=0)
            axes.legend()


def title_of(report: dict[str, Any]) -> list[str]:
    """Title of the figure: model, rows, processor and time."""
    options, machine = report.get("options", {}), report.get("machine", {})
    rows = options.get("data_dir") or "pieces of BBC News"
    where = [f"{machine[name]}" for name in ("cpu", "time") if machine.get(name)]
    return [f"label likelihood: {options.get('pretrained') or 'a causal language model'}, {rows}", ", ".join(where)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", metavar="REPORT", type=Path, help="JSON file of benchmark.py likelihood_growth")
    parser.add_argument("picture", metavar="PICTURE", type=Path, help="PNG file to write")
    options = parser.parse_args(arguments)
    return run_script("plot_growth", lambda: draw(read_report(options.report), options.picture))


def read_report(path: Path) -> Any:
    """Reads the JSON file.

    Raises:
        UserError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the report {str(path)!r} cannot be read ({error}): give a file of benchmark.py") from error


if __name__ == "__main__":
    sys.exit(main())
