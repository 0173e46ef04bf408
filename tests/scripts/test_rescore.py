import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rescore import main

from textclf.errors import UserError
from textclf.scoring.rules import RULES, Likelihoods, log_softmax
from textclf.scoring.score_file import StoredScores, read_scores, write_scores

NAMES = ("sport", "정치", "art")


def made_scores(**parts):
    """12 rows and 6 that a prior is fitted to, with two words for the second class."""
    draw = np.random.default_rng(0)
    sums = draw.normal(-5, 2, size=(18, 4))
    return StoredScores(
        ids=[f"row {i}" for i in range(18)],
        labels=np.arange(18) % 3,
        scored=np.arange(18) < 12,
        fit=np.arange(18) >= 12,
        words=Likelihoods(
            words=[" sport", " 정치", " 정당", " art"],
            classes=np.array([0, 1, 1, 2]),
            tokens=np.array([1, 4, 5, 2]),
            sums=sums,
            logits=sums + draw.normal(size=(18, 4)),
            empty=draw.normal(size=4),
            domain=draw.normal(size=4),
            content_free=draw.normal(size=(3, 4)),
            **parts,
        ),
        label_names=NAMES,
        facts={"rule": "sum", "prompt": "글: {text}"},
    )


@pytest.fixture
def run_folder(tmp_path):
    write_scores(tmp_path / "report" / "scores.parquet", made_scores())
    return tmp_path


def test_what_is_written_is_read_again(run_folder):
    stored, again = made_scores(), read_scores(run_folder / "report" / "scores.parquet")
    assert (again.ids, again.label_names, again.facts) == (stored.ids, stored.label_names, stored.facts)
    assert list(again.words.words) == list(stored.words.words)
    for name in ("labels", "scored", "fit"):
        np.testing.assert_array_equal(getattr(again, name), getattr(stored, name))
    for name in ("sums", "logits", "classes", "tokens", "empty", "domain", "content_free"):
        np.testing.assert_array_equal(getattr(again.words, name), getattr(stored.words, name))
    assert again.words.published is None


METADATA = {
    b"words": ([], ["a"], [1, 2, 3, 4], "abcd", None),
    b"classes": ([0, 1], [0, 0, 0, 0], ["a"] * 4, [0, 1, 1, 7], None),
    b"tokens": ([1], "x", [1.5] * 4, {}),
    b"label_names": ([], ["a"], "abc", [1, 2, 3]),
    b"empty": ([1.0], ["x"] * 4, {"a": 1}),
    b"domain": ([1.0], 7),
    b"content_free": ([1.0], [[1.0]], "x"),
    b"prior": ([0.5], "x"),
    b"facts": ([], None, 7),
}
"""Wrong values of each entry of the metadata."""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in METADATA.items() for value in values])
def test_wrong_metadata_is_one_line(run_folder, name, value):
    path = run_folder / "report" / "scores.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | {name: json.dumps(value)}), path)
    with pytest.raises(UserError, match="not a file of label scores that can be read"):
        read_scores(path)


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.string()), pa.int8(), pa.null()])
@pytest.mark.parametrize("name", ["id", "label", "scored", "fit", "log_likelihoods"])
def test_a_column_of_another_type_is_one_line(run_folder, name, kind):
    path = run_folder / "report" / "scores.parquet"
    table = pq.read_table(path)
    column = pa.nulls(len(table), kind)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)
    with pytest.raises(UserError, match="not a file of label scores that can be read"):
        read_scores(path)


