"""The tokens that an exploration counts are those of the method."""

import pytest

from tests.findings.splits import split_of
from tests.models.contract import NAMES, tiny_model
from textclf.errors import UserError
from textclf.findings.lengths import find_in_tokens
from textclf.models import (
    CausalLMClassifier,
    FineTunedClassifier,
    LinearProbe,
    NearestCentroid,
    NLIClassifier,
    PretrainedClassifier,
    Seq2SeqClassifier,
    TfidfClassifier,
)

TEXTS = ["a film", "한국어 문장", *("the plot of the film " * repeats for repeats in range(1, 12))]
LIMITS = (
    # method, its max_length, whether it cuts exactly the rows that are reported
    (FineTunedClassifier, 16, True),
    (PretrainedClassifier, 16, True),
    (LinearProbe, 16, True),
    (NearestCentroid, 16, True),
    (NLIClassifier, 40, True),
    (Seq2SeqClassifier, 100, False),  # a word at the edge of a prompt may be other tokens than alone
    (CausalLMClassifier, 100, False),
)


@pytest.mark.parametrize(("method", "max_length", "exact"), LIMITS)
def test_rows_that_are_cut(method, max_length, exact, tmp_path):
    model = method(len(NAMES), NAMES, pretrained=str(tiny_model(method, tmp_path)), max_length=max_length)
    split = split_of(TEXTS, label_names=NAMES)
    measured, found = find_in_tokens(split, model.tokenization())
    reported = {int(row.removeprefix("train-")) for finding in found if finding.kind == "cut" for row in finding.rows}
    cut = {row for row, tokens in enumerate(model.encode({"text": TEXTS})["cut"]) if tokens}
    assert 0 < len(cut) < len(TEXTS)
    assert len(cut ^ reported) <= (0 if exact else 1)
    assert len(measured.lengths["tokens"]) == len(TEXTS)


@pytest.mark.parametrize("method", [FineTunedClassifier, LinearProbe])
def test_pairs_that_are_cut(method, tmp_path):
    model = method(len(NAMES), NAMES, pretrained=str(tiny_model(method, tmp_path)), max_length=16)
    pairs = TEXTS[::-1]
    _, found = find_in_tokens(split_of(TEXTS, pairs=pairs, label_names=NAMES), model.tokenization())
    (cut,) = [finding for finding in found if finding.kind == "cut"]
    tokens = model.encode({"text": TEXTS, "text_pair": pairs})["cut"]
    assert set(cut.rows) == {f"train-{row}" for row, number in enumerate(tokens) if number}


def test_methods_without_a_tokenizer():
    assert TfidfClassifier(2, ["a", "b"]).tokenization() is None
    assert FineTunedClassifier(2, ["a", "b"], pretrained=None, encoder_config={}).tokenization() is None


def test_a_prompt_that_is_too_long(tmp_path):
    folder = tiny_model(CausalLMClassifier, tmp_path)
    model = CausalLMClassifier(len(NAMES), NAMES, pretrained=str(folder), max_length=20)
    with pytest.raises(UserError, match="leaves no room for the text"):
        model.tokenization()


def test_examples_leave_an_unknown_room(tmp_path):
    folder = tiny_model(CausalLMClassifier, tmp_path)
    model = CausalLMClassifier(len(NAMES), NAMES, pretrained=str(folder), shots=2)
    assert model.tokenization().max_length is None
