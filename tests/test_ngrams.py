import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from textclf.ngrams import count_ngrams, count_stored, restored

TEXTS = [
    "정말 지루한 영화 😴",
    "A a  b\t\n b",
    "",
    "İstanbul ß ﬁ",  # lower case of the first letter has two characters
    "x",
    " ",
    "half \ud83d of a sign",
    "\x00 _under_score_ 3.5 don't",
    "aaaaaaaaaaaaaaaaaaaaaaaa" * 20,
]
KINDS = [("word", (1, 1)), ("word", (1, 2)), ("word", (2, 3)), ("char", (1, 4)), ("char", (3, 3)), ("char", (2, 9))]


def assert_as_scikit_learn_counts(texts, analyzer, ngram_range):
    vectorizer = CountVectorizer(analyzer=analyzer, ngram_range=ngram_range, token_pattern=r"(?u)\b\w+\b")
    names, counts = count_ngrams(texts, analyzer, ngram_range)
    try:
        expected = vectorizer.fit_transform(texts)
    except ValueError:  # no n-gram
        assert (names, counts.shape) == ([], (len(texts), 0))
        return
    assert names == list(vectorizer.vocabulary_), "in the order in which a loop over the texts meets them"
    assert counts.has_canonical_format
    in_order = expected[:, [vectorizer.vocabulary_[name] for name in names]]
    assert (counts != in_order).nnz == 0


@pytest.mark.filterwarnings("ignore:The parameter 'token_pattern' will not be used")
@pytest.mark.parametrize(("analyzer", "ngram_range"), KINDS)
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[::-1], ["", " "], []])
def test_counts_are_those_of_scikit_learn(texts, analyzer, ngram_range):
    assert_as_scikit_learn_counts(texts, analyzer, ngram_range)


@pytest.mark.filterwarnings("ignore:The parameter 'token_pattern' will not be used")
@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.sampled_from("aAb _.가\u0301\ud83d\x00\n"), max_size=12)), st.sampled_from(KINDS))
def test_counts_of_any_texts_are_those_of_scikit_learn(texts, kind):
    assert_as_scikit_learn_counts(texts, *kind)


@pytest.mark.parametrize("texts", [TEXTS, ["aaa" * 100], [""]])
def test_stored_counts_are_restored(texts):
    kinds = {"word": (1, 2), "char": (1, 4)}
    for (analyzer, ngram_range), stored in zip(kinds.items(), count_stored({"text": texts}, kinds), strict=True):
        assert stored.values.dtype.itemsize <= 2
        names, counts = count_ngrams(texts, analyzer, ngram_range)
        assert restored(stored).names == names
        assert (restored(stored).counts != counts).nnz == 0
        np.testing.assert_array_equal(stored.frequencies, np.asarray((counts > 0).sum(axis=0)).ravel())
        np.testing.assert_array_equal(stored.totals, np.asarray(counts.sum(axis=0)).ravel())
