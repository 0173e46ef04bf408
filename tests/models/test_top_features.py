"""The features with the largest weights of each class, and `weights.json` of the report."""

import json

import numpy as np
import pytest
from datasets import Dataset

from textclf import run_experiment
from textclf.data import FilesDataModule
from textclf.models import LinearProbe, NearestCentroid, TfidfClassifier
from textclf.models.top_features import top_features


def test_the_largest_weights_come_first_and_others_are_left_out():
    weights = np.array([[0.1, -0.5, 0.9, 0.0], [-1.0, 0.3, 0.2, 0.4], [0.0, -0.1, -0.2, -0.3]])
    found = top_features("n-grams", list("abcd"), weights, ["x", "y", "z"], 2)
    assert found.classes == {"x": [("c", 0.9), ("a", 0.1)], "y": [("d", 0.4), ("b", 0.3)], "z": []}


def test_of_two_classes_the_weights_of_the_first_are_the_negative_ones_of_the_second():
    found = top_features("n-grams", list("abc"), np.array([[0.5, -2.0, 0.0]]), ["no", "yes"], 20)
    assert found.classes == {"no": [("b", 2.0)], "yes": [("a", 0.5)]}


def test_a_single_class_that_was_trained_has_weights_of_its_own():
    found = top_features("directions", list("ab"), np.array([[0.5, -2.0]]), ["only"], 20)
    assert found.classes == {"only": [("a", 0.5)]}


@pytest.mark.parametrize("names", [("bad", "good"), ("bad", "unseen", "good"), ("bad", "good", "fine")], ids=len)
def test_ngrams_are_those_of_the_texts_of_their_class(names):
    words = {"bad": "awful dull 지루한", "good": "great joy 재미", "fine": "plain usual 보통"}
    texts, labels = [], []
    for label, name in enumerate(names):
        if name in words:
            texts += [f"{word} film" for word in words[name].split()] * 2
            labels += [label] * 6
    model = TfidfClassifier(len(names), names, word_ngrams=(1, 1), char_ngrams=(2, 3), min_df=1)
    model.prepare(Dataset.from_dict({"text": texts, "label": labels}))
    found = model.top_features(5)
    assert found.kind == "n-grams"
    assert list(found.classes) == [name for name in names if name in words]
    for name, pairs in found.classes.items():
        assert len(pairs) == 5
        assert sorted((weight for _, weight in pairs), reverse=True) == [weight for _, weight in pairs]
        for ngram, _ in pairs:
            of_classes = {names[label] for text, label in zip(texts, labels, strict=True) if ngram.strip("'") in text}
            assert of_classes == {name}


def test_ngrams_of_second_texts_and_of_characters_are_marked():
    rows = {"text": ["same"] * 4, "text_pair": ["no", "yes", "no", "yes"], "label": [0, 1, 0, 1]}
    model = TfidfClassifier(2, ("against", "for"), word_ngrams=(1, 1), char_ngrams=(2, 2), min_df=1)
    model.prepare(Dataset.from_dict(rows))
    assert {ngram for ngram, _ in model.top_features(20).classes["for"]} == {
        "text_pair: yes", "text_pair: 'ye'", "text_pair: 'es'",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["n-grams", "directions"])
def test_reports_of_linear_methods_have_them(kind, rows_folder, tiny_encoder, tmp_path):
    data = FilesDataModule(str(rows_folder))
    model = TfidfClassifier(2, data.label_names)
    if kind == "directions":
        model = LinearProbe(2, data.label_names, str(tiny_encoder))
    run_experiment(model, data, run_dir=tmp_path)
    content = json.loads((tmp_path / "report/weights.json").read_text(encoding="utf-8"))
    assert content["kind"] == kind
    assert list(content["classes"]) == list(data.label_names)
    for pairs in content["classes"].values():
        assert 0 < len(pairs) <= 20
        assert all(isinstance(feature, str) and weight > 0 for feature, weight in pairs)
    if kind == "directions":
        weights = model.weights.detach().numpy()[0]
        feature, weight = content["classes"][data.label_names[1]][0]
        assert feature == f"dimension {weights.argmax()}"
        assert weight == pytest.approx(weights.max())


def test_other_methods_have_none(tiny_encoder):
    assert NearestCentroid(2, ("a", "b"), str(tiny_encoder)).top_features(20) is None
