"""Every method over a tiny random model, and a few over real ones, ready to score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from textclf.conformance.subject import Subject
from textclf.models import (
    CausalLMClassifier,
    EmbeddingZeroShot,
    FineTunedClassifier,
    LinearProbe,
    NearestCentroid,
    NLIClassifier,
    PretrainedClassifier,
    Seq2SeqClassifier,
    TextClassifier,
    TfidfClassifier,
)

NAMES = ("negative", "positive")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SIZES: dict[str, Any] = {"use_cache": False, "vocab_size": 300, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
WIDE = {**SIZES, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
DECODER = {**WIDE, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
CONFIGS = {
    "bert": {**WIDE, "intermediate_size": 48},
    "llama": DECODER,
    "qwen3": DECODER,
    "gemma": DECODER,
    "gpt2": {**SIZES, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt_neox": {**WIDE, "intermediate_size": 48},
    "t5": {**SIZES, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
}
SEQUENCE = "AutoModelForSequenceClassification"
CAUSAL = "AutoModelForCausalLM"
EMBEDDING = (LinearProbe, NearestCentroid, EmbeddingZeroShot)
PROMPT = {"prompt": "{text} is"}
TINY = "tiny random"


@dataclass(frozen=True)
class Case:
    """A method, and how it is made.

    Attributes:
        name: Its name in the table.
        method: Its class.
        arguments: Arguments of the constructor, apart from `pretrained`.
        tiny: Class of transformers and architecture of a tiny random model; None where there is none.
        pretrained: A real model instead.
        precision: `fp32` or `bf16`.
    """

    name: str
    method: type[TextClassifier]
    arguments: dict[str, Any]
    tiny: tuple[str, str] | None = None
    pretrained: str | None = None
    precision: str = "fp32"

    @property
    def model(self) -> str:
        """The name of its model, without its folder."""
        if self.tiny is not None:
            return f"{TINY} {self.tiny[1]}"
        if self.pretrained is None:
            return "none"
        package = self.pretrained.removeprefix("package://")
        return package.partition("/")[0] if package != self.pretrained else Path(self.pretrained).name

    def ready(self, folder: Path) -> TextClassifier:
        """Makes it, trains it for two steps on invented rows where it trains, and loads its weights.

        Args:
            folder: For what is written.
        """
        arguments: dict[str, Any] = dict(self.arguments)
        pretrained = self.pretrained if self.tiny is None else saved(*self.tiny, self.method is NLIClassifier)
        if pretrained is not None:
            arguments["pretrained"] = pretrained
        if self.precision == "bf16" and self.method is CausalLMClassifier:
            arguments["load_options"] = {"dtype": torch.bfloat16}
        if self.method in EMBEDDING:
            arguments["embedding"] = {"dtype": {"fp32": "float32", "bf16": "bfloat16"}[self.precision]}
        subject = Subject(lambda names: self.method(len(names), names, **arguments), NAMES, folder)
        if self.method in (LinearProbe, FineTunedClassifier):
            return subject.run().model.eval()
        model = subject.ready(subject.new())
        network = getattr(model, "network", None)
        if self.precision == "bf16" and isinstance(network, torch.nn.Module):
            network.to(torch.bfloat16)
        return model


def tiny_cases() -> Iterator[Case]:
    """Every method over tiny random models, in fp32."""
    yield Case("tfidf", TfidfClassifier, {})
    yield Case("fine_tune", FineTunedClassifier, {}, (SEQUENCE, "bert"))
    yield Case("fine_tune, LoRA", FineTunedClassifier, {"lora": {"rank": 4}}, (SEQUENCE, "bert"))
    for method in EMBEDDING:
        yield Case(method.__name__, method, {}, ("AutoModel", "bert"))
    yield Case("pretrained", PretrainedClassifier, {}, (SEQUENCE, "bert"))
    yield Case("nli", NLIClassifier, {}, (SEQUENCE, "bert"))
    yield Case("seq2seq", Seq2SeqClassifier, PROMPT, ("AutoModelForSeq2SeqLM", "t5"))
    yield Case("seq2seq, generate", Seq2SeqClassifier, {**PROMPT, "mode": "generate"}, ("AutoModelForSeq2SeqLM", "t5"))
    for kind in ("llama", "qwen3", "gemma", "gpt2", "gpt_neox"):
        yield Case("causal_lm", CausalLMClassifier, PROMPT, (CAUSAL, kind))
    for strategy in ("packed", "cached", "plain"):
        yield Case(f"causal_lm, {strategy}", CausalLMClassifier, {**PROMPT, "strategy": strategy}, (CAUSAL, "llama"))


def real_cases(causal: str | None, encoder: str | None) -> Iterator[Case]:
    """Methods over real models, in fp32 and in bf16.

    Args:
        causal: A causal language model; None for none.
        encoder: An encoder of sentence-transformers; None for none.
    """
    for precision in ("fp32", "bf16"):
        if encoder is not None:
            for method in (LinearProbe, EmbeddingZeroShot):
                yield Case(method.__name__, method, {}, pretrained=encoder, precision=precision)
        if causal is not None:
            yield Case("causal_lm", CausalLMClassifier, PROMPT, pretrained=causal, precision=precision)


def saved(auto: str, kind: str, entailment: bool) -> str:
    """Saves a random model whose scores differ by nats, and a tokenizer of words and bytes; returns the folder."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    folder = mkdtemp(prefix="measure-invariance-")
    labels = ("entailment", "neutral", "contradiction") if entailment else NAMES
    config: Any = CONFIG_MAPPING[kind](**CONFIGS[kind], id2label=dict(enumerate(labels)))
    torch.manual_seed(0)
    network = getattr(transformers, auto).from_config(config)
    for weights in network.parameters():
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.3)
    network.save_pretrained(folder)
    byte_tokenizer(kind).save_pretrained(folder)
    return folder


def byte_tokenizer(kind: str) -> Any:
    """A token per byte, with the special tokens that the architecture expects around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    marks = [(mark, SPECIAL.index(mark)) for mark in ("[CLS]", "[SEP]")]
    single, pair = {
        "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
        "t5": ("$A [SEP]", "$A [SEP] $B [SEP]"),
    }.get(kind, ("[CLS] $A", "[CLS] $A $B"))
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=marks)
    names: Any = {"bos_token": "[CLS]", "eos_token": "[SEP]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has no type here
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", **names
    )
