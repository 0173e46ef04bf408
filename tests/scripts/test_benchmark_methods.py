"""What the comparison of ready-made methods rests on."""

import pytest
import torch
from benchmarks import methods

from textclf.models import TextClassifier

NAMES = ("negative", "positive")


class Fixed(TextClassifier):
    """Says 0.25 and 0.75 of every text, and counts the rows that it encodes."""

    encoded = 0

    def encode(self, rows):
        Fixed.encoded += len(rows["text"])
        return super().encode(rows)

    def log_scores(self, batch):
        return torch.tensor([[0.25, 0.75]]).log().expand(len(batch["text"]), 2)


def test_contenders_that_differ_are_refused():
    model = Fixed(2, NAMES)
    methods.check_agreement(lambda text: {"positive": 0.75, "negative": 0.25}, model, ["a", "b"])
    for wrong in (0.2502, float("nan")):
        with pytest.raises(RuntimeError, match=r"differ by .* in the probabilities of 'b'"):
            methods.check_agreement(
                lambda text, wrong=wrong: {"positive": 0.75, "negative": wrong if text == "b" else 0.25},
                model,
                ["a", "b"],
            )


def test_texts_are_encoded_in_each_round():
    model, Fixed.encoded = Fixed(2, NAMES), 0
    for rounds in (1, 2, 3):
        methods.test(model, ["a", "b", "c"], "32-true")
        assert Fixed.encoded == 3 * rounds
