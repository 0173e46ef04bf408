"""Hostile texts in every method, and what the script that measures it writes."""

import json
from functools import cache

import measure_invariance
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invariance.hostile import KINDS, long_texts
from invariance.methods import tiny_cases
from measure_invariance import differ, measured_texts, special_ids_read

from textclf.conformance.subject import isolated
from textclf.data.text_values import mended
from textclf.models import CausalLMClassifier, ChatClassifier, NLIClassifier, PretrainedClassifier, TfidfClassifier
from textclf.models.prompts import PromptTemplate, marked_rows, with_examples
from textclf.scoring.look_alikes import MARK

CASES = {f"{case.name}, {case.model}": case for case in tiny_cases()}
DIFFERENT = (TfidfClassifier, PretrainedClassifier, NLIClassifier, CausalLMClassifier)
"""Methods that encode texts in different ways."""
LAST = {case.method: name for name, case in CASES.items()}.values()
"""A case of each method."""
PIECES = [text for kind in KINDS.values() for text in kind]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=30)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.slow if case.method in DIFFERENT and name in LAST else pytest.mark.exhaustive
        )
        for name, case in CASES.items()
    ],
)
def test_a_method_answers_every_hostile_text_as_if_it_were_alone(name):
    found = measured_texts(CASES[name], 0, long=False)
    assert found["texts"] > 150
    assert (found["rows_lost"], found["answers_changed"], found["special_tokens_read"]) == (0, 0, 0)


@cache
def ready_models():
    """A method of each way to encode texts."""
    with isolated() as folder:
        return [CASES[name].ready(folder) for name in LAST if CASES[name].method in DIFFERENT]


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_drawn_texts_are_answered_in_their_order(texts):
    for model in ready_models():
        together = model.classify(texts)
        assert len(together) == len(texts)
        assert not any(differ(answer, model.classify([text])[0]) for text, answer in zip(texts, together, strict=True))
        assert special_ids_read(model, texts) == 0


@pytest.mark.slow
def test_lines_of_a_megabyte_are_answered():
    texts = long_texts()[:1]
    for model in ready_models():
        assert len(model.classify(texts)) == len(texts)


@given(text=TEXTS.map(mended), pair=TEXTS.map(mended), example=TEXTS.map(mended))
def test_templates_are_filled_once(text, pair, example):
    plain = PromptTemplate.of("A {text} B {text_pair} C {labels}")
    template = with_examples(plain, "{text}, {labels}", [({"text": "{text}", "text_pair": "x"}, " y")], None)
    filled = template.fill({"text": text, "text_pair": pair})
    assert filled == f"A {{text}} B x C {{text}}, {{labels}} y\n\nA {text} B {pair} C {{text}}, {{labels}}"


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS.map(mended), example=TEXTS.map(mended))
def test_an_example_cannot_open_a_slot(text, example):
    tokenizer = next(model for model in ready_models() if isinstance(model, CausalLMClassifier)).tokenizer
    rows = marked_rows(tokenizer, [{"text": example}])
    template = with_examples(PromptTemplate.of("A {text} B"), "", [(rows[0], " y")], None)
    assert template.slots == ("text",)
    assert template.fill({"text": text}).endswith(f"A {text} B")
    assert template.parts[0].replace(MARK, "").startswith("A ")


@given(text=TEXTS.map(mended))
def test_a_chat_server_is_sent_the_text_as_it_is(text):
    model = ChatClassifier(2, ("a", "b"), prompt="Judge [DOCUMENT] by {labels}.")
    assert model.request({"text": text})["messages"][0]["content"] == f"Judge {text} by a, b."


@pytest.mark.slow
def test_the_script_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    cases = [case for case in tiny_cases() if case.method in (TfidfClassifier, PretrainedClassifier)]
    monkeypatch.setattr("invariance.methods.tiny_cases", lambda: iter(cases))
    assert measure_invariance.main(["--rows", "66", "--hostile", "10", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["method"] for row in found["batches"]["methods"]] == ["tfidf", "pretrained"]
    assert all(row["largest"] <= 1e-4 for row in found["batches"]["methods"])
    assert found["robustness"][1]["bad_inputs"] == sum(row["texts"] for row in found["hostile"]["methods"]) > 300
    assert [row["lost"] for row in found["robustness"]] == [0, 0]
    assert "batches of 1" in str(found["batches"]["methods"][0]["ways"])
    assert "pretrained" in capsys.readouterr().out
