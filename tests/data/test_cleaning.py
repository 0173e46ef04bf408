import unicodedata
from dataclasses import dataclass

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from textclf.data.cleaning import (
    DEFAULT,
    TIDY,
    DecodeHTML,
    DropEmpty,
    DropNearOverlap,
    DropNearRepeats,
    DropOverlap,
    DropRepeats,
    DropUnknownLabels,
    JoinLines,
    NormalizeUnicode,
    RemoveControlCharacters,
    ResolveConflicts,
    StripWhitespace,
    TextStep,
    check_recipe,
    clean_columns,
    text_steps,
)
from textclf.data.columns import KeyedRows, text_keys
from textclf.errors import UserError


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (NormalizeUnicode(), unicodedata.normalize("NFD", "한국어 café"), "한국어 café"),
        (NormalizeUnicode("NFKC"), "１２ ﬁ", "12 fi"),
        (RemoveControlCharacters(), "\ufeffone\x85two\x00\tthree\n\r four\x9f", "one two \tthree\n\r four "),
        (StripWhitespace(), "\u3000 두 단어\n ", "두 단어"),
        (JoinLines(), "a\\b  c\n\td\\\\e \\$5 up to\\$7", "a b c d e $5 up to$7"),
        (DecodeHTML(), "<b " + "=" * 50_000 + "<", "<b " + "=" * 50_000 + "<"),  # a slow pattern would take minutes
        (DecodeHTML(), 'x <a href="a=b', "x  "),
        (DecodeHTML(), f"a&#{'1' * 5000};b&#{'0' * 99}65;", "a\ufffdbA"),
        (JoinLines(), "a" + "\\" * 1_000_000 + "b" + "\\" * 1_000_000 + "$5", "a b$5"),
        (DecodeHTML(), "It #39;s &lt;DELL.O&gt; &amp; AT amp;T  quot;x quot;", 'It\'s <DELL.O> & AT&T "x"'),
        (DecodeHTML(), '&lt;A HREF="x?y"&gt;SPLS.O&lt;/A&gt;<br>&lt;b&gt;now', " SPLS.O   now"),
        (DecodeHTML(), 'bills. &lt;FONT face="verdana" color="#666"', "bills.  "),
        (DecodeHTML(), "a < b and c > d; 5 #1; R&D; amplified;", "a < b and c > d; 5 #1; R&D; amplified;"),
    ],
)
def test_texts_are_changed(step, before, after):
    assert step.clean(before) == after


@given(st.text(max_size=60))
def test_tidying_twice_changes_nothing_more(text):
    once = clean_columns({"text": [text]}, text_steps(TIDY))[0]
    again, changed = clean_columns(once, text_steps(TIDY))
    assert (again, changed) == (once, [0])


def test_changes_are_noted_for_each_step_and_both_texts():
    columns = {"id": ["1", "2", "3"], "text": ["a ", "b", "c"], "text_pair": ["x", "y\ufeff ", "z"]}
    cleaned, changed = clean_columns(columns, text_steps(DEFAULT))
    assert cleaned == {"id": ["1", "2", "3"], "text": ["a", "b", "c"], "text_pair": ["x", "y", "z"]}
    assert changed == [0b100, 0b110, 0]


def rows_of(pairs, others=(), split="train"):
    columns = {"text": [text for text, _ in pairs], "label": [label for _, label in pairs]}
    other = Dataset.from_dict({"text": list(others), "label": [0] * len(others)})
    test = KeyedRows(other, "test", lambda _: None) if others else None
    return KeyedRows(Dataset.from_dict(columns), split, lambda name: test if name == "test" else None)


ROWS = [("a", 0), ("b", 1), ("a", 1), ("", 0), ("a", 1), ("b", 1), ("c", 0), ("c", 1), (" ", -1)]


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (DropEmpty(), [0, 1, 2, 4, 5, 6, 7]),
        (DropUnknownLabels(), [0, 1, 2, 3, 4, 5, 6, 7]),
        (DropRepeats(), [0, 1, 2, 3, 6, 7, 8]),
        (ResolveConflicts(rule="majority"), [1, 2, 3, 4, 5, 8]),
        (ResolveConflicts(rule="drop_all"), [1, 3, 5, 8]),
        (ResolveConflicts(rule="keep_first"), [0, 1, 3, 5, 6, 8]),
        (DropOverlap(), [1, 3, 5, 6, 7, 8]),
        (DropOverlap(others=["validation"]), list(range(9))),
        (DropNearRepeats(), [0, 1, 2, 3, 6, 7, 8]),
        (DropNearOverlap(), [1, 3, 5, 6, 7, 8]),
    ],
)
def test_rows_are_dropped(step, kept):
    rows = rows_of(ROWS, others=["a", "z"])
    assert np.flatnonzero(step.keep(rows)).tolist() == kept
    part = rows.select(step.keep(rows))
    assert part.rows["text"][:] == [ROWS[i][0] for i in kept]
    assert part.labels.tolist() == [ROWS[i][1] for i in kept]
    np.testing.assert_array_equal(part.keys, text_keys(part.rows))


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=20))
def test_rows_are_dropped_as_a_plain_loop_would(pairs):
    def kept(step):
        return [pairs[i] for i in np.flatnonzero(step.keep(rows_of(pairs)))] if pairs else []

    labels = {text: [label for other, label in pairs if other == text] for text, _ in pairs}
    assert kept(DropRepeats()) == list(dict.fromkeys(pairs))
    assert kept(ResolveConflicts(rule="drop_all")) == [row for row in pairs if len(set(labels[row[0]])) == 1]
    assert kept(ResolveConflicts(rule="keep_first")) == [row for row in pairs if row[1] == labels[row[0]][0]]
    counts = {text: sorted((own.count(label) for label in set(own)), reverse=True) for text, own in labels.items()}
    winner = {text: max(set(own), key=own.count) for text, own in labels.items()}
    untied = [row for row in pairs if len(counts[row[0]]) == 1 or counts[row[0]][0] > counts[row[0]][1]]
    assert kept(ResolveConflicts()) == [row for row in untied if row[1] == winner[row[0]]]


