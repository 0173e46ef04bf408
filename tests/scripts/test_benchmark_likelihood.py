import json
from argparse import Namespace
from functools import partial

import plot_growth
import pytest
import torch
from benchmarks import likelihood

from tests.scoring.tiny import save_tiny_lm


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(likelihood, "matmul_rate", lambda: 1e9)
    monkeypatch.setattr(likelihood, "find_spec", lambda name: None)
    return Namespace(pretrained=str(save_tiny_lm(tmp_path / "lm", context=4096)))


@pytest.mark.slow
@pytest.mark.parametrize(("fast", "number"), [(torch.bfloat16, 7), (torch.float32, 5)])
def test_all_ways_give_the_same_scores(fast, number, options, monkeypatch):
    """Setting up compares them; so does this, in fp32."""
    monkeypatch.setattr(likelihood, "fast_dtype", lambda: fast)
    ways = likelihood.contenders(options, ["A storm.", "가을 야구 8"])
    assert next(iter(ways)) == "a pass per label, fp32"
    counts = [work() for work in ways.values()]
    assert len(counts) == number
    assert {(c["rows"], c["labels"], c["needed tokens"]) for c in counts} == {(2, 4, counts[0]["needed tokens"])}
    model = likelihood.Model(options.pretrained, torch.float32)
    prompts, labels = ["short", "a longer prompt", "긴"], [" a", " bcd", " b", "정치"]
    expected = model.scorer(labels, "plain")(prompts)
    ways = model.loop, partial(model.full_passes, size=5)
    for scores in (*(way(labels, prompts) for way in ways), model.scorer(labels, "cached")(prompts)):
        torch.testing.assert_close(scores, expected, atol=1e-4, rtol=0)


def test_other_scores_are_not_timed(options):
    model = likelihood.Model(options.pretrained, torch.float32)
    right = model.scorer([" a"], "plain")
    wrong = {"right": (model, right), "wrong": (model, lambda prompts: right(prompts) + 0.1)}
    with pytest.raises(RuntimeError, match="'wrong' gives other likelihoods"):
        likelihood.check(wrong, ["a text"])


@pytest.mark.slow
def test_labels_and_lengths_grow(options, monkeypatch, tmp_path):
    monkeypatch.setattr(likelihood, "LABELS", (2, 5))
    monkeypatch.setattr(likelihood, "LENGTHS", (16,))
    monkeypatch.setattr(likelihood, "TEXTS", (3,))
    ways = likelihood.growth(options, ["A storm is near.", "Shares fell."])
    assert list(ways) == [
        *(f"{way}, {case}" for case in ("2 labels", "5 labels", "16 tokens") for way in ("packed", "cached")),
        "packed, 3 texts",
    ]
    contenders = [{"name": name, "median": 1.0, "counts": work()} for name, work in ways.items()]
    assert contenders[2]["counts"]["labels"] == 5
    (tmp_path / "r.json").write_text(json.dumps({"parts": {"likelihood_growth": {"contenders": contenders}}}))
    assert plot_growth.main([str(tmp_path / "r.json"), str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("text", ["{}", "[1]", "not JSON", None])
def test_a_file_that_is_not_a_report_of_growth(text, tmp_path, capsys):
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    assert plot_growth.main([str(tmp_path / "r.json"), str(tmp_path / "p.png")]) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "report" in line


def test_intents_are_distinct():
    assert len(set(likelihood.intents(150))) == 150
    assert len(set(likelihood.intents(77))) == 77
