import copy
import pickle

import pytest
import torch
import transformers
from transformers import AutoConfig

from tests.scoring.tiny import EVERY, tiny_model
from textclf.backbones.weights import load_causal, load_frozen
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.hardware import linear
from textclf.hardware.linear import ReorderedLinear, reorder_weights

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
CAUSAL = [name for name, (kind, _) in EVERY.items() if kind in linear.MODELS]


DTYPES = sorted(linear.faster_dtypes(), key=str)
CLOSE = {torch.float32: {"atol": 1e-5, "rtol": 1e-5}, torch.bfloat16: {"atol": 0.02, "rtol": 0.02}}


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
def test_a_model_gives_the_same(name, dtype):
    model = made(name, dtype)
    ids = torch.randint(3, 250, (3, 9), generator=torch.Generator().manual_seed(0))
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **more}
    expected, size, head = model(**inputs)[0], model.num_parameters(), model.get_output_embeddings()
    reorder_weights(model)
    model.to("cpu", dtype).train(False)
    torch.testing.assert_close(model(**inputs)[0], expected, **CLOSE[dtype])
    assert any(isinstance(layer, ReorderedLinear) for layer in model.modules())
    assert not isinstance(head, ReorderedLinear) and model.get_output_embeddings() is head
    assert (model.num_parameters(), model.dtype) == (size, dtype)


def test_every_kind_is_tried():
    assert {*OTHERS, *(EVERY[name][0] for name in CAUSAL)} == linear.MODELS


@pytest.mark.parametrize("dtype", DTYPES)
def test_frozen_models_are_loaded_so(dtype, tmp_path, tiny_encoder):
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
def test_a_layer_gives_the_same(shape, bias, dtype):
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
def test_what_is_left_alone(monkeypatch, dtype):
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
    assert isinstance(layer.intermediate.dense, ReorderedLinear) and not layer.intermediate.dense.training
    half, unknown, adapted, slow = (made("bert", each) for each in (torch.float16, dtype, dtype, dtype))
    unknown.config.model_type = "mamba"
    adapted._hf_peft_config_loaded = True
    for model in (half, unknown, adapted):
        reorder_weights(model)
    monkeypatch.setattr(linear, "faster_dtypes", set)
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
def test_where_it_is_faster(machine, capability, accelerator, expected, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert linear.faster_dtypes() == expected
