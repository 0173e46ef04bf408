from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textclf.errors import UserError
from textclf.evaluation.calibration import Temperature, Thresholds
from textclf.models import streaming
from textclf.models.base import TextClassifier
from textclf.models.streaming import InOrder, StreamedBatches, prediction_of, score_rows

NAMES = ("low", "middle", "high")


def answer(text, pair=""):
    """Log-probabilities that differ from text to text; no answer for one that holds a question mark."""
    if "?" in text:
        return [float("nan")] * 3
    weights = torch.tensor([1.0, 1 + len(text), 1 + sum(map(ord, text + pair)) % 997], dtype=torch.float64)
    return (weights / weights.sum()).log().tolist()


class ByLetters(TextClassifier):
    """Scores a text by its letters, and notes the sizes of its batches."""

    def __init__(self, num_classes=3, label_names=NAMES):
        super().__init__(num_classes, label_names)
        self.dropout = torch.nn.Dropout(0.9)
        self.sizes, self.windows = [], []

    def encode(self, rows):
        self.windows.append(len(rows["text"]))
        return super().encode(rows)

    def log_scores(self, batch):
        self.sizes.append((len(batch["text"]), max(1, *map(len, batch["text"]))))
        pairs = batch.get("text_pair", [""] * len(batch["text"]))
        return self.dropout(torch.tensor([answer(*row) for row in zip(batch["text"], pairs, strict=True)]))


class Silent(ByLetters):
    has_probabilities = False


def expected(texts, names=NAMES):
    for text in texts:
        scores = np.array(answer(text))
        yield (
            {"label": None, "score": None}
            if np.isnan(scores[0])
            else {
                "label": names[int(scores.argmax())],
                "score": pytest.approx(float(np.exp(scores.max())), rel=1e-6),
            }
        )


