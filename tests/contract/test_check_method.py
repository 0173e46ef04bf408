"""One line a violation: a class, its arguments, and what a check says of it."""

import os
import random
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import textclf
from tests.contract import basis, checked, encodings, hooks, scores, state
from textclf.errors import UserError

VIOLATIONS = [
    (scores.Scores, {"defect": "logits"}, r"Scores\.log_scores gave .*log_softmax"),
    (scores.Scores, {"defect": "squeezed"}, r"Scores\.log_scores gave .*\(2,\)"),
    (scores.Scores, {"defect": "numpy"}, r"Scores\.log_scores gave .*NumPy"),
    (scores.OwnException, {}, r"OwnException\.log_scores raised KeyError: 'no such field' \(.*scores\.py"),
    (checked.ForTwoLabels, {}, r"ForTwoLabels\.log_scores gave .*\(4, 2\).*\(4, 3\)"),
    (checked.FailsOnEmptyText, {}, r"FailsOnEmptyText\.encode raised IndexError: string index out of range"),
    (checked.FailsOnKorean, {}, r"FailsOnKorean\.encode raised UnicodeEncodeError"),
    (encodings.Encoded, {"kind": "without_length"}, r"Encoded\.encode gave .*length"),
    (encodings.Collated, {"kind": "labels"}, r"Collated\.collate gave .*labels"),
    (encodings.NeedsLabel, {}, r"NeedsLabel needs 'label' to score texts"),
    (encodings.CollatesLabel, {}, r"CollatesLabel needs 'label' to score texts"),
    (encodings.Shuffles, {}, r"Shuffles\.encode gave other values of 'length'"),
    (encodings.DropsLetters, {}, r"DropsLetters\.encode gave other values of 'kept'"),
    (encodings.Counts, {}, r"Counts\.encode gave other values of 'length'"),
    (encodings.Lowercases, {}, r"Lowercases\.encode changed the rows"),
    (encodings.Pops, {}, r"Pops\.collate changed the rows"),
    (checked.DrawsWhenItCollates, {}, r"DrawsWhenItCollates\.collate gave another batch"),
    (checked.WeightsInCollate, {}, r"WeightsInCollate\.collate raised AttributeError"),
    (checked.Unpicklable, {}, r"Unpicklable\.for_workers gave a copy that cannot be pickled"),
    (checked.DropoutInEvaluation, {}, r"DropoutInEvaluation\.log_scores gave .* and then .*dropout"),
    (encodings.RelativeToBatch, {}, r"RelativeToBatch\.log_scores gave .* alone, and .* in a batch of 9"),
    (encodings.RelativeToWindow, {}, r"RelativeToWindow\.log_scores gave .* alone, and .* in a batch of 9"),
    (checked.AverageOfBatch, {}, r"AverageOfBatch\.log_scores gave .* alone"),
    (checked.LargeBatches, {}, r"LargeBatches\.log_scores gave .* in batches of 1, and .* in batches of 64"),
    (checked.PaddedWithoutMask, {}, r"PaddedWithoutMask\.log_scores gave .* alone.*mask the padding"),
    (checked.SortsLabels, {}, r"SortsLabels\.log_scores gave the same columns .*self\.label_names"),
    (checked.FixedKey, {}, r"FixedKey\.encoding_key gave the same key with ngram"),
    (checked.KeyOfSubclasses, {}, r"KeyOfSubclasses\.encoding_key gave the key .*overrides encode"),
    (checked.UnseededTraining, {}, r"UnseededTraining gave .* after two runs with the same seed"),
    (checked.CountsInClass, {}, r"CountsInClass gave .* after two runs with the same seed"),
    (checked.LayerAsArgument, {"layer": nn.Linear(2, 2)}, r"LayerAsArgument\.__init__ takes a Linear"),
    (checked.OtherClassify, {}, r"OtherClassify gave .* in test, and .* in classify"),
    (hooks.OwnPredictStep, {}, r"OwnPredictStep\.predict_step gave"),
    (hooks.OwnTransfer, {}, r".*batch .* has no 'row'"),
    (state.Keeps, {"kind": "sklearn"}, r"Keeps\.prepare.*fitted.*LogisticRegression"),
    (state.Vocabulary, {}, r"Vocabulary"),
    (state.RandomProjection, {}, r"RandomProjection"),
    (state.LearntInAttribute, {}, r"LearntInAttribute"),
    (state.AttributeWithDefault, {}, r"AttributeWithDefault"),
    (checked.OtherPairs, {"kind": "broken"}, r"OtherPairs\.encode gave .*length"),
    (checked.FailsInRun, {}, r"FailsInRun: no"),
    (state.SplitNotRequested, {}, r"SplitNotRequested\.calibrate_split is never called"),
    (state.ExamplesNotRequested, {}, r"ExamplesNotRequested\.set_examples is never called"),
    (state.PreparesWithoutTraining, {}, r"PreparesWithoutTraining\.prepare is never called"),
    (state.SuperLast, {}, r"SuperLast\.__init__"),
]
KEPT = [
    basis.Uniform,
    basis.Letters,
    basis.Means,
    checked.ByName,
    scores.MissingAnswers,
    scores.Words,
    hooks.BothSteps,
    state.DecidesAboutSplit,
]


