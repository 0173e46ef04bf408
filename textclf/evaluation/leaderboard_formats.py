"""Writes a comparison as JSON, CSV, Markdown and LaTeX, from the structure that `comparison.compare` gives."""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections.abc import Callable, Sequence

from textclf.data.relabelling import with_quote
from textclf.evaluation.leaderboard import (
    MOST_SENTENCES,
    RUNS_LEGEND,
    WIDTH,
    headline,
    legend,
    notes,
    rank_notes,
)
from textclf.evaluation.leaderboard_tables import (
    TITLES,
    Table,
    Values,
    chosen_pairs,
    quality_table,
    ranks_table,
    runs_table,
)

LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


# JSON and CSV


def as_json(values: Values) -> str:
    """All of it, as strict JSON."""
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(values: Values) -> str:
    """A line for each data set and method, with all numbers unrounded; unknown ones are empty.

    A text that a spreadsheet would take for a formula has a `'` before it.
    """
    lines = []
    for name, result in values["data_sets"].items():
        for run in result["runs"]:
            line = {"data_set": name, "method": run["name"], "baseline": result["baseline"]}
            lines.append(line | _flat({key: value for key, value in run.items() if key != "name"}))
    header = list(dict.fromkeys(key for line in lines for key in line))
    file = io.StringIO()
    writer = csv.DictWriter(file, header, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({key: with_quote(value) if isinstance(value, str) else value for key, value in line.items()})
    return file.getvalue()


def _flat(entry: Values) -> dict[str, object]:
    """Nested values by their keys, joined by underscores; `metrics` and `value` are not repeated in them."""
    flat: dict[str, object] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            for inner, of_inner in _flat(value).items():
                parts = [part for part in (key, inner) if part not in ("metrics", "value")]
                flat["_".join(parts)] = of_inner
        elif isinstance(value, list):
            flat[key] = "; ".join(map(str, value))
        elif value is not None or key != "difference":  # the baseline has none
            flat[key] = value
    return flat


# Markdown


def as_markdown(values: Values) -> str:
    """A section for each data set with its tables, and one for the ranks."""
    parts = []
    for name, result in values["data_sets"].items():
        parts.append(f"## {markdown_cell(name)}\n\n{markdown_of_one(name, result, values['metric'])}")
    if values["ranks"] is not None:
        parts.append(f"## Ranks\n\n{markdown_of_ranks(values['ranks'])}")
    return "\n\n".join(parts) + "\n"


def markdown_of_one(name: str, result: Values, metric: str) -> str:
    """The tables and sentences of a data set, without a heading."""
    parts = [_paragraph(headline(name, result, metric))]
    parts.append(markdown_table(quality_table(result, metric)))
    parts += [_paragraph(text) for text in (legend(result, metric), *notes(result))]
    parts.append(markdown_table(runs_table(result, metric, commands=True)))
    sentences = [f"- {markdown_cell(pair['sentence'])}" for pair in chosen_pairs(result, MOST_SENTENCES)]
    if sentences:
        parts.append("\n".join(sentences))
    return "\n\n".join(parts)


def markdown_of_ranks(ranks: Values) -> str:
    """The table of ranks, without a heading."""
    return "\n\n".join([markdown_table(ranks_table(ranks)), *(_paragraph(note) for note in rank_notes(ranks))])


def markdown_table(table: Table) -> str:
    """A table in Markdown; cells in backticks are code."""
    rules = {"<": "---", ">": "---:"}
    lines = [table.header, [rules[side] for side in table.alignment]]
    shown = [f"| {' | '.join(markdown_cell(cell) for cell in lines[0])} |", f"|{'|'.join(lines[1])}|"]
    for row in table.rows:
        shown.append(f"| {' | '.join(map(markdown_cell, row))} |")
    return "\n".join(shown)


def markdown_cell(text: str) -> str:
    """One line in which nothing but backticks around all of it is markup."""
    text = " ".join(text.split())
    if len(text) > 2 and text.startswith("`") and text.endswith("`") and "`" not in text[1:-1]:
        return text.replace("|", r"\|")
    text = re.sub(r"([\\|*`])", r"\\\1", text)
    text = re.sub(r"<(?=[\w/!])(?!\d)", r"\<", text)  # of a tag
    text = re.sub(r"\](?=[(\[:])", r"\]", text)  # of a link
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", text)  # within a word it is no emphasis


def _paragraph(text: str) -> str:
    return "\n".join(textwrap.wrap(markdown_cell(text), WIDTH, break_long_words=False, break_on_hyphens=False))


# LaTeX


def as_latex(values: Values) -> str:
    """A table for each data set, and one of ranks, for the package booktabs."""
    parts = ["% needs \\usepackage{booktabs}; names in Hangul need \\usepackage{kotex}, too"]
    for name, result in values["data_sets"].items():
        metric = values["metric"]
        caption = [headline(name, result, metric), legend(result, metric, brief=True), *notes(result)]
        parts.append(_latex_table(quality_table(result, metric, brief=True), ". ".join(caption)))
        parts.append(_latex_table(runs_table(result, metric), f"{name}: {RUNS_LEGEND}"))
    if values["ranks"] is not None:
        ranks = values["ranks"]
        caption = [f"Ranks by {TITLES[ranks['metric']]} (1 is best)", *rank_notes(ranks)]
        parts.append(_latex_table(ranks_table(ranks), ". ".join(caption)))
    return "\n\n".join(parts) + "\n"


def _latex_table(table: Table, caption: str) -> str:
    sides = "".join("l" if side == "<" else "r" for side in table.alignment)
    row = _joined(latex_cell)
    lines = [r"\begin{table}", r"\centering", f"\\caption{{{latex_cell(caption)}}}", f"\\begin{{tabular}}{{{sides}}}"]
    lines += [r"\toprule", row(table.header), r"\midrule", *map(row, table.rows), r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", r"\end{table}"])


def _joined(cell: Callable[[str], str]) -> Callable[[Sequence[str]], str]:
    def row(cells: Sequence[str]) -> str:
        # A row that begins with a bracket would be taken for an argument of the line break before it.
        return " & ".join(f"{{{cell(text)}}}" if text.startswith("[") else cell(text) for text in cells) + r" \\"

    return row


def latex_cell(text: str) -> str:
    """A text in which no sign has a meaning in LaTeX; a minus before a number is one."""
    escaped = "".join(LATEX_SIGNS.get(sign, sign) for sign in " ".join(text.split()))
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)
