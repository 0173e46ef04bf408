"""What answers mean, by hand."""

import math

import pytest
import torch

from textclf.chat.answers import as_scores, class_of_chat, json_answer, normalize_answer


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
    words = [[normalize_answer(label)] for label in LABELS]
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
    assert scores[0].tolist() == [-math.inf, 0]
    assert scores[1].isnan().all()
