import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textclf import normalization
from textclf.normalization import normalize_unicode

MARKS = "\u0301\u0323\u0344\u0f73\u0f71\u3099\u1161\u11a8"
CHARACTERS = st.sampled_from("a\u1100가ﬁ１é\u212b" + MARKS) | st.characters(codec="utf-8")


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
@given(text=st.text(CHARACTERS, max_size=40))
def test_the_result_is_that_of_unicodedata(form, text):
    short = normalization.SHORT
    normalization.SHORT = 0
    try:
        assert normalize_unicode(form, text) == unicodedata.normalize(form, text)
    finally:
        normalization.SHORT = short


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
@pytest.mark.parametrize("run", ["\u0301\u0323", "\u0f73", "\u0344\u0323"])
def test_a_long_run_of_marks_does_not_take_quadratic_time(form, run):
    # `unicodedata` alone would take a minute.
    assert unicodedata.is_normalized(form, normalize_unicode(form, "a" + run * 100_000))
