"""What the answers of chat servers say, whatever their form."""

import math

import pytest

from tests.chat_server import completion, step
from textclf.chat.answer_formats import log_probs_of
from textclf.chat.responses import content_of, steps_of

TEXT = {"type": "text", "text": "positive"}
REASONING = {"reasoning_content": "is it negative?"}
CALL = {"tool_calls": [{"type": "function", "function": {"name": "label", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "positive"}, "positive"),
        ({"content": [TEXT]}, "positive"),
        ({"content": [{"type": "text", "text": "posi"}, {"type": "text", "text": "tive"}]}, "positive"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "negative"}]}, TEXT]}, "positive"),
        ({"content": [{"type": "reasoning", "text": "negative"}, TEXT]}, "positive"),
        ({"content": [{"type": "output_text", "text": "positive"}]}, "positive"),
        ({"content": ["positive"]}, "positive"),
        ({"content": TEXT}, "positive"),
        ({"content": [None, 1, {"type": "image_url"}, {"type": "text", "text": None}, TEXT]}, "positive"),
        ({"content": []}, ""),
        ({"content": 1}, ""),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": "positive", **REASONING}, "positive"),
        ({"content": None, **REASONING}, ""),
        ({"content": None, "refusal": "I cannot help with that."}, ""),
        ({"content": "I cannot say negative", "refusal": "I cannot."}, ""),
        ({"content": [{"type": "refusal", "refusal": "I cannot."}]}, ""),
        ({"content": None, **CALL}, ""),
        ({"content": "positive</s>"}, "positive"),
        ({"content": "positive<|im_end|>"}, "positive"),
    ],
)
def test_forms_of_a_message(message, text):
    content = content_of({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (content.text, content.cut) == (text, False)
    assert bool(content.missing) == (not text)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("<think>negative?</think>positive", "positive"),
        ("<think>\n\n</think>\n\npositive", "positive"),
        ("<think>\nnegative?\nno\n</think>\n\n**positive**", "**positive**"),
        ("negative? no.\n</think>\npositive", "positive"),
        ("<think>a <think>negative</think> b</think> positive", "positive"),
        ("<think>I write <think> first: negative</think>positive", "positive"),
        ("<think>negative</think><think>again</think>positive", "positive"),
        ("positive<think>negative?</think>", "positive"),
        ("<THINK>negative</THINK>positive", "positive"),
        ("<thinking>negative</thinking>positive", "positive"),
        ("<thought>negative</thought>positive", "positive"),
        ("<reasoning>negative</reasoning>positive", "positive"),
        ('<think duration="3">negative</think>positive', "positive"),
        ("<seed:think>negative</seed:think>positive", "positive"),
        ("[THINK]negative[/THINK]positive", "positive"),
        ("◁think▷negative◁/think▷positive", "positive"),
        ("<|START_THINKING|>negative<|END_THINKING|><|START_RESPONSE|>positive<|END_RESPONSE|>", "positive"),
        (
            "<|channel|>analysis<|message|>negative?<|end|>"
            "<|start|>assistant<|channel|>final<|message|>positive<|return|>",
            "positive",
        ),
        ("<think>negative", ""),
        ("<think>negative</think>positive <think>or not", ""),
        ("<|channel|>analysis<|message|>negative", ""),
        ("<think>negative</think>", ""),
        ("negative</think>", ""),
        ("a thoughtful, positive film", "a thoughtful, positive film"),
    ],
)
def test_reasoning_is_no_part_of_an_answer(said, text):
    assert content_of(completion(said)).text == text


@pytest.mark.parametrize(
    ("answer", "text", "cut", "missing"),
    [
        (completion("positive", finish_reason="length"), "positive", True, ""),
        (completion("positive", finish_reason="MAX_TOKENS"), "positive", True, ""),
        (completion("positive", finish_reason="model_length"), "positive", True, ""),
        (completion("<think>negative", finish_reason="length"), "", True, "its reasoning does not end"),
        (completion(None, finish_reason="length"), "", True, "it has no text"),
        (completion("posi", finish_reason="content_filter"), "", False, "the server's content filter stopped it"),
        ({"choices": [{"message": CALL, "finish_reason": "tool_calls"}]}, "", False, "it calls a tool"),
        ({"choices": []}, "", False, "it has no text"),
        ({"choices": [None]}, "", False, "it has no text"),
        ({"choices": [{"message": "positive"}]}, "", False, "it has no text"),
        ({"error": "refused"}, "", False, "an error"),
    ],
)
def test_answers_that_ended_early_or_say_nothing(answer, text, cut, missing):
    assert content_of(answer) == (text, cut, missing)


@pytest.mark.parametrize(
    ("thoughts", "found"),
    [
        ([], 0.75),
        (["<think>", "no", "</think>", "\n\n"], 0.75),
        (["<th", "ink>", "no</th", "ink>"], 0.75),
        (["no", "</think>"], 0.75),
        (["<think>", "no", "or"], None),
    ],
)
def test_log_probabilities_are_those_behind_the_reasoning(thoughts, found):
    answer = [] if found is None else [step(("yes", 0.75), ("no", 0.25))]
    shown = {"content": [*(step((token, 1.0)) for token in thoughts), *answer]}
    scores = log_probs_of(steps_of(completion("?", shown)), ["no", "yes"])
    assert (scores is None) == (found is None)
    if found is not None:
        assert math.exp(scores[1]) == pytest.approx(found)
