"""The replacements compute what torch's own parts compute; what they do not know is left to these."""

import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.scoring.tiny import EVERY, byte_tokenizer, tiny_model
from textclf.backbones.weights import load_causal, load_frozen
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.hardware import kernels
from textclf.hardware.kernels import FastDropout, ReorderedLinear, drop, reorder_weights, use_fast_dropout
from textclf.scoring import LabelScorer

BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
SMALL = {**BERT, "embedding_size": 16}
APART = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
BART = {
    "d_model": 32,
    **{f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in (("layers", 2), ("ffn_dim", 48))},
    **{f"{half}_attention_heads": 4 for half in ("encoder", "decoder")},
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
OTHERS = {  # kind: (what loads it, its config)
    "albert": ("AutoModel", SMALL),
    "bart": ("AutoModelForSeq2SeqLM", BART),
    "bert": ("AutoModelForSequenceClassification", BERT),
    "deberta-v2": ("AutoModelForSequenceClassification", {**BERT, **APART}),
    "distilbert": ("AutoModel", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    "electra": ("AutoModel", SMALL),
    "modernbert": ("AutoModel", {**BERT, **SPECIAL}),
    "mpnet": ("AutoModel", BERT),
    "roberta": ("AutoModelForSequenceClassification", BERT),
    "t5": ("AutoModelForSeq2SeqLM", T5),
    "xlm-roberta": ("AutoModelForSequenceClassification", BERT),
}
CAUSAL = [name for name, (kind, _) in EVERY.items() if kind in kernels.LINEAR_MODELS]
DTYPES = sorted(kernels.faster_dtypes(), key=str)
CLOSE = {torch.float32: {"atol": 1e-5, "rtol": 1e-5}, torch.bfloat16: {"atol": 0.02, "rtol": 0.02}}


def attention_inputs(heads, groups, seq, length, dtype=torch.float32):
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
    module, query, key, value, seen = attention_inputs(4, groups, seq, length)
    added = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
    expected, _ = sdpa_attention_forward(module, query, key, value, seen, scaling=scaling)
    for mask in (seen, added):
        found, weights = kernels.attend(module, query, key, value, mask, scaling=scaling)
        torch.testing.assert_close(found, expected)
        assert weights is None


def test_what_the_products_leave_to_the_fused_kernel(monkeypatch):
    module, query, key, value, seen = attention_inputs(4, 2, 5, 5)
    expected, _ = sdpa_attention_forward(module, query, key, value, seen)
    monkeypatch.setattr(kernels, "MAX_SCORES", 3 * 4 * 5 * 5 - 1)
    monkeypatch.setattr(torch.Tensor, "softmax", None)  # the products take it
    assert torch.equal(kernels.attend(module, query, key, value, seen)[0], expected)
    monkeypatch.setattr(kernels, "MAX_SCORES", 10**9)
    causal, _ = sdpa_attention_forward(module, query, key, value, None)
    assert torch.equal(kernels.attend(module, query, key, value, None)[0], causal)
    bias = torch.ones(1, 4, 5, 5)
    biased, _ = sdpa_attention_forward(module, query, key, value, seen, position_bias=bias)
    assert torch.equal(kernels.attend(module, query, key, value, seen, position_bias=bias)[0], biased)
    ignored = {"dropout": 0.0, "sliding_window": 3, "position_ids": bias}
    for unknown in ({"is_causal": False}, {"anything": 1}):
        left = kernels.attend(module, query, key, value, seen, **ignored, **unknown)[0]
        assert torch.equal(left, expected)
    with pytest.raises(TypeError):  # the products: nothing unknown is asked for
        kernels.attend(module, query, key, value, seen, **ignored, anything=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", kernels.ATTENTION_MODELS)
@pytest.mark.parametrize("strategy", ["packed", "cached"])
def test_labels_score_the_same_with_both(name, strategy, monkeypatch):
    if name == "mistral" and strategy == "packed":
        strategy = "auto"  # its window forbids packing
    products = []
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda *given: products.append(1) or softmax(*given))
    labels, prompts = [" a", " bcd", "정치"], ["short", "a much longer prompt", "긴"]
    kernels.use_products(tiny_model.__wrapped__(name, dtype=torch.bfloat16))  # makes the name known
    model = tiny_model.__wrapped__(name)
    scores = []
    for implementation in ("sdpa", kernels.ATTENTION):
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
        before = kernels.attention_of(model)
        kernels.use_products(model)
        assert kernels.attention_of(model) == before


def made(name, dtype):
    if name not in OTHERS:
        return tiny_model.__wrapped__(name, dtype=dtype)
    loader, config = OTHERS[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, vocab_size=300, **config)
    return getattr(transformers, loader).from_config(config).to(dtype).eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*OTHERS, *CAUSAL])
@torch.inference_mode()
def test_a_model_with_reordered_weights_gives_the_same(name, dtype):
    model = made(name, dtype)
    ids = torch.randint(3, 250, (3, 9), generator=torch.Generator().manual_seed(0))
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **more}
    expected, size, head = model(**inputs)[0], model.num_parameters(), model.get_output_embeddings()
    reorder_weights(model)
    model.to("cpu", dtype).train(False)
    torch.testing.assert_close(model(**inputs)[0], expected, **CLOSE[dtype])
    assert any(isinstance(layer, ReorderedLinear) for layer in model.modules())
    assert not isinstance(head, ReorderedLinear)
    assert model.get_output_embeddings() is head
    assert (model.num_parameters(), model.dtype) == (size, dtype)


def test_every_kind_of_reordered_model_is_tried():
    assert {*OTHERS, *(EVERY[name][0] for name in CAUSAL)} == kernels.LINEAR_MODELS


