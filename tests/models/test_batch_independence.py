"""A row's scores do not depend on the other rows of its batch: every method with weights, over tiny random models."""

import pytest
import torch
import transformers
from tokenizers import processors
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.scoring.tiny import GROUPED, OLD, PACKED, SIZES, WIDE, byte_tokenizer
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.models import (
    CausalLMClassifier,
    FineTunedClassifier,
    NLIClassifier,
    PretrainedClassifier,
    Seq2SeqClassifier,
)

pytestmark = pytest.mark.slow

NAMES = ("negative", "positive")
SEQUENCE = "AutoModelForSequenceClassification"
NLI_NAMES = ("entailment", "neutral", "contradiction")
TEXTS = [
    "film",
    "a joy to watch, and to hear",
    "지루한 영화",
    "a b",
    "",
    "so long that nobody saw its end, " * 2,
    "dull</s>",
]
ENCODER = {**WIDE, "intermediate_size": 48}
DOUBLE = {
    **SIZES,
    "d_model": 32,
    **{f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in (("layers", 2), ("ffn_dim", 48))},
    **{f"{half}_attention_heads": 4 for half in ("encoder", "decoder")},
    "max_position_embeddings": 128,
    "decoder_start_token_id": 1,
}
T5 = {**SIZES, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
FUNNEL = {"block_sizes": [1, 1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48, "vocab_size": 300}
ARCHITECTURES = {  # kind: its config
    "albert": {**ENCODER, "embedding_size": 16},
    "bart": DOUBLE,
    "bert": ENCODER,
    "big_bird": {**ENCODER, "block_size": 4, "num_random_blocks": 1},
    "bloom": {**SIZES, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "convbert": {**ENCODER, "embedding_size": 32},
    "ctrl": {**OLD, "dff": 48, "pad_token_id": 2},
    "deberta-v2": {**ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8},
    "distilbert": {**SIZES, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 128},
    "electra": {**ENCODER, "embedding_size": 16},
    "fnet": ENCODER,
    "funnel": FUNNEL,
    "gpt2": OLD,
    "gpt_neox": PACKED["gpt_neox"][1],
    "llama": GROUPED,
    "mobilebert": {**ENCODER, "embedding_size": 16, "true_hidden_size": 32, "intra_bottleneck_size": 32},
    "modernbert": {**ENCODER, "num_hidden_layers": 3, "cls_token_id": 0, "sep_token_id": 1},
    "modernbert-decoder": {**ENCODER, "num_hidden_layers": 3},
    "mpnet": ENCODER,
    "nystromformer": {**ENCODER, "num_landmarks": 64, "segment_means_seq_len": 64},
    "opt": PACKED["opt"][1],
    "qwen3": {**GROUPED, "head_dim": 8},
    "roberta": {**ENCODER, "type_vocab_size": 1, "max_position_embeddings": 140},
    "t5": T5,
    "xlm-roberta": {**ENCODER, "type_vocab_size": 1, "max_position_embeddings": 140},
    "xlnet": {**SIZES, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
    "yoso": {**ENCODER, "use_expectation": True},
}
ENCODER_DECODERS = {
    "bart": DOUBLE,
    "mbart": DOUBLE,
    "pegasus": DOUBLE,
    "t5": T5,
    "umt5": T5,
    "longt5": {**T5, "local_radius": 3},
}
PADDINGS = {  # what is called so: (pad_token_id of the config, pad token of the tokenizer)
    "both": (2, "<pad>"),
    "none": (None, None),
    "config": (1, None),
    "tokenizer": (None, "<pad>"),
    "different": (1, "<pad>"),
    "a token of texts": (70, None),
    "no token": (-1, "<pad>"),
}


def save(folder, auto, kind, config, names=NAMES, padding="both", tokenizer_options=None):
    """A random model of large weights, whose scores differ by nats, and a tokenizer of bytes."""
    pad_of_config, pad_of_tokenizer = PADDINGS[padding]
    settings = CONFIG_MAPPING[kind](**{**config, "id2label": dict(enumerate(names)), "use_cache": False})
    settings.pad_token_id = pad_of_config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = getattr(transformers, auto).from_config(settings)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    tokenizer = byte_tokenizer(eos=settings.is_encoder_decoder, **(tokenizer_options or {}))
    if names == NLI_NAMES:
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    tokenizer.pad_token = pad_of_tokenizer
    tokenizer.save_pretrained(folder)
    return str(folder)


def alone_and_together(model):
    """Log-scores of the texts, one in a batch, and all in one, `(texts, num_classes)` each."""
    model.configure_model()
    model.eval()
    rows = {"text": TEXTS, **model.encode({"text": TEXTS})}
    with torch.no_grad():
        together = model.log_scores(model.collate(rows))
        single = [{name: values[i : i + 1] for name, values in rows.items()} for i in range(len(TEXTS))]
        alone = torch.cat([model.log_scores(model.collate(row)) for row in single])
    return alone.double(), together.double()


def assert_close(one, other):
    assert (one[:, 0] - one[:, 1]).std() > 1e-3, "the texts are told apart"
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_classifiers(kind, tmp_path):
    folder = save(tmp_path, SEQUENCE, kind, ARCHITECTURES[kind])
    assert_close(*alone_and_together(PretrainedClassifier(2, NAMES, folder)))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", ["bert", "ctrl", "gpt2", "llama", "gpt_neox", "opt"])
def test_ready_made_scores_are_those_of_transformers_alone(kind, padding, tmp_path):
    folder = save(tmp_path, SEQUENCE, kind, ARCHITECTURES[kind], padding=padding)
    model = PretrainedClassifier(2, NAMES, folder)
    alone, together = alone_and_together(model)
    assert_close(alone, together)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for text, scores in zip(TEXTS, together, strict=True):
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False, split_special_tokens=True)
        with torch.no_grad():
            expected = network(**inputs).logits.log_softmax(-1)[0]
        torch.testing.assert_close(scores, expected.double(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_fine_tuned(kind, padding, tmp_path):
    folder = save(tmp_path, SEQUENCE, kind, ARCHITECTURES[kind], padding=padding)
    assert_close(*alone_and_together(FineTunedClassifier(2, NAMES, folder)))


@pytest.mark.parametrize("kind", ["bert", "convbert", "deberta-v2", "gpt2", "roberta", "xlnet", "bart"])
def test_nli(kind, tmp_path):
    folder = save(tmp_path, SEQUENCE, kind, ARCHITECTURES[kind], NLI_NAMES)
    assert_close(*alone_and_together(NLIClassifier(2, NAMES, folder)))


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_encoder_decoders(kind, tmp_path):
    folder = save(tmp_path, "AutoModelForSeq2SeqLM", kind, ENCODER_DECODERS[kind])
    assert_close(*alone_and_together(Seq2SeqClassifier(2, NAMES, folder, prompt="{text}")))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("padding", ["none", "config", "tokenizer"])
def test_causal(kind, padding, tmp_path):
    folder = save(tmp_path, "AutoModelForCausalLM", kind, ARCHITECTURES[kind], padding=padding)
    assert_close(*alone_and_together(CausalLMClassifier(2, NAMES, folder, prompt="Text: {text} is")))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["bert", "convbert", "fnet", "gpt2", "llama", "nystromformer", "opt", "xlnet"])
@pytest.mark.parametrize("padding", ["both", "none"])
def test_embeddings(kind, side, padding, tmp_path):
    options = {"padding_side": side}
    folder = save(tmp_path / "model", "AutoModel", kind, ARCHITECTURES[kind], NAMES, padding, options)
    embedder = Embedder(folder, None, EmbeddingSettings(dtype="float32", normalize=False), tmp_path)
    together = {place: found.vector for place, found in embedder.compute(TEXTS)}
    for place, text in enumerate(TEXTS):
        ((_, alone),) = embedder.compute([text])
        torch.testing.assert_close(
            torch.from_numpy(together[place]), torch.from_numpy(alone.vector), atol=1e-4, rtol=1e-4
        )


def test_texts_without_tokens(tmp_path):
    """Tokenizers such as GPT-2's add no special tokens: an empty text has no tokens at all."""
    options = {"bos": False}
    folder = save(tmp_path / "a", SEQUENCE, "gpt2", ARCHITECTURES["gpt2"], NAMES, "none", options)
    for method in (PretrainedClassifier, FineTunedClassifier):
        assert_close(*alone_and_together(method(2, NAMES, folder)))
    folder = save(tmp_path / "b", "AutoModel", "gpt2", ARCHITECTURES["gpt2"], NAMES, "none", options)
    embedder = Embedder(folder, None, EmbeddingSettings(dtype="float32"), tmp_path)
    alone, together = embedder.matrix([""]), embedder.matrix(["film", "", "a film"])
    assert (alone[0] == 0).all()
    assert (together[1] == 0).all()
    assert (together[0] != 0).any()