TEXTS = st.lists(st.text(max_size=30), max_size=40)


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 3, 7, 4096])
def test_any_texts_come_back_in_order(window, monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW", window)

    @given(TEXTS, st.integers(1, 60))
    def check(texts, budget):
        model = ByLetters()
        assert model.classify(texts, max_batch_tokens=budget) == list(expected(texts))
        assert sum(rows for rows, _ in model.sizes) == sum(model.windows) == len(texts)
        assert all(size <= window for size in model.windows)
        assert all(rows == 1 or rows * longest <= budget for rows, longest in model.sizes)

    check()


def test_classify():
    model = ByLetters().train()
    assert model.classify([]) == []
    texts = ["길다 " * 9, "a", "what?", "", "긴 글"]
    assert model.classify(texts) == model.classify(iter(texts)) == list(expected(texts))
    assert model.classify(["what?"]) == [{"label": None, "score": None}]
    assert model.training
    with pytest.raises(UserError, match=r"write classify\(\['one text'\]\)"):
        model.classify("one text")


def test_pairs_stay_together():
    texts, pairs = ["a", "bb", "ccc", "d" * 9], ["wxyz", "", "zz", "한"]
    scored = [np.array(answer(text, pair)) for text, pair in zip(texts, pairs, strict=True)]
    answers = ByLetters().classify(texts, pairs)
    assert [a["label"] for a in answers] == [NAMES[int(scores.argmax())] for scores in scored]
    np.testing.assert_allclose([a["score"] for a in answers], [np.exp(scores.max()) for scores in scored], rtol=1e-6)
    with pytest.raises(ValueError, match="zip"):
        ByLetters().classify(texts, pairs[:3])


def test_answers_without_probabilities():
    assert Silent().classify(["a", "?"]) == [{"label": "high", "score": None}, {"label": None, "score": None}]


def test_scores_are_lazy_and_leave_the_callers_gradients_alone(monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW", 2)
    taken = []

    def rows() -> Iterator[dict[str, str]]:
        for text in "abcdefgh":
            taken.append(text)
            yield {"text": text}

    model = ByLetters().train()
    scores = score_rows(model, rows(), max_batch_tokens=64)
    first = next(scores)
    assert first["label"] == NAMES[int(np.argmax(answer("a")))]
    assert taken == ["a", "b"]
    assert first["scores"] == pytest.approx(dict(zip(NAMES, np.exp(answer("a")), strict=True)), rel=1e-6)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    scores.close()
    assert model.training


def test_streamed_batches_carry_ids_texts_and_places(monkeypatch):
    monkeypatch.setattr(streaming, "WINDOW", 3)
    rows = [{"id": f"n{i}", "text": "x" * length} for i, length in enumerate([1, 9, 5, 2, 7])]
    batches = list(StreamedBatches(ByLetters(), rows, batch_size=2))
    assert [batch["row"].tolist() for batch in batches] == [[1, 2], [0], [4, 3]]
    assert [batch["id"] for batch in batches] == [["n1", "n2"], ["n0"], ["n4", "n3"]]
    assert [[len(text) for text in batch["given"]] for batch in batches] == [[9, 5], [1], [7, 2]]


@given(st.permutations(range(12)), st.integers(1, 5))
def test_in_order(order, size):
    in_order, seen = InOrder(), []
    for start in range(0, 12, size):
        rows = order[start : start + size]
        seen += in_order.add(rows, [str(row) for row in rows])
        done = set(order[: start + size])
        assert len(seen) == next(row for row in range(13) if row not in done)
    assert seen == [str(row) for row in range(12)]


def test_prediction_of():
    scores = np.array([0.2, 0.7, 0.1])
    whole = prediction_of(scores, 1, NAMES, True)
    assert whole["label"] == "middle"
    assert whole["score"] == pytest.approx(0.7)
    assert whole["scores"] == pytest.approx({"low": 0.2, "middle": 0.7, "high": 0.1})
    assert prediction_of(scores, 1, NAMES, False) == {"label": "middle", "score": None, "scores": None}
    assert prediction_of(np.full(3, np.nan), -1, NAMES, True) == {"label": None, "score": None, "scores": None}
    certain = prediction_of(np.array([0.0, 1.0, 0.0]), 1, NAMES, True)
    assert certain["scores"] == {"low": 0.0, "middle": 1.0, "high": 0.0}


@pytest.mark.parametrize("temperature", [1.0, 0.3, 4.0])
@given(texts=TEXTS, cuts=st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_with_thresholds_the_label_has_the_highest_thresholded_score(temperature, texts, cuts):
    plain, model = ByLetters(), ByLetters()
    model.textclf.calibrators = (Temperature(temperature), Thresholds(cuts))
    for text, own, decided in zip(texts, plain.classify(texts), model.classify(texts), strict=True):
        assert "decision" not in own
        assert decided["decision"] == "thresholds"
        scores = decided["thresholded_scores"]
        if own["label"] is None:
            assert scores is decided["label"] is None
            continue
        assert decided["label"] == max(scores, key=scores.get)
        divided = np.exp(answer(text)) / cuts
        assert list(scores.values()) == pytest.approx(list(divided / divided.sum()), rel=1e-5)


def test_prediction_of_with_thresholds():
    scores = np.array([0.6, 0.3, 0.1])
    decided = prediction_of(scores, 1, NAMES, True, np.log(scores) - np.log([0.8, 0.1, 0.1]))
    assert (decided["label"], decided["decision"]) == ("middle", "thresholds")
    assert decided["score"] == pytest.approx(0.3)
    assert decided["thresholded_scores"] == pytest.approx({"low": 0.75 / 4.75, "middle": 3 / 4.75, "high": 1 / 4.75})
    impossible = prediction_of(np.array([0.0, 1.0, 0.0]), 1, NAMES, True, np.array([-np.inf, 0.7, -np.inf]))
    assert impossible["thresholded_scores"] == {"low": 0.0, "middle": 1.0, "high": 0.0}
    silent = prediction_of(scores, 1, NAMES, False, scores)
    assert silent["decision"] == "thresholds"
    assert silent["thresholded_scores"] is None
