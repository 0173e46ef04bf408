"""Writes a comparison as text for a terminal, from the structure that `comparison.compare` gives."""

from __future__ import annotations

import re

from textclf.console import align_table, display_width
from textclf.evaluation.leaderboard_tables import (
    SHARES,
    TITLES,
    Table,
    Values,
    agreement_table,
    chosen_pairs,
    good_ensembles,
    has_counts,
    number,
    p_cell,
    quality_table,
    quantity,
    ranks_table,
    reasons,
    runs_table,
)
from textclf.evaluation.paired_tests import LEVEL
from textclf.evaluation.sentences import points

WIDTH = 120
"""Columns of the terminal that text output is written for."""
NARROWEST_NAME = 16
RUNS_LEGEND = (
    "texts/s: texts per second of the test, encoding included (unknown where vectors were kept from an earlier run); "
    "memory: peak of the run; trained: parameters; front: no other method is at least as good and as fast, and better "
    "in one of both"
)
MOST_SENTENCES = 6
MOST_MATRIX_METHODS = 6
"""With more methods, the agreement of pairs is summarized."""
MOST_ENSEMBLES = 3


def as_text(values: Values) -> str:
    """The comparison for a terminal of 120 columns; what is left out with many methods is in the JSON structure."""
    parts = []
    for name, result in values["data_sets"].items():
        parts.append("\n".join(_text_of_one(name, result, values["metric"])))
    if values["ranks"] is not None:
        parts.append("\n".join(_ranks_text(values["ranks"])))
    return "\n\n\n".join(parts) + "\n"


def _text_of_one(name: str, result: Values, metric: str) -> list[str]:
    lines = [*_wrapped(headline(name, result, metric)), ""]
    lines += _fitted(quality_table(result, metric, brief=True), WIDTH)
    lines += ["", *_wrapped(legend(result, metric, brief=True))]
    for note in notes(result):
        lines += _wrapped(note, "  ")
    table = runs_table(result, metric)
    if len(table.header) > 2:  # more than the names
        lines += ["", *_fitted(table, WIDTH), "", *_wrapped(RUNS_LEGEND)]
    if result["pairs"]:
        lines += ["", *_sentences(result, metric), "", *_agreement_lines(result)]
    return lines


def headline(name: str, result: Values, metric: str) -> str:
    """The data set, its rows, the baseline, and the smallest difference that it can show."""
    visible = points(result["smallest_visible"]["accuracy"])
    majority = quantity("accuracy", result["runs"][0]["majority_accuracy"])
    dropped = ""
    if result["dropped_rows"]:
        dropped = f" ({result['dropped_rows']:,} rows that not all runs have are left out)"
    return (
        f"{name}: {result['rows']:,} rows{dropped}, by {TITLES[metric]}; baseline {result['baseline']}; majority "
        f"class {majority} %; a true difference below {visible} points would be missed in more than one of five tests "
        "(if 10 % of the rows differ)"
    )


def legend(result: Values, metric: str, brief: bool = False) -> str:
    """What the columns of the quality table are; `brief` as there."""
    unit = "points" if metric in SHARES else TITLES[metric]
    accuracy_test = "exact McNemar test" if result["clusters"] is None else "permutation test"
    test = accuracy_test if metric == "accuracy" else "paired permutation test"
    if any(run["seeds"] > 1 for run in result["runs"]):
        test += ", Student's t with several seeds"
    counts = "b/c: rows that only this method / only the baseline gets right; " if has_counts(metric, brief) else ""
    rows = "" if result["clusters"] is None else f"; {result['clusters']:,} groups of rows are resampled"
    return (
        f"accuracy and macro-F1 in %, [95 % interval]; difference: to the baseline, in {unit}; {counts}p: {test}; "
        f"group: a new one begins with a method that is significantly worse than the best of the group above{rows}"
    )


def notes(result: Values) -> list[str]:
    """Warnings beside the figures."""
    lines = []
    for reason, places in reasons(result["runs"]):
        of_all = len(places) == len(result["runs"]) > 1
        of_some = ", ".join(f"#{place}" for place in places)
        lines.append(f"intervals may be too narrow: {reason} ({'all methods' if of_all else of_some})")
    answered = [run["difference"]["nll"]["rows"] for run in result["runs"] if run["difference"]]
    answered = [rows for rows in answered if 0 < rows < result["rows"]]
    if answered:
        fewest, all_rows = f"{min(answered):,}", f"{result['rows']:,}"
        lines.append(
            f"differences of NLL and Brier are over the rows that both answered, at least {fewest} of {all_rows}"
        )
    return lines


def _sentences(result: Values, metric: str) -> list[str]:
    lines = [] if metric == "accuracy" else ["In accuracy:"]
    pairs = chosen_pairs(result, MOST_SENTENCES)
    for pair in pairs:
        lines += _wrapped(pair["sentence"], "  ")
    left_out = len(result["pairs"]) - len(pairs)
    if left_out:
        lines.append(f"({left_out} more pairs: --json)")
    return lines


