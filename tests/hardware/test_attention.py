from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.scoring.tiny import byte_tokenizer, tiny_model
from textclf.hardware import attention
from textclf.scoring import LabelScorer


def inputs(heads, groups, seq, length, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    shapes = [(3, heads, seq, 8), (3, heads // groups, length, 8), (3, heads // groups, length, 8)]
    query, key, value = (torch.randn(shape, generator=draw).to(dtype) for shape in shapes)
    seen = torch.rand(3, 1, seq, length, generator=draw) < 0.6
    seen[..., 0] = True  # a row of nothing has no attention
    return SimpleNamespace(num_key_value_groups=groups, is_causal=True), query, key, value, seen


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("seq", "length"), [(5, 5), (3, 9), (1, 4)])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_products_attend_as_the_fused_kernel(groups, seq, length, scaling):
    module, query, key, value, seen = inputs(4, groups, seq, length)
    added = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    expected, _ = sdpa_attention_forward(module, query, key, value, seen, scaling=scaling)
    for mask in (seen, added):
        found, weights = attention.attend(module, query, key, value, mask, scaling=scaling)
        torch.testing.assert_close(found, expected)
        assert weights is None


def test_what_the_products_leave_to_the_fused_kernel(monkeypatch):
    module, query, key, value, seen = inputs(4, 2, 5, 5)
    expected, _ = sdpa_attention_forward(module, query, key, value, seen)
    monkeypatch.setattr(attention, "MOST_SCORES", 3 * 4 * 5 * 5 - 1)
    monkeypatch.setattr(torch.Tensor, "softmax", None)  # the products take it
    assert torch.equal(attention.attend(module, query, key, value, seen)[0], expected)
    monkeypatch.setattr(attention, "MOST_SCORES", 10**9)
    causal, _ = sdpa_attention_forward(module, query, key, value, None)
    assert torch.equal(attention.attend(module, query, key, value, None)[0], causal)
    bias = torch.ones(1, 4, 5, 5)
    biased, _ = sdpa_attention_forward(module, query, key, value, seen, position_bias=bias)
    assert torch.equal(attention.attend(module, query, key, value, seen, position_bias=bias)[0], biased)
    ignored = {"dropout": 0.0, "sliding_window": 3, "position_ids": bias}
    for unknown in ({"is_causal": False}, {"anything": 1}):
        left = attention.attend(module, query, key, value, seen, **ignored, **unknown)[0]
        assert torch.equal(left, expected)
    with pytest.raises(TypeError):  # the products: nothing unknown is asked for
        attention.attend(module, query, key, value, seen, **ignored, anything=None)


@pytest.mark.parametrize("name", attention.MODELS)
@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_labels_score_the_same_with_both(name, strategy, monkeypatch):
    if name == "mistral" and strategy == "packed":
        strategy = "auto"  # its window forbids packing
    products = []
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda *given: products.append(1) or softmax(*given))
    labels, prompts = [" a", " bcd", "정치"], ["short", "a much longer prompt", "긴"]
    attention.use_products(tiny_model.__wrapped__(name, dtype=torch.bfloat16))  # makes the name known
    model = tiny_model.__wrapped__(name)
    scores = []
    for implementation in ("sdpa", attention.NAME):
        assert not products
        model.set_attn_implementation(implementation)
        scorer = LabelScorer(model, byte_tokenizer(), labels, strategy=strategy)
        scores.append(scorer(prompts).log_likelihoods)
    torch.testing.assert_close(*scores, atol=1e-4, rtol=0)
    assert products  # none of what these models hand on is unknown


def test_only_bf16_models_of_known_kinds_with_fused_attention_are_changed():
    exact, eager = tiny_model.__wrapped__("llama"), tiny_model.__wrapped__("llama", "eager", torch.bfloat16)
    other = tiny_model.__wrapped__("gemma3", dtype=torch.bfloat16)
    for model in (exact, eager, other):
        before = model.config._attn_implementation
        attention.use_products(model)
        assert model.config._attn_implementation == before
