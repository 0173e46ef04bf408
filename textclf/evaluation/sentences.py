"""Differences in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textclf.evaluation.paired_tests import LEVEL


def sentence(first: str, second: str, difference: Mapping[str, Any]) -> str:
    """Says what the difference in accuracy of two methods is, and how sure it is.

    Args:
        first: Name of the method with the higher accuracy.
        second: Name of the other.
        difference: `value`, `low`, `high`, `p`, `wins`, `losses`, `rows` and `smallest_visible`, the second subtracted
            from the first.
    """
    if difference["value"] < 0:
        first, second = second, first
        difference = {
            **difference,
            "value": -difference["value"],
            "low": -difference["high"],
            "high": -difference["low"],
            "wins": difference["losses"],
            "losses": difference["wins"],
        }
    verdict = f"{first} is better than {second}"
    if difference["p"] >= LEVEL:
        verdict = f"{first} and {second} cannot be told apart"
    parts = []
    disagreement = "this disagreement"
    if difference["wins"] is not None:
        parts.append(f"{difference['wins']:,} rows against {difference['losses']:,}")
        total = difference["wins"] + difference["losses"]
        disagreement = f"this disagreement ({total:,} rows)"
    parts.append(f"p {p_value(difference['p'])}")
    low, high = (points(difference[bound]) for bound in ("low", "high"))
    parts.append(f"difference {points(difference['value'])} points ({low} to {high})")
    line = f"{verdict}: {', '.join(parts)}"
    visible = points(difference["smallest_visible"])
    if difference["smallest_visible"]:
        line += (
            f"; with {difference['rows']:,} rows and {disagreement} a true difference below {visible} points would be "
            "missed in more than one of five tests"
        )
    return f"{line}."


def points(share: float) -> str:
    """A share in percentage points."""
    return f"{100 * share:.1f}"


def p_value(p: float) -> str:
    """A p-value after its sign, with one digit that counts: `= 0.005`, `< 0.001`."""
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
