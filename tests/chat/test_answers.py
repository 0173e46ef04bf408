"""What answers mean, by hand."""

import numpy as np
import pytest
import torch

from tests.chat_server import step
from textclf.chat.answers import as_scores, class_of_chat, json_answer, log_probs_of, simplified

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


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ('{"answer": "a"}', "a"),
        ('{"answer": 1}', "1"),
        ('{"answer": null}', ""),
        ('{"answer": ["a"]}', ""),
        ('{"answer": {"a": 1}}', ""),
        ('{"label": "a"}', "a"),
        ('{"note": "a"}', "a"),
        ('{"note": "b", "label": "a"}', "a"),
        ('{"label": "b", "answer": "a"}', "a"),
        ('{"note": "b", "remark": "a"}', None),
        ('["a"]', None),
        ("a", None),
    ],
)
def test_answers_in_json(content, meant):
    assert json_answer(content) == meant


LABELS = ("negative", "positive", "긍정")


@pytest.mark.parametrize(
    ("text", "equals", "contains"),
    [
        ("positive", 1, 1),
        ("  Positive.\n", 1, 1),
        ("**positive**", 1, 1),
        ("__Positive__!", 1, 1),
        ("# positive", 1, 1),
        ('"positive"', 1, 1),
        ("`positive`", 1, 1),
        ("「긍정」", 2, 2),
        ("『긍정』。", 2, 2),
        ("【긍정】", 2, 2),
        ("‘긍정’", 2, 2),
        ("긍정！", 2, 2),
        ("ｐｏｓｉｔｉｖｅ．", 1, 1),
        ("\u200bpositive\ufeff", 1, 1),
        ("긍정", 2, 2),
        ("Answer: positive", 1, 1),
        ("**Answer:** positive", 1, 1),
        ("The final answer is **positive**.", 1, 1),
        ("Sentiment = positive", 1, 1),
        ("정답： 긍정", 2, 2),
        ("정답은 「긍정」", 2, 2),
        ("분류: 긍정", 2, 2),
        ("1. positive", 1, 1),
        ("1) **Label:** positive", 1, 1),
        ("- positive", 1, 1),
        ("• positive", 1, 1),
        ("<answer>positive</answer>", 1, 1),
        ("```\npositive\n```", 1, 1),
        ("```text\npositive\n```", 1, 1),
        ('```json\n{"label": "positive"}\n```', 1, 1),
        ('Here it is:\n```json\n{"answer": "positive"}\n```\nI hope this helps.', 1, 1),
        ('```json\n{"label": "positive"}', 1, 1),
        ('{"label": "positive", "confidence": 0.9}', 1, 1),
        ('{"reason": "not negative", "label": "positive"}', 1, 1),
        ('{"answer": null}', None, None),
        ("It is positive.", None, 1),
        ("The answer is not positive", None, 1),
        ("positive or negative", None, None),
        ("positively", None, 1),
        ("I cannot judge this.", None, None),
        ("answer:", None, None),
        ("", None, None),
    ],
)
def test_classes_of_chat_answers(text, equals, contains):
    words = [[simplified(label)] for label in LABELS]
    assert class_of_chat(text, words, "equals") == equals
    assert class_of_chat(text, words, "contains") == contains


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("positive", [["negative"], ["positive"]], 1),
        ("Answer: positive", [["negative"], ["positive"]], 1),
        ('{"label": "positive"}', [["negative"], ["positive"]], 1),
        ('{"label": "positive', [["negative"], ["positive"]], 1),
        ('{"label": "posit', [["negative"], ["positive"]], None),
        ("It is positive", [["negative"], ["positive"]], None),
        ("posit", [["negative"], ["positive"]], None),
        ("1", [["0"], ["1"]], 1),
        ("1", [["1"], ["10"]], None),
        ("10", [["1"], ["10"]], 1),
        ("good", [["bad"], ["good", "goodness"]], 1),
    ],
)
@pytest.mark.parametrize("parse", ["equals", "contains"])
def test_what_a_token_limit_cut_off_counts_only_where_nothing_could_change_it(text, words, found, parse):
    assert class_of_chat(text, words, parse, cut=True) == found


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("1", [["0"], ["1"]], 1),
        ("-1", [["0"], ["1"]], None),
        ("- 1", [["0"], ["1"]], None),
        ("10", [["0"], ["1"]], None),
        ("1. positive", [["0", "negative"], ["1", "positive"]], None),
        ("?", [["?"], ["!"]], 0),
        ("😊", [["😡"], ["😊"]], 1),
        ("Answer: a", [["answer: a"], ["a"]], 0),
    ],
)
def test_labels_that_look_like_marks_or_wrappings(text, words, found):
    assert class_of_chat(text, words, "equals") == found


def test_scores_are_fp32_whatever_the_default_is():
    torch.set_default_dtype(torch.bfloat16)
    try:
        scores = as_scores([1, None], 2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert scores.dtype == torch.float32
    assert scores[0].tolist() == [-np.inf, 0] and scores[1].isnan().all()