@pytest.mark.parametrize("dtype", DTYPES)
def test_frozen_models_are_loaded_with_reordered_weights(dtype, tmp_path, tiny_encoder):
    made("t5", dtype).save_pretrained(tmp_path / "t5")
    made("llama", dtype).save_pretrained(tmp_path / "llama")
    name = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[dtype]
    for model in (
        load_frozen("AutoModelForSeq2SeqLM", str(tmp_path / "t5"), dtype),
        load_causal(str(tmp_path / "llama"), {}, dtype),
        Embedder(str(tiny_encoder), None, EmbeddingSettings(dtype=name), tmp_path).model,
    ):
        assert any(isinstance(layer, ReorderedLinear) for layer in model.modules())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (5,), (2, 3, 4), (0, 2)])
@torch.inference_mode()
def test_a_reordered_layer_gives_the_same(shape, bias, dtype):
    layer = torch.nn.Linear(24, 40, bias=bias, dtype=dtype)
    inputs = torch.randn(24, *shape, dtype=dtype).movedim(0, -1)  # not contiguous
    found = ReorderedLinear(layer)(inputs)
    torch.testing.assert_close(found, layer(inputs), **CLOSE[dtype])
    assert found.shape == (*shape, 40)


@pytest.mark.parametrize("dtype", DTYPES)
@torch.inference_mode()
def test_copies_are_reordered_too_and_a_cast_layer_is_an_ordinary_one(dtype):
    layer = ReorderedLinear(torch.nn.Linear(24, 40, dtype=dtype))
    inputs = torch.randn(3, 24, dtype=dtype)
    expected = layer(inputs)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is ReorderedLinear
        assert torch.equal(other(inputs), expected)
    assert type(layer.double()) is torch.nn.Linear
    assert {weight.dtype for weight in layer.parameters()} == {torch.float64}
    torch.testing.assert_close(layer(inputs.double()), expected.double(), **CLOSE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_and_models_that_are_not_reordered(monkeypatch, dtype):
    class Quantised(torch.Tensor):
        pass

    class Own(torch.nn.Linear):
        pass

    model = made("bert", dtype)
    layer = model.bert.encoder.layer[0]
    layer.attention.self.query.weight = torch.nn.Parameter(layer.attention.self.query.weight.as_subclass(Quantised))
    layer.attention.self.key.half()
    layer.attention.self.value = Own(32, 32, dtype=dtype)
    layer.attention.output.dense.forward = lambda inputs: inputs
    del layer.output.dense.weight
    reorder_weights(model)
    kinds = [type(getattr(layer.attention.self, name)) for name in ("query", "key", "value")]
    assert kinds == [torch.nn.Linear, torch.nn.Linear, Own]
    assert type(layer.attention.output.dense) is type(layer.output.dense) is torch.nn.Linear
    assert isinstance(layer.intermediate.dense, ReorderedLinear)
    assert not layer.intermediate.dense.training
    half, unknown, adapted, slow = (made("bert", each) for each in (torch.float16, dtype, dtype, dtype))
    unknown.config.model_type = "mamba"
    adapted.peft_config = {}
    for model in (half, unknown, adapted):
        reorder_weights(model)
    monkeypatch.setattr(kernels, "faster_dtypes", set)
    reorder_weights(slow)
    for model in (half, unknown, adapted, slow):
        assert not any(isinstance(layer, ReorderedLinear) for layer in model.modules())


@pytest.mark.parametrize(
    ("machine", "capability", "accelerator", "expected"),
    [
        ("x86_64", "avx512_bf16", False, {torch.float32, torch.bfloat16}),
        ("AMD64", "avx2", False, {torch.float32}),
        ("x86_64", "avx512_bf16", True, set()),
        ("arm64", "bf16", False, set()),
    ],
)
def test_the_types_that_a_machine_multiplies_faster_in_order(machine, capability, accelerator, expected, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert kernels.faster_dtypes() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_drops_the_share_and_keeps_the_mean(probability, dtype):
    torch.manual_seed(0)
    values = torch.ones(501, 399, dtype=dtype)
    dropped = drop(values, probability)
    assert dropped.dtype == dtype
    share = (dropped == 0).double().mean().item()
    deviation = (probability * (1 - probability) / values.numel()) ** 0.5
    assert abs(share - probability) < 5 * deviation
    scale = 1 / (1 - probability)
    assert torch.allclose(
        dropped[dropped != 0].float(), torch.tensor(scale), rtol=1e-2 if dtype != torch.float32 else 1e-4
    )
    # Neighbours share a random number, and are yet dropped independently of each other.
    pairs = (dropped.flatten()[:-1] == 0) & (dropped.flatten()[1:] == 0)
    assert abs(pairs.double().mean().item() - probability**2) < 5 * deviation


def test_gradient_of_dropout_flows_where_values_were_kept():
    torch.manual_seed(0)
    values = torch.randn(64, 64, requires_grad=True)
    dropped = drop(values, 0.25)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, (dropped != 0) / 0.75)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_dropout_of_all_or_nothing(probability):
    assert drop(torch.ones(9), probability).tolist() == [1 - probability] * 9


def test_the_same_seed_drops_the_same():
    values = torch.ones(7, 11)
    first, second = ((torch.manual_seed(3), drop(values, 0.5))[1] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(second, drop(values, 0.5))


def test_a_network_keeps_its_weights_and_its_answers():
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.1)))
    names = list(network.state_dict())
    values = torch.randn(2, 3)
    expected = network.eval()(values)
    use_fast_dropout(network)
    assert [type(network[1]), type(network[2][0])] == [FastDropout, FastDropout]
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(values), expected)
    assert (network.train()(torch.ones(400, 3)) == 0).any()