def test_all_rules_stand_side_by_side(run_folder, capsys):
    assert main([str(run_folder), "--json", str(run_folder / "rules.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:11]] == [
        rule for rule in RULES if rule not in ("as_published", "prior")
    ]
    assert lines[1].split()[1:3] == ["*", "12"]
    assert [line for line in lines if "'as_published'" in line and "score it again" in line]
    assert [line for line in lines if "'prior'" in line]
    metrics = json.loads((run_folder / "rules.json").read_text())
    sums = made_scores().words.sums[:12]
    classes = np.stack([sums[:, 0], np.logaddexp(sums[:, 1], sums[:, 2]), sums[:, 3]], axis=1)
    assert metrics["sum"]["test/accuracy"] == pytest.approx((classes.argmax(1) == np.arange(12) % 3).mean())
    assert metrics["sum"]["test/majority_accuracy"] == pytest.approx(1 / 3)


def run_with_its_own_scores(folder, rule):
    """A run whose reported scores are `sum`'s, twice as sure."""
    stored = made_scores()
    sums = stored.words.sums[:12]
    classes = np.stack([sums[:, 0], np.logaddexp(sums[:, 1], sums[:, 2]), sums[:, 3]], axis=1)
    own = log_softmax(2 * classes)
    write_scores(folder / "report" / "scores.parquet", replace(stored, facts={"rule": rule}, log_scores=own))
    return own


def test_a_rule_of_the_runs_own_is_judged_by_what_it_reported(tmp_path, capsys):
    own = run_with_its_own_scores(tmp_path, "mypkg.Sharper")  # there is no such module
    np.testing.assert_array_equal(read_scores(tmp_path / "report" / "scores.parquet").log_scores, own)
    nll = -own[np.arange(12), np.arange(12) % 3].mean()
    for more in ([], ["--rule", "sum", "mypkg.Sharper"]):
        assert main([str(tmp_path), *more, "--json", str(tmp_path / "rules.json")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines if " * " in line] == ["mypkg.Sharper"]
        metrics = json.loads((tmp_path / "rules.json").read_text())
        assert metrics["mypkg.Sharper"]["test/nll"] == pytest.approx(nll)
        assert metrics["sum"]["test/nll"] != pytest.approx(nll)


def test_a_rule_is_given_by_its_path(run_folder, capsys, monkeypatch):
    monkeypatch.chdir(run_folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (run_folder / "rescoring_rules.py").write_text(
        "from textclf.scoring.rules import ScoreRule, combine_words\n"
        "def half(stored):\n"
        "    return combine_words(stored.sums / 2, stored.classes)\n"
        "def minus(stored):\n"
        "    return combine_words(stored.sums - stored.published, stored.classes)\n"
        "absent = ScoreRule(minus, needs=('published',))\n"
    )
    assert main([".", "--rule", "sum", "rescoring_rules.half", "--json", "rules.json"]) == 0
    sums, half = capsys.readouterr().out.splitlines()[1:3]
    assert sums.startswith("sum *")
    assert half.startswith("rescoring_rules.half  ")
    assert json.loads(Path("rules.json").read_text())["rescoring_rules.half"]["examples"] == 12
    assert main([".", "--rule", "rescoring_rules.absent"]) == 2
    assert "'rescoring_rules.absent' needs 'published'" in capsys.readouterr().err
    assert main([".", "--rule", "rescoring_rules.nothing"]) == 2
    assert "'rescoring_rules' has no 'nothing'" in capsys.readouterr().err


def test_the_work_of_the_run_is_printed_below(tmp_path, capsys):
    stored = made_scores()
    stored.facts["work"] = {"tokens": 3000, "padding": 1000, "packed": 12}
    stored.facts["numerics"] = {
        "numerics/examples": 5,
        "numerics/largest_difference_nats": 0.25,
        "numerics/changed_predictions": 0.2,
    }
    write_scores(tmp_path / "report" / "scores.parquet", stored)
    assert main([str(tmp_path), "--rule", "sum"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "work: 3,000 tokens, 1,000 padding, 12 packed (25.0% of the tokens are padding)",
        "numerics: 5 rows against the plain strategy in fp32: a label differs by 0.25 nats at most, "
        "20.0% of the predictions change",
    ]


def test_classes_without_rows_are_marked(tmp_path, capsys):
    stored = made_scores()
    stored.labels[stored.labels == 1] = 0
    write_scores(tmp_path / "report" / "scores.parquet", stored)
    assert main([str(tmp_path), "--rule", "sum", "--json", str(tmp_path / "rules.json")]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "classes without rows: 정치 (each counts 0 in the macro averages)"
    ]
    assert json.loads((tmp_path / "rules.json").read_text())["sum"]["missing_classes"] == ["정치"]


def test_classes_without_rows_of_one_rule(tmp_path, capsys):
    stored = made_scores()
    stored.labels[:] = np.arange(18) % 2
    stored.labels[15] = 2
    # The rule that is fitted to the last rows is not judged on them.
    write_scores(tmp_path / "report" / "scores.parquet", replace(stored, scored=np.ones(18, dtype=bool)))
    assert main([str(tmp_path), "--rule", "sum", "fitted_prior"]) == 0
    assert capsys.readouterr().out.splitlines()[3:] == [
        "classes without rows (fitted_prior): art (each counts 0 in the macro averages)"
    ]


def test_a_prior_may_be_given_afterwards(run_folder, capsys):
    assert main([str(run_folder), "--rule", "sum", "prior", "--prior", "sport=1", "정치=1", "art=1"]) == 0
    _, sums, prior = capsys.readouterr().out.splitlines()
    assert sums.split()[2:] == prior.split()[1:]  # equal shares change nothing


def test_rows_that_are_fitted_to_are_not_judged():
    stored = made_scores()
    overlapping = StoredScores(**{**vars(stored), "scored": np.ones(18, dtype=bool)})
    assert len(overlapping.scores_by("sum")[1]) == 18
    assert len(overlapping.scores_by("fitted_prior")[1]) == 12


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rule", "best"], ["'best'", "fitted_prior"]),
        (["--prior", "sport=1"], ["--prior sport=SHARE 정치=SHARE"]),
        (["--prior", "sport=1", "정치=1", "art=much"], ["art=much"]),
        (["--prior", "sport=1", "정치=1", "art=1", "law=1"], ["law=1"]),
        (["--prior", "sport=1", "정치=1", "art=1", "art=2"], ["art=2"]),
        (["--rule", "prior", "--prior", "sport=1", "정치=0", "art=1"], ["above 0"]),
        (["--rule", "sum", "prior", "as_published"], ["'prior' needs", "'as_published' needs"]),
    ],
)
def test_mistakes(more, words, run_folder, capsys):
    code = main([str(run_folder), *more])
    said = capsys.readouterr()
    (line,) = said.err.strip().splitlines()
    assert code == 2
    for word in words:
        assert word in line


def test_no_run_and_a_file_of_another_kind(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "scores.parquet").write_bytes(b"PAR1 not really")
    assert main([str(tmp_path / "scores.parquet")]) == 2
    assert "not a file of label scores" in capsys.readouterr().err
