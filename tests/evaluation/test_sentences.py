"""Differences in words."""

import math

import pytest

from textclf.evaluation.sentences import p_value, points, sentence

DIFFERENCE = {
    "value": 0.0178,
    "low": 0.0058,
    "high": 0.0298,
    "p": 0.0054,
    "p_holm": 0.0054,
    "wins": 31,
    "losses": 12,
    "rows": 1066,
    "smallest_visible": 0.0172,
}
MISSED = (
    "with 1,066 rows and this disagreement (43 rows) a true difference below 1.7 points would be missed in more than "
    "one of five tests."
)
BETTER = f"A is better than B: 31 rows against 12, p = 0.005, difference 1.8 points (0.6 to 3.0); {MISSED}"


def test_the_better_method_comes_first():
    assert sentence("A", "B", DIFFERENCE) == BETTER
    turned = {"value": -0.0178, "low": -0.0298, "high": -0.0058, "wins": 12, "losses": 31}
    assert sentence("B", "A", DIFFERENCE | turned) == BETTER


def test_with_several_pairs_the_adjusted_p_value_decides():
    found = sentence("A", "B", DIFFERENCE | {"p_holm": 0.054})
    p_values = "p = 0.005 (0.054 after Holm's correction)"
    start = f"A and B cannot be told apart: 31 rows against 12, {p_values}, difference 1.8 points (0.6 to 3.0)"
    assert found == f"{start}; {MISSED}"
    assert sentence("A", "B", DIFFERENCE | {"p_holm": 0.049}).startswith("A is better than B: ")


def test_what_is_not_known_is_left_out():
    seeds = sentence("A", "B", DIFFERENCE | {"wins": None, "losses": None})
    assert seeds == BETTER.replace("31 rows against 12, ", "").replace(" (43 rows)", "")
    one_row = {"low": math.nan, "high": math.nan, "smallest_visible": math.nan}
    assert sentence("A", "B", DIFFERENCE | one_row) == (
        "A is better than B: 31 rows against 12, p = 0.005, difference 1.8 points."
    )
    equal = {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "p_holm": 1.0, "wins": 0, "losses": 0}
    assert sentence("A", "B", DIFFERENCE | equal | {"smallest_visible": 0.0}) == (
        "A and B cannot be told apart: 0 rows against 0, p = 1.00, difference 0.0 points (0.0 to 0.0)."
    )


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0005, "< 0.001"), (0.001, "= 0.001"), (0.0499, "= 0.050"), (0.0996, "= 0.100"), (1.0, "= 1.00")]
)
def test_p_values(p, shown):
    assert p_value(p) == shown


def test_points():
    assert [points(share) for share in (0.0178, -0.0004, 1.0)] == ["1.8", "0.0", "100.0"]