def test_pairs_are_compared_as_pairs():
    columns = {"text": ["a", "a", "ab", "", "x"], "text_pair": ["b", "b", "", "ab", " "], "label": [0, 0, 0, 0, 1]}
    rows = KeyedRows(Dataset.from_dict(columns), "train", lambda _: None)
    assert DropRepeats().keep(rows).tolist() == [True, False, True, True, True]
    assert DropEmpty().keep(rows).tolist() == [True, True, False, False, False]


SENTENCE = "the second act drags a little, but the ending is worth the wait"
NEAR = [
    (SENTENCE, 0),
    (SENTENCE.upper() + "!!!", 0),
    (SENTENCE, 1),
    (SENTENCE.replace("second", "third"), 0),
    ("an altogether different sentence about the weather in spring", 0),
    (SENTENCE.replace("second", "third").replace("ending", "finale") + " of two hours", 0),
    ("", 0),
    ("", 0),
]


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (DropNearRepeats(), [0, 2, 4, 5, 6, 7]),
        (DropNearRepeats(threshold=0.9), [0, 2, 3, 4, 5, 6, 7]),
        (DropNearOverlap(), [4, 5, 6, 7]),
        (DropNearOverlap(threshold=1), [3, 4, 5, 6, 7]),
        (DropNearOverlap(others=["validation"]), list(range(8))),
    ],
)
def test_near_repeats_are_dropped(step, kept):
    rows = rows_of(NEAR, others=["", "something else", f"  {SENTENCE.replace(',', '')}"])
    assert np.flatnonzero(step.keep(rows)).tolist() == kept


@pytest.mark.parametrize("step", [DropNearRepeats, DropNearOverlap])
@pytest.mark.parametrize("threshold", [0.5, 1.2, float("nan")])
def test_thresholds_out_of_range(step, threshold):
    with pytest.raises(UserError, match=r"is not between 0\.7 and 1"):
        step(threshold=threshold)


def test_no_rows():
    rows = rows_of([("a", 0)]).select(np.array([False]))
    for step in (*DEFAULT, DropNearRepeats(), DropNearOverlap()):
        if not isinstance(step, TextStep):
            assert step.keep(rows).shape == (0,)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ([DropEmpty(), StripWhitespace()], "StripWhitespace changes texts, so it must come before DropEmpty"),
        ([DropRepeats(), ResolveConflicts()], "ResolveConflicts counts repeats for its majority: put it before"),
        ([DropNearRepeats(), ResolveConflicts()], "ResolveConflicts counts .*: put it before DropNearRepeats"),
    ],
)
def test_orders_that_cannot_work(recipe, message):
    with pytest.raises(UserError, match=message):
        check_recipe(recipe)


def test_orders_that_work():
    check_recipe([])
    check_recipe(DEFAULT)
    check_recipe([DropRepeats(), ResolveConflicts(rule="keep_first")])


@dataclass(frozen=True)
class Shout(TextStep):
    mark: str = "!"

    def clean(self, text):
        return text.upper() + self.mark


def test_identity_tells_arguments_and_source():
    assert Shout().identity() == Shout("!").identity() != Shout("?").identity()
    first = Shout
    other = dataclass(frozen=True)(type("Shout", (TextStep,), {"clean": lambda self, text: text}))
    assert first().identity() != other().identity()


def test_steps_as_configuration():
    assert ResolveConflicts(("train", "test"), "drop_all").as_config() == {
        "class_path": "textclf.data.ResolveConflicts",
        "init_args": {"splits": ["train", "test"], "rule": "drop_all"},
    }
    assert Shout("?").as_config()["init_args"] == {"mark": "?"}
