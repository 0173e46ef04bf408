"""The page of a comparison: its tables, and the rows with the answers of all methods side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textclf.evaluation.compared_methods import Method
from textclf.evaluation.curves import text_lengths
from textclf.evaluation.leaderboard import headline, legend, notes, rank_notes
from textclf.evaluation.leaderboard_tables import Values, chosen_pairs, ranks_table
from textclf.evaluation.pages.comparison_parts import (
    agreement_cells,
    commands,
    ensemble_cells,
    kappa_cells,
    length_chart,
    quality_cells,
    run_cells,
    speed_chart,
    text_cells,
)
from textclf.evaluation.pages.page import write_page
from textclf.evaluation.pages.report_rows import fitting_rows
from textclf.evaluation.readable_rows import confidences

MOST_ROWS = 100_000
"""Rows of all data sets together, at most."""
MOST_CHARACTERS = 40_000_000
"""Characters of their texts, at most."""
MOST_SENTENCES = 30
SEED = 0


def write_comparison_page(
    path: str | Path, values: Values, compared: Mapping[str, Sequence[Method]], most_rows: int = MOST_ROWS
) -> None:
    """Writes a comparison as one HTML file.

    Args:
        path: The file to write.
        values: The numbers that `textclf.evaluation.comparison.compare_methods` gives.
        compared: The methods of each data set that it gives.
        most_rows: Rows that the page holds, at most.

    Raises:
        UserError: No space is left.
    """
    metric = values["metric"]
    share = 1 / len(compared)
    sections, data = [], []
    for number, (name, methods) in enumerate(compared.items()):
        result = values["data_sets"][name]
        rows = held_rows(methods, int(most_rows * share), int(MOST_CHARACTERS * share))
        data.append(rows_data(name, methods, rows))
        charts = [chart for chart in (speed_chart(result, metric), length_chart(methods, metric)) if chart]
        sections.append(_section(number, name, result, metric, len(rows)) | {"charts": charts})
    ranks = values["ranks"]
    names = ", ".join(values["data_sets"])
    write_page(
        path,
        "comparison.html",
        data,
        scripts=["comparison.js"],
        title=f"Comparison on {names}" if len(sections) == 1 else f"Comparison on {len(sections)} data sets",
        sections=sections,
        ranks=None if ranks is None else {"table": text_cells(ranks_table(ranks)), "notes": rank_notes(ranks)},
    )


def _section(number: int, name: str, result: Values, metric: str, held: int) -> dict[str, Any]:
    """What the template shows of a data set."""
    several_seeds = any(run["seeds"] > 1 for run in result["runs"])
    return {
        "name": name,
        "headline": headline(name, result, metric),
        "legend": legend(result, metric),
        "notes": notes(result),
        "quality": quality_cells(result, metric),
        "runs": run_cells(result, metric),
        "sentences": [pair["sentence"] for pair in chosen_pairs(result, MOST_SENTENCES)],
        "agreement": agreement_cells(result, number),
        "kappa": kappa_cells(result),
        "all_miss": {"count": result["all_miss"]["count"], "open": {"data": number, "answers": "wrong"}},
        "ensembles": ensemble_cells(result),
        "commands": commands(result),
        "several_seeds": several_seeds,
        "rows": result["rows"],
        "held": held,
    }


def held_rows(methods: Sequence[Method], most_rows: int, most_characters: int) -> np.ndarray:
    """Chooses the rows that a page holds: all, or, where they are too many, rather those that methods differ on.

    Args:
        methods: The methods of a data set.
        most_rows: How many rows at most.
        most_characters: Number of characters of their texts, at most.

    Returns:
        Row indices in their order, int64, shape (rows,).
    """
    lengths = text_lengths(methods[0].runs[0].table)
    size = len(lengths)
    if size <= most_rows and lengths.sum() <= most_characters:
        return np.arange(size)
    answers = np.stack([method.answers.predictions[0] for method in methods])
    differ = (answers != answers[0]).any(axis=0)
    drawn = np.random.default_rng(SEED).permutation(size)
    order = np.concatenate([drawn[differ[drawn]], drawn[~differ[drawn]]])
    return fitting_rows(order, lengths, most_rows, most_characters)


def rows_data(name: str, methods: Sequence[Method], rows: np.ndarray) -> dict[str, Any]:
    """The rows of a data set and the answers to them, column by column, as plain values.

    Args:
        name: The data set.
        methods: The methods; of several seeds, the answers are those of the first.
        rows: Indices of the rows.

    Returns:
        `name`, `names` (of the classes), `ids`, `texts`, `pairs` (None without), `labels` (class indices), and
        `methods`, each with `name`, `predictions` (-1 for an invalid answer) and `confidences` (None without).
    """
    table = methods[0].runs[0].table
    chosen = rows.tolist()
    pairs = table.text_pairs
    return {
        "name": name,
        "names": list(table.label_names),
        "ids": [table.ids[row] for row in chosen],
        "texts": [table.texts[row] for row in chosen],
        "pairs": None if pairs is None else [pairs[row] for row in chosen],
        "labels": table.labels[rows].tolist(),
        "methods": [_answers(method, rows) for method in methods],
    }


def _answers(method: Method, rows: np.ndarray) -> dict[str, Any]:
    table = method.runs[0].table
    known: list[float | None] | None = None
    if table.has_probabilities:
        rounded = confidences(table)[rows].round(3).tolist()
        known = [None if math.isnan(value) else value for value in rounded]
    return {"name": method.name, "predictions": table.predictions[rows].tolist(), "confidences": known}
