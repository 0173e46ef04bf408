"""Comparisons of invented runs: seeds, folds, classes in another order, common rows, groups of rows, and ties."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, matthews_corrcoef

from tests.evaluation.run_folders import NAMES, configuration, invented_labels, write_run, write_table
from textclf.errors import UserError
from textclf.evaluation import comparison, intervals, resampling
from textclf.evaluation.answers import METRICS
from textclf.evaluation.comparison import compare
from textclf.evaluation.paired_tests import holm, mcnemar
from textclf.evaluation.prediction_table import read_predictions
from textclf.evaluation.run_records import find_runs, read_run


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 200)
    monkeypatch.setattr(intervals, "RESAMPLES", 200)


def compared(*folders, data="Toy", **options):
    values = compare([read_run(folder) for folder in folders], **options)
    json.dumps(values, allow_nan=False)  # strict JSON
    return values["data_sets"][data]


def by_name(result):
    return {run["name"]: run for run in result["runs"]}


def test_metrics_and_differences_are_those_of_the_tables(tmp_path):
    a = write_run(tmp_path / "a", "A", accuracy=0.6, rows=200)
    b = write_run(tmp_path / "b", "B", accuracy=0.8, rows=200, seed=1)
    result = compared(a, b)
    assert result["baseline"] == "A"
    assert [run["name"] for run in result["runs"]] == ["B", "A"]
    tables = {name: read_predictions(folder / "report/predictions.parquet") for name, folder in (("A", a), ("B", b))}
    for name, table in tables.items():
        found = {metric: entry["value"] for metric, entry in by_name(result)[name]["metrics"].items()}
        assert found["accuracy"] == pytest.approx((table.predictions == table.labels).mean())
        assert found["macro_f1"] == pytest.approx(f1_score(table.labels, table.predictions, average="macro"))
        assert found["mcc"] == pytest.approx(matthews_corrcoef(table.labels, table.predictions))
        assert found["nll"] == pytest.approx(log_loss(table.labels, np.exp(table.log_scores), labels=range(3)))
    right = {name: table.predictions == table.labels for name, table in tables.items()}
    wins, losses = int((right["B"] & ~right["A"]).sum()), int((right["A"] & ~right["B"]).sum())
    difference = by_name(result)["B"]["difference"]["accuracy"]
    assert (difference["wins"], difference["losses"]) == (wins, losses)
    assert difference["p"] == difference["p_holm"] == pytest.approx(mcnemar(wins, losses))
    assert difference["value"] == pytest.approx((wins - losses) / 200)
    assert difference["low"] < difference["value"] < difference["high"]
    assert by_name(result)["A"]["difference"] is None
    assert f"B is better than A: {wins} rows against {losses}" in result["pairs"][0]["sentence"]
    assert result["agreement"][0]["only_first"] == wins
    assert result["smallest_visible"]["accuracy"] == pytest.approx(2.8 * math.sqrt(0.1 / 200), rel=0.01)


def test_holm_over_the_baseline_and_over_all_pairs(tmp_path):
    folders = [write_run(tmp_path / n, n, accuracy=0.6 + 0.1 * i, seed=i, rows=100) for i, n in enumerate("abc")]
    result = compared(*folders, baseline=None)
    for metric in METRICS:
        to_baseline = [run["difference"][metric] for run in result["runs"] if run["difference"]]
        assert [each["p_holm"] for each in to_baseline] == pytest.approx(holm([each["p"] for each in to_baseline]))
        pairs = [pair["difference"][metric] for pair in result["pairs"]]
        assert [each["p_holm"] for each in pairs] == pytest.approx(holm([each["p"] for each in pairs]))
    assert len(result["pairs"]) == 3


@pytest.mark.parametrize(
    ("significant", "groups"),
    [
        ("", [1, 1, 1, 1]),
        ("AC AD", [1, 1, 2, 2]),
        ("AC AD CD", [1, 1, 2, 3]),
        ("AD BD", [1, 1, 1, 2]),
        ("AB AC AD BC BD", [1, 2, 3, 3]),
        ("BC", [1, 1, 1, 1]),  # within a group two methods may differ
    ],
)
def test_groups_begin_at_the_first_that_is_worse_than_the_best_above(significant, groups):
    adjusted = {}
    for one in range(4):
        for other in range(one + 1, 4):
            pair = "ABCD"[one] + "ABCD"[other]
            adjusted[one, other] = {"accuracy": 0.01 if pair in significant.split() else 0.2}
    assert comparison._groups_of_ties([0.9, 0.8, 0.7, 0.6], adjusted, "accuracy") == groups


@pytest.mark.parametrize(
    ("values", "groups"),
    [([0.5, 0.6, np.inf, np.nan], [1, 1, 2, 2]), ([np.nan] * 4, [1] * 4), ([0.5] + [np.nan] * 3, [1, 2, 2, 2])],
)
def test_methods_whose_metric_is_unknown_are_the_last_group(values, groups):
    adjusted = {}
    for one in range(4):
        for other in range(one + 1, 4):
            adjusted[one, other] = {"nll": 0.2 if np.isfinite(values[other]) else np.nan}
    assert comparison._groups_of_ties(values, adjusted, "nll") == groups


def test_the_metric_orders_and_groups(tmp_path):
    def unsure(predictions, log_scores):
        log_scores[:] = np.log(0.3)
        log_scores[np.arange(len(predictions)), predictions] = np.log(0.4)

    a = write_run(tmp_path / "a", "A", accuracy=0.95, rows=300, change=unsure)
    b = write_run(tmp_path / "b", "B", accuracy=0.8, rows=300, seed=1)
    assert [run["name"] for run in compared(a, b)["runs"]] == ["A", "B"]
    result = compared(a, b, metric="nll")
    assert [(run["name"], run["group"]) for run in result["runs"]] == [("B", 1), ("A", 2)]


def test_seeds_of_one_configuration_are_one_row(tmp_path):
    folders = []
    for seed, accuracy in enumerate((0.7, 0.75, 0.8)):
        folder = tmp_path / f"s{seed}"
        folders.append(write_run(folder, "S", config=configuration(seed, seed), accuracy=accuracy, seed=seed, rows=200))
    other = write_run(tmp_path / "other", "O", config=configuration(C=2), accuracy=0.5, seed=9, rows=200)
    result = compared(other, *folders)
    several = by_name(result)["S"]
    assert several["seeds"] == 3
    assert several["runs"] == [str(folder) for folder in folders]
    values = []
    for folder in folders:
        table = read_predictions(folder / "report/predictions.parquet")
        values.append((table.predictions == table.labels).mean())
    accuracy = several["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(np.mean(values))
    assert accuracy["sd"] == pytest.approx(np.std(values, ddof=1))
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    difference = several["difference"]["accuracy"]
    assert difference["wins"] is difference["losses"] is None
    assert difference["value"] == pytest.approx(np.mean(values) - by_name(result)["O"]["metrics"]["accuracy"]["value"])
    assert "rows against" not in result["pairs"][0]["sentence"]


def test_other_settings_are_another_method(tmp_path):
    one = write_run(tmp_path / "1", "M", config=configuration(C=1))
    ten = write_run(tmp_path / "10", "M", config=configuration(C=10), seed=1)
    assert {run["name"] for run in compared(one, ten)["runs"]} == {"M, C 1", "M, C 10"}


def test_methods_without_a_configuration_are_named_by_their_folders(tmp_path):
    a, b = write_run(tmp_path / "a" / "0", "M"), write_run(tmp_path / "b" / "0", "M", seed=1)
    assert {run["name"] for run in compared(a, b)["runs"]} == {"M, a/0", "M, b/0"}


def folds_of(tmp_path, name, rows=90, number=3, **table):
    """The runs of all folds, whose tables have the rows in turn."""
    labels = invented_labels(rows)
    folders = []
    for fold in range(number):
        own = range(fold, rows, number)
        config = configuration(folds=number, fold=fold, C=name)
        ids = [f"row {row}" for row in own]
        folder = tmp_path / f"{name}-{fold}"
        folders.append(write_run(folder, name, config=config, labels=labels[own], ids=ids, seed=fold, **table))
    return folders


def test_folds_are_pooled_by_id(tmp_path):
    a, b = folds_of(tmp_path, "A"), folds_of(tmp_path, "B", accuracy=0.5)
    result = compared(*reversed(a), *b)
    assert result["rows"] == 90
    runs = by_name(result)
    assert runs["A"]["seeds"] == 1
    assert runs["A"]["runs"] == [str(folder) for folder in a]
    right = 0
    for folder in a:
        table = read_predictions(folder / "report/predictions.parquet")
        right += (table.predictions == table.labels).sum()
    assert runs["A"]["metrics"]["accuracy"]["value"] == pytest.approx(right / 90)


def test_folds_that_are_missing_or_named_twice(tmp_path):
    a, b = folds_of(tmp_path, "A"), folds_of(tmp_path, "B")
    with pytest.raises(UserError, match="fold 2 of 3 is missing"):
        compared(*a[:2], *b)
    (tmp_path / "again").mkdir()
    again = folds_of(tmp_path / "again", "A")
    with pytest.raises(UserError, match="are both fold 1"):
        compared(*a, again[1], *b)


def test_classes_and_rows_in_another_order(tmp_path):
    def write(name, order):
        """The same predictions; classes and rows in an order."""
        labels, names = invented_labels(60), [NAMES[index] for index in order]
        rows = np.arange(60) if order == [0, 1, 2] else np.arange(60)[::-1]
        new = np.argsort(order)
        draw = np.random.default_rng(5)
        log_scores = np.log(draw.dirichlet(np.ones(3), size=60))
        predictions = log_scores.argmax(axis=1)

        def change(own_predictions, own_scores):
            own_predictions[:] = new[predictions][rows]
            own_scores[:] = log_scores[:, order][rows]

        ids = [f"row {row}" for row in rows]
        return write_run(tmp_path / name, name, names=names, labels=new[labels][rows], ids=ids, change=change)

    result = compared(write("a", [0, 1, 2]), write("b", [2, 0, 1]))
    one, other = (by_name(result)[name]["metrics"] for name in "ab")
    for metric in METRICS:
        assert one[metric]["value"] == pytest.approx(other[metric]["value"])
    assert result["agreement"][0]["kappa"] == 1.0
    difference = result["pairs"][0]["difference"]
    assert [difference[metric]["p"] for metric in METRICS] == [1.0] * 5


def test_common_rows(tmp_path):
    ids = [f"row {row}" for row in range(60)]
    a = write_run(tmp_path / "a", "A", labels=invented_labels(60)[:50], ids=ids[:50])
    b = write_run(tmp_path / "b", "B", labels=invented_labels(60)[10:], ids=ids[10:], seed=1)
    with pytest.raises(UserError, match=r"'row 50'.*--common_rows|'row 0'.*--common_rows"):
        compared(a, b)
    result = compared(a, b, common_rows=True)
    assert (result["rows"], result["dropped_rows"]) == (40, 20)


def test_groups_of_rows_are_resampled(tmp_path):
    authors = [f"author {row // 10}" if row < 390 else (None, "")[row % 2] for row in range(400)]
    kept = {"author": authors}

    def by_group(wrong):
        """A method that misses whole groups."""

        def change(predictions, log_scores):
            predictions[:] = invented_labels(400)
            missed = [row for row in range(400) if row // 10 in wrong]
            predictions[missed] = (predictions[missed] + 1) % 3

        return change

    a = write_run(tmp_path / "a", "A", rows=400, kept=kept, change=by_group(range(4)))
    b = write_run(tmp_path / "b", "B", rows=400, kept=kept, change=by_group(range(3, 16)))
    rows, groups = compared(a, b), compared(a, b, cluster="author")
    assert rows["clusters"] is None
    assert groups["clusters"] == 39 + 10  # a row without an author is a group of its own
    for name in "AB":
        of_rows, of_groups = (by_name(result)[name]["metrics"]["accuracy"] for result in (rows, groups))
        assert of_groups["value"] == of_rows["value"]
        assert of_groups["high"] - of_groups["low"] > 2 * (of_rows["high"] - of_rows["low"])
    assert groups["pairs"][0]["difference"]["accuracy"]["p"] > rows["pairs"][0]["difference"]["accuracy"]["p"]


def test_few_groups_are_warned_of(tmp_path):
    kept = {"author": [row % 20 for row in range(400)]}
    a = write_run(tmp_path / "a", "A", rows=400, kept=kept)
    b = write_run(tmp_path / "b", "B", rows=400, kept=kept, seed=1)
    assert "20 groups are fewer than 200" in compared(a, b, cluster="author")["runs"][0]["warnings"]


def test_a_method_without_probabilities(tmp_path):
    a = write_run(tmp_path / "a", "A")
    b = write_run(tmp_path / "b", "B", has_probabilities=False, seed=1)
    result = compared(a, b)
    run = by_name(result)["B"]
    for metric in ("nll", "brier", "ece"):
        assert run["metrics"][metric]["value"] is None
    for metric in ("nll", "brier"):
        difference = run["difference"][metric]
        assert [difference[key] for key in ("value", "low", "high", "p", "p_holm")] == [None] * 5
        assert difference["rows"] == 0
    assert run["difference"]["accuracy"]["p"] is not None
    assert result["ensembles"][0]["mean_log_probability"] is None
    ordered = compared(a, b, metric="nll")["runs"]
    assert [(run["name"], run["group"]) for run in ordered] == [("A", 1), ("B", 2)]  # unknown values come last


def test_invalid_answers_are_wrong_and_have_no_loss(tmp_path):
    def some_invalid(predictions, log_scores):
        predictions[:7] = -1
        log_scores[:7] = np.nan

    a = write_run(tmp_path / "a", "A")
    b = write_run(tmp_path / "b", "B", accuracy=1.0, change=some_invalid)
    run = by_name(compared(a, b))["B"]
    assert run["invalid"] == 7
    assert run["metrics"]["accuracy"]["value"] == pytest.approx(53 / 60)
    assert run["difference"]["nll"]["rows"] == 53
    assert run["difference"]["accuracy"]["rows"] == 60


def test_scores_with_nan_give_no_loss(tmp_path):
    def partly_unknown(predictions, log_scores):
        log_scores[:5, (invented_labels(60)[0] + 1) % 3] = np.nan

    a = write_run(tmp_path / "a", "A")
    b = write_run(tmp_path / "b", "B", change=partly_unknown)
    run = by_name(compared(a, b))["B"]
    for metric in ("nll", "brier"):
        assert run["difference"][metric]["rows"] == 55
        assert run["metrics"][metric]["low"] is not None


def test_an_infinite_nll_is_null(tmp_path):
    def impossible(predictions, log_scores):
        log_scores[0] = -np.inf
        log_scores[0, (invented_labels(60)[0] + 1) % 3] = 0.0

    a = write_run(tmp_path / "a", "A")
    b = write_run(tmp_path / "b", "B", change=impossible)
    run = by_name(compared(a, b))["B"]
    assert run["metrics"]["nll"] == {"value": None, "low": None, "high": None}
    assert run["difference"]["nll"]["value"] is run["difference"]["nll"]["p"] is None
    assert run["metrics"]["brier"]["value"] is not None


def speeds(tmp_path, *facts):
    """Methods from the best to the worst, with facts of run.json."""
    folders = []
    for place, fact in enumerate(facts):
        accuracy = 0.95 - 0.1 * place
        folder = write_run(tmp_path / str(place), f"M{place}", facts=fact, accuracy=accuracy, seed=place, rows=300)
        folders.append(folder)
    runs = sorted(compared(*folders)["runs"], key=lambda run: run["name"])
    return [(run["pareto"], run["speed_note"]) for run in runs]


def fact(speed, device="cpu", hour=None, machine="m"):
    times = {"started": None, "ended": None}
    if hour is not None:
        times = {"started": f"2026-01-01T{hour:02}:00:00+00:00", "ended": f"2026-01-01T{hour + 2:02}:00:00+00:00"}
    return {"examples_per_second": speed, "device": device, "machine": machine, **times}


def test_pareto_marks_and_speeds_that_cannot_be_compared(tmp_path):
    assert speeds(tmp_path / "1", fact(10), fact(5), fact(20)) == [(True, None), (False, None), (True, None)]
    found = speeds(tmp_path / "2", fact(10), fact(50, device="gpu"), fact(None))
    assert found == [(True, None), (False, "on another device"), (False, "not measured")]
    found = speeds(tmp_path / "no baseline", fact(None, device=None), fact(50, device="gpu"))
    assert found == [(False, "not measured"), (True, None)]
    found = speeds(tmp_path / "3", fact(10, hour=1), fact(9, hour=2), fact(20, hour=2, machine="n"), fact(30, hour=5))
    assert found == [(False, "beside another run"), (False, "beside another run"), (True, None), (True, None)]


@pytest.mark.parametrize(("command", "is_beside"), [("fit --config a", True), ("test --ckpt_path b", False)])
def test_a_training_beside_a_test_makes_it_slower(tmp_path, command, is_beside):
    other = {**fact(20, hour=6), "fit_seconds": 4 * 3600.0, "command": command}  # training began at 2
    found = speeds(tmp_path, fact(10, hour=3), other)
    assert found[0] == (not is_beside, "beside another run" if is_beside else None)
    assert found[1] == (True, None), "the first was over when the second was tested"


@pytest.mark.parametrize(
    ("last", "note"),
    [
        (fact(10, hour=7), None),
        (fact(10, hour=4), "beside another run"),  # another seed of the same method
        (fact(10, hour=10), "beside another run"),  # a run on another data set
        (fact(10, hour=7, device="gpu"), "on another device"),
    ],
)
def test_the_speed_of_a_method_is_that_of_all_its_seeds(tmp_path, last, note):
    folders = [write_run(tmp_path / "other", "O", facts=fact(10, hour=0), rows=300)]
    for seed, facts in enumerate((fact(10, hour=3), last)):
        config = configuration(seed)
        folders.append(write_run(tmp_path / str(seed), "S", config=config, facts=facts, seed=seed, rows=300))
    folders.append(write_run(tmp_path / "data", "O", data="More", facts=fact(10, hour=10), rows=300))
    assert by_name(compared(*folders))["S"]["speed_note"] == note


def test_speed_counts_encoding_and_is_unknown_where_vectors_are_kept(tmp_path):
    folders = []
    for place, seconds in enumerate((0.0, 30.0, None)):
        facts = {**fact(10), "encoding_seconds": seconds}
        folders.append(write_run(tmp_path / str(place), f"M{place}", facts=facts, seed=place, rows=300))
    runs = by_name(compared(*folders))
    assert runs["M0"]["examples_per_second"] == pytest.approx(10)
    assert runs["M1"]["examples_per_second"] == pytest.approx(300 / 60)
    assert runs["M2"]["examples_per_second"] is None
    assert runs["M2"]["speed_note"] == "vectors kept"


def test_several_data_sets_have_tables_of_their_own_and_ranks(tmp_path):
    folders = []
    for data in ("One", "Two"):
        for place, name in enumerate("AB"):
            folder = tmp_path / f"{data}-{name}"
            folders.append(write_run(folder, name, data=data, accuracy=0.9 - 0.3 * place, seed=place))
    values = compare([read_run(folder) for folder in folders])
    assert list(values["data_sets"]) == ["One", "Two"]
    assert [method["name"] for method in values["ranks"]["methods"]] == ["A", "B"]
    records = [read_run(folder) for folder in folders]
    values = compare(records, baseline=records[1])
    assert [result["baseline"] for result in values["data_sets"].values()] == ["B", "B"]


def test_bare_tables(tmp_path):
    a = write_table(tmp_path / "a.parquet")
    b = write_table(tmp_path / "b.parquet", seed=1)
    values = compare(find_runs([str(tmp_path / "*.parquet")]))
    assert list(values["data_sets"]) == ["data"]
    runs = by_name(values["data_sets"]["data"])
    assert set(runs) == {"a", "b"}
    assert runs["a"]["runs"] == [str(a)]
    assert runs["b"]["runs"] == [str(b)]
    assert runs["a"]["examples_per_second"] is None
    assert values["data_sets"]["data"]["baseline"] == "a"


def test_the_same_comparison_twice_is_the_same(tmp_path):
    a, b = write_run(tmp_path / "a", "A"), write_run(tmp_path / "b", "B", seed=1)
    assert compared(a, b) == compared(a, b)


def test_the_order_of_the_runs_changes_nothing(tmp_path):
    records = []
    for place, name in enumerate("ABC"):
        folder = write_run(tmp_path / name, name, accuracy=0.9 - 0.1 * place, seed=place)
        records.append(read_run(folder))
    a, b, c = records
    assert compare([a, b, c], baseline=b) == compare([c, b, a], baseline=b)
