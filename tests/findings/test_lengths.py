"""Lengths by class, lengths that differ between splits, and tokens."""

import numpy as np
import pytest

from tests.findings.splits import invented_texts, places_in, split_of
from textclf.findings.lengths import Tokenization, find_in_tokens, find_length_shifts, measure, summarize


def test_measure_and_summarize():
    split = split_of(["a bc", "", "한국어 문장", "d" * 200], pairs=["x", " ", "y z", ""])
    measured = measure(split)
    assert measured.lengths["characters"].tolist() == [5, 1, 9, 200]
    assert measured.lengths["words"].tolist() == [3, 0, 4, 1]
    lengths = summarize([measured])
    assert [(one.unit, one.label) for one in lengths] == [
        (unit, label) for unit in ("characters", "words") for label in (None, "a", "b")
    ]
    whole = lengths[0]
    assert whole.rows == sum(whole.histogram) == 4
    assert whole.quantiles[0] == 1
    assert whole.quantiles[-1] == 200
    assert len(whole.edges) == len(whole.histogram) + 1 == len(lengths[1].histogram) + 1


def test_long_texts_are_in_the_last_bin():
    split = split_of(["a b"] * 300 + [" ".join("a" * 5000)])
    (whole,) = [one for one in summarize([measure(split)]) if one.unit == "words" and one.label is None]
    assert whole.histogram[-1] == 1
    assert sum(whole.histogram) == 301


SHIFTS = (
    # words of train, words of test, whether it is found
    ((6, 14), (6, 14), False),
    ((6, 14), (9, 17), True),
    ((6, 14), (10, 10), True),  # the same mean
)


@pytest.mark.parametrize(("train", "test", "found"), SHIFTS)
def test_length_shift(train, test, found):
    splits = [
        split_of(invented_texts(300, 1, *train)),
        split_of(invented_texts(200, 2, *test), split="test"),
    ]
    assert bool(find_length_shifts([measure(split) for split in splits])) == found


def letters(texts, pairs):
    """One token for each character of both texts, 0 for an unknown one, and one at the end."""
    both = texts if pairs is None else [text + pair for text, pair in zip(texts, pairs, strict=True)]
    return [[0 if character == "?" else ord(character) for character in text] + [1] for text in both]


TOKENS = Tokenization("letters", 10, letters, 0, lambda text: ["?"] * text.count("?"))


@pytest.mark.parametrize("seed", range(3))
def test_planted_long_texts_and_unknown_tokens(seed):
    texts = ["nine more"] * 200  # with the token at the end as long as `max_length`
    for number, place in enumerate(places_in(200, 7, seed)):
        texts[place] = "longer than all" + " " * number
    for place in places_in(200, 5, seed + 10):
        texts[place] = texts[place][:5] + "??"
    measured, found = find_in_tokens(split_of(texts), TOKENS)
    long = [f"train-{i}" for i, text in enumerate(texts) if len(text) > 9]
    odd = [f"train-{i}" for i, text in enumerate(texts) if "?" in text]
    assert measured.lengths["tokens"].tolist() == [len(text) + 1 for text in texts]
    by_kind = {finding.kind: finding for finding in found}
    assert set(by_kind["cut"].rows) == set(long)
    assert by_kind["cut"].count == len(long)
    assert by_kind["cut"].rows[0] == f"train-{np.argmax([len(text) for text in texts])}"
    assert "longer than max_length 10 of 'letters'" in by_kind["cut"].detail
    assert set(by_kind["unknown_tokens"].rows) == set(odd)
    assert "the most frequent: '?' (10)" in by_kind["unknown_tokens"].detail


def test_nothing_is_cut_or_unknown():
    assert find_in_tokens(split_of(["nine more"] * 5), TOKENS)[1] == []
    without_limit = Tokenization("letters", None, letters)
    assert find_in_tokens(split_of(["longer than all?"] * 5), without_limit)[1] == []


def test_pairs_are_counted_together():
    (cut,) = find_in_tokens(split_of(["five5"] * 2, pairs=["five5", ""]), TOKENS)[1]
    assert cut.rows == ("train-0",)