def failed(method, **arguments):
    """The lines of the checks that fail, by the name of the check."""
    checks = textclf.check_method(method, on_fail="report", new_process=False, **arguments)
    return {check.name: check.reason for check in reversed(checks) if check.status == "failed"}


@pytest.mark.parametrize(("method", "arguments", "says"), VIOLATIONS, ids=[line[0].__name__ for line in VIOLATIONS])
def test_what_is_broken_is_named(method, arguments, says):
    labels = ("dry", "wet", "windy") if method is checked.ForTwoLabels else basis.SKIES
    lines = set(failed(method, labels=labels, **arguments).values())
    assert any(re.match(says, line) for line in lines), lines
    assert len(lines) <= 2, "one fault, and at most one consequence"
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("method", KEPT, ids=lambda method: method.__name__)
def test_methods_that_keep_the_contract(method):
    assert not failed(method, labels=("dry", "wet", "windy"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("best_by", r".*val/f1"),
        ("fitted", r"OtherThirdLabel\.prepare: fitted.*object"),
        ("scores", r"OtherThirdLabel\.log_scores gave .*\(4, 2\)"),
        ("refused", None),
    ],
)
def test_what_is_broken_with_three_labels_alone(kind, says):
    lines = list(failed(checked.OtherThirdLabel, kind=kind).values())
    assert [bool(re.match(says or "", line)) for line in lines] == ([True] if says else [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["value_error", "user_error"])
def test_pairs_may_be_refused(kind):
    checks = textclf.check_method(checked.OtherPairs, labels=basis.SKIES, new_process=False, kind=kind)
    pairs = next(check for check in checks if check.name == "text pairs")
    assert pairs.status == "skipped"
    assert pairs.reason.startswith("it takes one text: ")


@pytest.mark.slow
def test_all_is_reported_at_once():
    with pytest.raises(UserError) as caught:
        textclf.check_method(checked.TwoFaults, new_process=False)
    first, *lines = str(caught.value).splitlines()
    assert first == "check_method: 2 of the checks failed"
    assert [line.split(" ")[0] for line in lines] == ["TwoFaults.encode", "TwoFaults.encoding_key"]


@pytest.mark.slow
def test_objects_and_functions(capsys):
    assert not failed(basis.Letters(2, basis.SKIES))
    assert not failed(lambda num_classes, label_names, by: basis.Letters(num_classes, label_names), by=3)
    assert set(failed(checked.FixedKey(2, basis.SKIES, ngram=2))) == {"encoding key"}
    assert set(failed(checked.FixedNgram(2, basis.SKIES))) == set(failed(checked.FixedNgram)) == {"encoding key"}
    assert not failed(checked.RightNgram(2, basis.SKIES))
    assert not any("WithOwnEncode" in line for line in failed(state.Keeps(2, basis.SKIES, "sklearn")).values())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("method", [nn.Linear, "Letters", 3, lambda num_classes, label_names: None])
def test_what_is_no_method(method):
    with pytest.raises(UserError, match="check_method"):
        textclf.check_method(method)


@pytest.mark.slow
def test_nothing_is_left_behind(tmp_path, monkeypatch):
    from datasets import config

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cache = config.HF_DATASETS_CACHE
    known = sorted(Path(cache).rglob("*"))
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), dict(os.environ)
    textclf.check_method(basis.Letters, new_process=False)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert dict(os.environ) == before[2]
    assert cache == config.HF_DATASETS_CACHE
    assert sorted(Path(cache).rglob("*")) == known
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_class_inside_a_function_is_checked_as_far_as_it_can_be():
    class Inner(basis.Letters):
        pass

    checks = {check.name: check for check in textclf.check_method(Inner, labels=basis.SKIES)}
    assert checks["predictions"].status == "passed"
    assert checks["checkpoint"].status == "skipped"
    assert "inside a function" in checks["checkpoint"].reason


@pytest.mark.slow
def test_a_new_process():
    checks = {check.name: check for check in textclf.check_method(basis.Letters, labels=basis.SKIES)}
    assert checks["new process"].status == "passed"
    found = textclf.check_method(state.RandomProjection, labels=basis.SKIES, on_fail="report")
    assert any(check.status == "failed" for check in found)
