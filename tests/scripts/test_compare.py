"""The command: what it writes, and one line for what a user does wrong."""

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from compare import main

from tests.evaluation.run_folders import configuration, invented_labels, write_run, write_table


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder with the runs `a` and `b`, which is the current one."""
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), "A", facts={"command": "fit --config a.yaml"})
    write_run(Path("b"), "B", accuracy=0.95, seed=1)
    return tmp_path


def test_all_formats(runs, capsys):
    formats = ["--json", "out/c.json", "--csv", "c.csv", "--markdown", "c.md", "--latex", "c.tex", "--html", "c.html"]
    formats += ["--figures", "png"]
    assert main(["[ab]", *formats]) == 0
    text = capsys.readouterr().out
    assert "B is better than A" in text
    values = json.loads(Path("out/c.json").read_text(encoding="utf-8"))
    assert values["version"] == 1
    assert [run["name"] for run in values["data_sets"]["Toy"]["runs"]] == ["B", "A"]
    assert Path("c.csv").read_text().count("\n") == 3
    assert "`fit --config a.yaml`" in Path("c.md").read_text()
    assert r"\toprule" in Path("c.tex").read_text()
    assert "Comparison on Toy" in Path("c.html").read_text(encoding="utf-8")
    assert {file.name for file in Path("png").iterdir()} == {"Toy-intervals.png", "Toy-speed.png"}


def test_baseline(runs, capsys):
    for named in ("b", "b/report", "./b/report/predictions.parquet", str(runs / "b")):
        assert main(["a", "b", "--baseline", named]) == 0
        assert "baseline B;" in capsys.readouterr().out


def damaged(folder, file, content):
    shutil.copytree("a", folder)
    Path(folder, "report", file).write_bytes(content)
    return [folder]


def without_column(name):
    table = pq.read_table("a/report/predictions.parquet")
    shutil.copytree("a", "old")
    pq.write_table(table.drop_columns([name]), "old/report/predictions.parquet")
    return ["old"]


def later_version():
    table = pq.read_table("a/report/predictions.parquet")
    shutil.copytree("a", "later")
    later = table.replace_schema_metadata({**table.schema.metadata, b"version": b"99"})
    pq.write_table(later, "later/report/predictions.parquet")
    return ["later"]


def cut_off():
    Path("cut/checkpoints").mkdir(parents=True)
    Path("cut/checkpoints/last.ckpt").touch()
    return ["cut"]


def folder_of_runs(folder, inner):
    write_run(Path(folder, inner))
    return [folder]


def run_of(name="other", **options):
    return [str(write_run(Path(name), name, **options))]


FAULTS = {
    "one run alone": (lambda: ["--metric", "accuracy"], "one run alone"),
    "one run twice": (lambda: ["./a", str(Path("a").resolve())], "one run alone"),
    "a glob of nothing": (lambda: ["runs/*/0"], r"'runs/\*/0' matches no file or folder"),
    "no such run": (lambda: ["nothing"], "'nothing' matches no file or folder"),
    "other rows": (lambda: run_of(rows=50), "a has 60 rows and other has 50: 10 of a, .*'row 50'.*--common_rows"),
    "no common row": (
        lambda: [*run_of(ids=[str(row) for row in range(60)]), "--common_rows"],
        "no row in common",
    ),
    "other texts": (lambda: run_of(texts=["x"] * 60), "the row with the id 'row 0' has the text"),
    "other labels": (lambda: run_of(labels=(invented_labels(60) + 1) % 3), "has the label"),
    "a class missing": (lambda: run_of(names=("부정", "neutral", "new")), "lacks '긍정' and has also 'new'"),
    "duplicate ids": (lambda: run_of(ids=["twice"] * 60), "the id 'twice' occurs twice"),
    "another data set": (lambda: run_of(data="Other"), "a: Toy, other: Other"),
    "a run cut off": (cut_off, r"cut: has no report/predictions.parquet.*--ckpt_path last"),
    "a folder of runs": (lambda: folder_of_runs("all", "seed-0"), r"all: a folder of runs.*'all/\*'"),
    "a folder of folders": (lambda: folder_of_runs("all", "tfidf/seed-0"), r"all: a folder of runs.*'all/\*/\*'"),
    "a table of another version": (lambda: without_column("scores"), "it has no scores"),
    "a table of a later version": (later_version, "a prediction table of version 99"),
    "damaged Parquet": (lambda: damaged("bad", "predictions.parquet", b"PAR1 and more"), "not a Parquet file"),
    "damaged JSON": (lambda: damaged("bad", "metrics.json", b'{"data": '), "metrics.json: not JSON"),
    "JSON of another kind": (lambda: damaged("bad", "metrics.json", b"[1]"), "metrics.json: not a JSON object"),
    "a speed that is a word": (
        lambda: damaged("bad", "metrics.json", b'{"examples_per_second": "fast"}'),
        "examples_per_second is 'fast'",
    ),
    "a fold that is a list": (lambda: run_of(config=configuration(folds=3, fold=[1])), r"data.fold \[1\] and"),
    "times that are numbers": (lambda: damaged("bad", "run.json", b'{"started": 3}'), "started is 3, not a text"),
    "times that are none": (lambda: damaged("bad", "run.json", b'{"ended": "noon"}'), "ended is 'noon', not a time"),
    "a fold without folds": (lambda: run_of(config=configuration(fold=1)), "data.fold 1 and data.folds None"),
    "an unknown metric": (lambda: ["b", "--metric", "f1"], "'f1' is none of accuracy, macro_f1, mcc, nll, brier"),
    "an unknown baseline": (lambda: ["b", "--baseline", "c"], r"'c' is not among the runs \(a, b\)"),
    "an unknown column": (lambda: ["b", "--cluster", "author"], "no column 'author'.*keep_columns"),
    "a column of lists": (lambda: ["b", "--cluster", "scores"], "'scores' has lists as values"),
    "one file for two outputs": (lambda: ["b", "--json", "c", "--csv", "c"], "'c' is given for two outputs"),
    "one file for a page and another output": (
        lambda: ["b", "--json", "c", "--html", "c"],
        "'c' is given for two outputs",
    ),
    "a folder as a page": (lambda: ["b", "--html", "b"], "'b' is a folder"),
    "a folder as a file": (lambda: ["b", "--json", "b"], "'b' is a folder"),
    "a file as a folder": (lambda: ["b", "--csv", "a/report/metrics.json/c.csv"], "cannot be written"),
    "a place for figures": (lambda: ["b", "--figures", "a/report/metrics.json"], "cannot be written"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(runs, capsys, fault):
    arguments, message = FAULTS[fault]
    assert main(["a", *arguments()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("compare: error: ")
    assert re.search(message, err), err


def test_one_configuration_and_seed_twice(runs, capsys):
    for name in ("s1", "s2"):
        write_run(Path(name), "S", config=configuration(3), seed=len(name))
    assert main(["s1", "s2"]) == 2
    assert "s2 and s1 are runs of one configuration and one seed" in capsys.readouterr().err


def test_validation_and_test_of_one_run(runs, capsys):
    validation = Path("s/report/validation")
    write_run(Path("s"), "S", config=configuration())
    write_table(validation / "predictions.parquet", ids=[f"validation {row}" for row in range(60)])
    (validation / "metrics.json").write_text('{"data": "Toy", "method": "S"}', encoding="utf-8")
    assert main(["s", str(validation)]) == 2
    assert "such as the one with the id 'row 0', are not in s/report/validation" in capsys.readouterr().err
    write_table(validation / "predictions.parquet")
    assert main(["s", str(validation)]) == 2
    message = "s/report/validation/predictions.parquet and s are runs of one configuration and one seed"
    assert message in capsys.readouterr().err


def test_an_empty_table(runs, capsys):
    write_table(Path("empty.parquet"), labels=[])
    write_table(Path("full.parquet"))
    assert main(["full.parquet", "empty.parquet"]) == 2
    assert "has no rows" in capsys.readouterr().err
