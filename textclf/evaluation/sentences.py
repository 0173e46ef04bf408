"""Differences in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from textclf.evaluation.paired_tests import LEVEL


def sentence(first: str, second: str, difference: Mapping[str, Any]) -> str:
    """Says what the difference in accuracy of two methods is, and how sure it is.

    Args:
        first: Name of a method.
        second: Name of another.
        difference: `value`, `low`, `high`, `p`, `p_holm`, `wins`, `losses`, `rows` and `smallest_visible`, the second
            subtracted from the first. With several pairs, `p_holm` decides whether one of the two is better.
    """
    if difference["value"] < 0:
        return sentence(second, first, _reversed(difference))
    verdict = f"{first} and {second} cannot be told apart"
    if difference["p_holm"] < LEVEL:
        verdict = f"{first} is better than {second}"
    parts = [_p_values(difference), _with_bounds(difference)]
    disagreement = "this disagreement"
    if difference["wins"] is not None:
        parts.insert(0, f"{difference['wins']:,} rows against {difference['losses']:,}")
        total = difference["wins"] + difference["losses"]
        disagreement = f"this disagreement ({total:,} rows)"
    line = f"{verdict}: {', '.join(parts)}"
    if difference["smallest_visible"] > 0:  # it may be NaN
        visible = points(difference["smallest_visible"])
        line += (
            f"; with {difference['rows']:,} rows and {disagreement} a true difference below {visible} points would be "
            "missed in more than one of five tests"
        )
    return f"{line}."


def _reversed(difference: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **difference,
        "value": -difference["value"],
        "low": -difference["high"],
        "high": -difference["low"],
        "wins": difference["losses"],
        "losses": difference["wins"],
    }


def _p_values(difference: Mapping[str, Any]) -> str:
    p, adjusted = p_value(difference["p"]), p_value(difference["p_holm"])
    return f"p {p}" if adjusted == p else f"p {p} ({adjusted.removeprefix('= ')} after Holm's correction)"


def _with_bounds(difference: Mapping[str, Any]) -> str:
    value = f"difference {points(difference['value'])} points"
    if math.isnan(difference["low"]):
        return value
    return f"{value} ({points(difference['low'])} to {points(difference['high'])})"


def points(share: float) -> str:
    """A share in percentage points."""
    return f"{100 * share:z.1f}"  # z: no minus before a zero


def p_value(p: float) -> str:
    """A p-value after its sign, with one digit that counts: `= 0.005`, `< 0.001`."""
    if p < 0.001:
        return "< 0.001"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
