"""Evaluates a run of label likelihood with other score rules, from its stored scores alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from textclf.console import align_table
from textclf.errors import UserError
from textclf.evaluation.metrics import predicted_classes
from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.report import (
    Metrics,
    interval_fields,
    missing_classes,
    missing_note,
    summarize,
    table_intervals,
)
from textclf.scoring.rules import RULES
from textclf.scoring.score_file import StoredScores

COLUMNS = {
    "rows": ("examples", "{:,}"),
    "accuracy": ("test/accuracy", "{:.4f}"),
    "from": ("test/accuracy_low", "{:.4f}"),
    "to": ("test/accuracy_high", "{:.4f}"),
    "macro F1": ("test/macro_f1", "{:.4f}"),
    "NLL": ("test/nll", "{:.4f}"),
    "Brier": ("test/brier", "{:.4f}"),
    "ECE": ("test/ece", "{:.4f}"),
    "majority": ("test/majority_accuracy", "{:.4f}"),
}


def rescore(stored: StoredScores, rules: Sequence[str] | None = None) -> tuple[dict[str, Metrics], list[str]]:
    """Computes the metrics of each rule, as a test with that rule would report them.

    Args:
        stored: A run's scores.
        rules: Names or paths of rules; by default all of `RULES`, and the run's own if it is not one of them.

    Returns:
        Metrics by rule, with `missing_classes`, and a line for each rule for which the run has not stored enough.
    """
    metrics: dict[str, Metrics] = {}
    absent = []
    for rule in known_rules(stored) if rules is None else rules:
        try:
            scores, labels = stored.scores_by(rule)
        except UserError as error:
            absent.append(str(error))
            continue
        table = PredictionTable(
            ids=[],
            texts=[],
            labels=labels,
            predictions=predicted_classes(torch.from_numpy(scores)).numpy(),
            log_scores=scores,
            label_names=stored.label_names,
            has_probabilities=True,
        )
        metrics[rule] = {
            **summarize(table),
            **interval_fields(table_intervals(table), len(labels)),
            "missing_classes": missing_classes(table),
        }
    return metrics, absent


def known_rules(stored: StoredScores) -> list[str]:
    """All of `RULES`, and the run's own rule if it is not one of them."""
    own = stored.facts["rule"]
    return [*RULES] if own in RULES else [*RULES, own]


def rules_table(metrics: dict[str, Metrics], used: str) -> str:
    """A table with a line for each rule; `*` marks the rule that the run itself used."""
    lines = [["rule", *COLUMNS]]
    for rule, values in metrics.items():
        line = [f"{rule} *" if rule == used else rule]
        for key, form in COLUMNS.values():
            value = values[key]
            line.append("-" if value is None else form.format(value))
        lines.append(line)
    return "\n".join(align_table(lines, "<" + ">" * len(COLUMNS)))


def missing_lines(metrics: Mapping[str, Metrics]) -> list[str]:
    """Names the classes without rows, in one line for all rules that are evaluated on the same rows.

    Args:
        metrics: What `rescore` gave.
    """
    rules_of: dict[tuple[str, ...], list[str]] = {}
    for rule, values in metrics.items():
        missing = values["missing_classes"]
        assert isinstance(missing, list)
        rules_of.setdefault(tuple(missing), []).append(rule)
    lines = []
    for names, rules in rules_of.items():
        if names:
            of_rules = "" if len(rules_of) == 1 else f" ({', '.join(rules)})"
            lines.append(f"classes without rows{of_rules}: {missing_note(names)}")
    return lines


def facts_lines(facts: Mapping[str, Any]) -> list[str]:
    """The work of a run, and the cost of rounding where it was measured, one line each.

    Args:
        facts: Those of `StoredScores`.
    """
    lines = []
    if work := facts.get("work"):
        share = work["padding"] / max(1, work["padding"] + work["tokens"])
        counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in work.items())
        lines.append(f"work: {counts} ({share:.1%} of the tokens are padding)")
    if rounding_cost := facts.get("numerics"):
        lines.append(
            f"numerics: {int(rounding_cost['numerics/examples']):,} rows against the plain strategy in fp32: a label "
            f"differs by {rounding_cost['numerics/largest_difference_nats']:.3g} nats at most, "
            f"{rounding_cost['numerics/changed_predictions']:.1%} of the predictions change"
        )
    return lines
