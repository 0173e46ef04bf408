"""Arguments given by label name, and checkpoints, whose names are composed in another way."""

import unicodedata

import pytest
import torch
from lightning.pytorch import Trainer

from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import (
    CausalLMClassifier,
    ChatClassifier,
    EmbeddingZeroShot,
    FineTunedClassifier,
    LinearProbe,
    NLIClassifier,
    Seq2SeqClassifier,
    TextClassifier,
    TfidfClassifier,
)
from textclf.models.label_arguments import by_label_name, label_named, map_labels
from textclf.run.report import ReportWriter

NAMES = ("부정", "긍정")


def nfd(text):
    return unicodedata.normalize("NFD", text)


BAD, GOOD = (nfd(name) for name in NAMES)


@pytest.mark.parametrize(
    ("method", "arguments", "found", "expected"),
    [
        (TfidfClassifier, {"class_weights": {BAD: 2.0}}, "class_weights", {"부정": 2.0}),
        (LinearProbe, {"class_weights": {" 긍정": 3.0}}, "class_weights", {"긍정": 3.0}),
        (FineTunedClassifier, {"pretrained": "x", "class_weights": {BAD: 2.0}}, "class_weights", {"부정": 2.0}),
        (EmbeddingZeroShot, {"label_texts": {GOOD: "a", BAD: ["b"]}}, "descriptions", {"긍정": ["a"], "부정": ["b"]}),
        (NLIClassifier, {"hypothesis_template": "{}", "label_texts": {GOOD: "a"}}, "hypotheses", ["부정", "a"]),
        (CausalLMClassifier, {"label_words": {GOOD: "a", BAD: "b"}}, "class_words", [["b"], ["a"]]),
        (Seq2SeqClassifier, {"label_words": {GOOD: "a", BAD: "b"}}, "words", [["b"], ["a"]]),
        (Seq2SeqClassifier, {"mode": "generate", "otherwise": GOOD}, "otherwise", 1),
        (ChatClassifier, {"model": "x", "answers": {"1": GOOD, "0": BAD}}, "words", [["0"], ["1"]]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
@pytest.mark.parametrize("names", [NAMES, (BAD, f"{GOOD}\n")], ids=["composed", "decomposed"])
def test_arguments_by_label_name(method, arguments, found, expected, names):
    model = method(2, names, **arguments)
    assert model.label_names == NAMES
    assert getattr(model, found) == expected


@pytest.mark.parametrize(
    ("method", "arguments", "found", "expected"),
    [
        (TfidfClassifier, {"class_weights": {0: 2.0}}, "class_weights", {"0": 2.0}),
        (FineTunedClassifier, {"pretrained": "x", "class_weights": {1: 2.0}}, "class_weights", {"1": 2.0}),
        (EmbeddingZeroShot, {"label_texts": {0: "a", 1: "b"}}, "descriptions", {"0": ["a"], "1": ["b"]}),
        (NLIClassifier, {"hypothesis_template": "{}", "label_texts": {0: "a"}}, "hypotheses", ["a", "1"]),
        (CausalLMClassifier, {"label_words": {1: "a", 0: "b"}}, "class_words", [["b"], ["a"]]),
        (ChatClassifier, {"model": "x", "answers": {5: "1", 4: "0"}}, "words", [["4"], ["5"]]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_python_may_name_a_label_by_a_number(method, arguments, found, expected):
    assert getattr(method(2, ("0", "1"), **arguments), found) == expected
    assert map_labels(("0", "1"), ("no", "yes"), {0: "yes", 1: "no"}) == [1, 0]


def test_shares_by_label_name():
    model = CausalLMClassifier(2, NAMES, rule="prior", prior={GOOD: 0.9, BAD: 0.1})
    assert model.label_words.prior.tolist() == [0.1, 0.9]


def test_label_map():
    assert map_labels([GOOD, "BAD"], NAMES, {"BAD": BAD}) == [1, 0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"긍점": 1}, r"weights names '긍점', which is not a label: the labels are 부정, 긍정"),
        (
            {"긍 정": 1},
            r"\('긍 정' \('\\uae0d \\uc815'\) looks like '긍정' \('\\uae0d\\uc815'\), but is another name\)",
        ),
        ({"긍정": 1, GOOD: 2}, "weights names '긍정' twice, in two spellings: give it once"),
        ({"긍정": 1}, "weights leaves out '부정': give one for each of 부정, 긍정"),
    ],
)
def test_names_that_do_not_fit(given, message):
    with pytest.raises(UserError, match=message):
        by_label_name("weights", given, NAMES, complete=True)


def test_a_name():
    assert label_named("default", f" {GOOD} ", NAMES) == "긍정"


def test_two_names_that_are_one():
    with pytest.raises(UserError, match="label_names has '긍정' twice"):
        TfidfClassifier(2, ("긍정", GOOD))


class LengthRule(TextClassifier):
    def log_scores(self, batch):
        lengths = torch.tensor([float(len(text)) for text in batch["text"]])
        return torch.stack([-lengths, torch.zeros_like(lengths)], dim=1).log_softmax(1)


def test_a_checkpoint_with_decomposed_names_fits_composed_data(tmp_path):
    model = LengthRule(2, NAMES)
    checkpoint = {"state_dict": {}}
    model.on_save_checkpoint(checkpoint)
    saved = checkpoint["textclf"]
    saved["label_names"] = checkpoint["hyper_parameters"]["label_names"] = [GOOD, BAD]
    saved["thresholds"] = {GOOD: 0.3, BAD: 0.7}
    torch.save(checkpoint, tmp_path / "old.ckpt")
    old = LengthRule.load_from_checkpoint(tmp_path / "old.ckpt")
    assert old.label_names == ("긍정", "부정")
    assert old.textclf.calibrator(decides=True).thresholds.tolist() == [0.3, 0.7]
    (tmp_path / "test.csv").write_text(f"text,label\na,긍정\nab,{BAD}\n", encoding="utf-8")
    options = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False}
    trainer = Trainer(default_root_dir=tmp_path, callbacks=[ReportWriter()], **options)
    assert trainer.test(old, datamodule=FilesDataModule(str(tmp_path)), verbose=False)[0]["test/accuracy"] == 0.5


def test_labels_that_only_look_the_same_are_spelt_out(tmp_path):
    model = LengthRule(2, ("１점", "2점"))
    checkpoint = {}
    model.on_save_checkpoint(checkpoint)
    with pytest.raises(UserError, match=r"are '１점' \('\\uff11\\uc810'\), 2점, the data's are '1점' \('1\\uc810'\)"):
        LengthRule(2, ("1점", "2점")).restore(checkpoint)