def _agreement_lines(result: Values) -> list[str]:
    pairs = result["agreement"]
    lines = []
    if 2 < len(result["runs"]) <= MOST_MATRIX_METHODS:
        lines += ["Cohen's kappa; rows that the method of the line gets right and that of the column does not:"]
        lines += _side_by_side(agreement_table(result, "kappa"), agreement_table(result, "only"))
    else:
        ordered = sorted(pairs, key=lambda pair: pair["kappa"] if pair["kappa"] is not None else 2.0)
        chosen = pairs if len(pairs) == 1 else [ordered[0], ordered[-1]]
        for pair, what in zip(chosen, ("least agreement", "most agreement"), strict=False):
            lead = "agreement" if len(pairs) == 1 else what
            text = (
                f"{lead}: Cohen's kappa {number(pair['kappa'], 2)}; {pair['only_first']:,} rows only {pair['first']} "
                f"gets right, {pair['only_second']:,} only {pair['second']}"
            )
            lines += _wrapped(text, "  ")
    missed = result["all_miss"]["count"]
    lines.append(f"rows that all methods miss: {missed:,} ({quantity('accuracy', missed / result['rows'])} %)")
    return lines + _ensemble_lines(result)


def _ensemble_lines(result: Values) -> list[str]:
    chosen = good_ensembles(result, MOST_ENSEMBLES)
    if not chosen:
        return ["no ensemble has a higher accuracy than the best method"]
    lines = ["ensembles with a higher accuracy than the best method (chosen on these rows, hence optimistic):"]
    for ensemble, way, reached in chosen:
        members = "all methods" if len(ensemble["of"]) == len(result["runs"]) > 2 else " + ".join(ensemble["of"])
        figures = f"accuracy {quantity('accuracy', reached['accuracy'])} %"
        figures += f", macro-F1 {quantity('macro_f1', reached['macro_f1'])} %"
        lines += _wrapped(f"{figures}: {way} of {members}", "    ", "  ")
    return lines


def _ranks_text(ranks: Values) -> list[str]:
    lines = [f"Ranks by {TITLES[ranks['metric']]} over {len(ranks['data_sets'])} data sets (1 is best)", ""]
    table = ranks_table(ranks)
    numbered = [f"[{place}]" for place in range(1, len(ranks["data_sets"]) + 1)]
    lines += _fitted(Table([*table.header[:2], *numbered], table.alignment, table.rows), WIDTH, "method")
    key = ", ".join(f"{place} {name}" for place, name in zip(numbered, ranks["data_sets"], strict=True))
    lines += ["", *_wrapped(key)]
    for note in rank_notes(ranks):
        lines += _wrapped(note, "  ")
    return lines


def rank_notes(ranks: Values) -> list[str]:
    """The tests over data sets, and what is left out, in words."""
    lines = [ranks["note"]]
    if ranks["friedman"] is not None:
        lines.append(f"Friedman's test that all methods are alike: p {_compared(ranks['friedman']['p'])}")
        critical = number(ranks["nemenyi"]["critical_difference"], 2)
        lines.append(f"Nemenyi: mean ranks that differ by less than {critical} cannot be told apart")
    if ranks["wilcoxon"] is not None:
        found = [pair for pair in ranks["wilcoxon"] if pair["p_holm"] is not None and pair["p_holm"] < LEVEL]
        shown = [f"{pair['first']} and {pair['second']} (p {_compared(pair['p_holm'])})" for pair in found]
        lines.append(f"Wilcoxon (Holm), significant: {'; '.join(shown) or 'no pair'}")
    if ranks["left_out"]:
        lines.append(f"not in all data sets, and left out: {', '.join(ranks['left_out'])}")
    return lines


def _compared(p: float) -> str:
    shown = p_cell(p)
    return f"< {shown[1:]}" if shown.startswith("<") else f"= {shown}"


def _wrapped(text: str, indent: str = "", first: str = "") -> list[str]:
    """Lines of at most `WIDTH` columns, of which wide characters take two."""
    lines = [first]
    is_empty = True
    for word in text.split():
        longer = lines[-1] + ("" if is_empty else " ") + word
        if is_empty or display_width(longer) <= WIDTH:
            lines[-1] = longer
        else:
            lines.append(indent + word)
        is_empty = False
    return lines


def _fitted(table: Table, width: int, column: str = "method") -> list[str]:
    """An aligned table; names that do not fit are cut in their middle."""
    place = table.header.index(column)
    others = 0
    for index, title in enumerate(table.header):
        if index != place:
            others += 2 + max(map(display_width, [title, *(row[index] for row in table.rows)]))
    room = max(NARROWEST_NAME, width - others)
    rows = []
    for row in table.rows:
        name = row[place]
        if display_width(name) > room:
            name = shortened(_without_owner(name), room)
        rows.append([*row[:place], name, *row[place + 1 :]])
    return align_table([table.header, *rows], table.alignment)


def _without_owner(name: str) -> str:
    """Weights from the hub without their owner: `NLIZeroShot (xlm-v-base-mnli)`."""
    return re.sub(r"\([^()\s/]+/([^()\s/]+)\)", r"(\1)", name)


def shortened(name: str, width: int) -> str:
    """Cuts a name in its middle, where names of methods are most alike.

    Args:
        name: One line.
        width: Terminal columns that it may take.
    """
    if display_width(name) <= width:
        return name
    head, tail = list(name), []
    while display_width("".join(head)) > (width - 1) * 3 // 5:
        tail.append(head.pop())
    tail.reverse()
    while display_width("".join(tail)) > width - 1 - display_width("".join(head)):
        tail.pop(0)
    return "".join([*head, "…", *tail])


def _side_by_side(left: Table, right: Table) -> list[str]:
    first = align_table([left.header, *left.rows], left.alignment)
    second = align_table([right.header, *right.rows], right.alignment)
    width = max(map(display_width, first)) + 6
    lines = []
    for one, other in zip(first, second, strict=True):
        lines.append(one + " " * (width - display_width(one)) + other)
    return lines
