"""Log-probabilities of answers, by hand."""

import numpy as np
import pytest

from tests.chat_server import step
from textclf.chat.answer_formats import log_probs_of

KOREAN = "긍정".encode()


@pytest.mark.parametrize(
    ("steps", "answers", "expected"),
    [
        ([step(("1", 0.7), ("0", 0.2), (" 1", 0.05), ("x", 0.05))], ["0", "1"], [0.2, 0.75]),
        ([step(("Pos", 0.6), ("neg", 0.3), ("Neg", 0.1)), step(("itive", 1.0))], ["negative", "positive"], [0.4, 0.6]),
        ([step((' "', 0.5), ("x", 0.5)), step(("no", 0.8), ("yes", 0.2))], ["yes", "no"], [0.1, 0.4]),
        ([step(("a", 1.0)), step(("b", 0.75), ("c", 0.25))], ["ab", "ac", "d"], [0.75, 0.25, 0.25]),
        ([step(("1", 0.9), ("2", 0.1)), step((".", 0.5), ("0", 0.5))], ["1", "10", "2"], [0.45, 0.45, 0.1]),
        ([step(("1", 0.9), ("2", 0.1))], ["1", "10", "2"], [0.9, 0.1, 0.1]),
        ([step((KOREAN[:2], 0.9), ("부", 0.1)), step((KOREAN[2:], 1.0))], ["부정", "긍정"], [0.1, 0.9]),
        ([step(("maybe", 0.9), ("x", 0.1))], ["yes", "no"], None),
        ([step(("very", 0.9), ("fair", 0.1))], ["very bad", "very good", "fair"], None),
        ([step((' "', 0.9), ("yes", 0.1))], ["yes", "no"], None),
        ([], ["yes", "no"], None),
    ],
)
def test_probabilities_of_answers_by_hand(steps, answers, expected):
    found = log_probs_of(steps, answers)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert np.exp(found) == pytest.approx(expected)


def test_a_number_in_place_of_bytes_takes_no_memory():
    with pytest.raises(TypeError, match="a list of numbers, not 10000000000000"):
        log_probs_of([{"token": "a", "bytes": 10**13, "logprob": -0.1}], ["a", "b"])
