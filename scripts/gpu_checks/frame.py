"""Shared by the parts of `check_gpu.py`: rows of its table, sizes by device, and timing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from benchmarks.frame import Counts, Work, measure, summarize
from benchmarks.training import peak_memory


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: What was run.
        result: The result in words.
        passed: Whether the result is correct.
        seconds: Median of the rounds; None where nothing was timed.
        counts: Amounts by name. `off` is the largest difference to the reference that `result` names; `rate`, rows per
            second where nothing was timed.
    """

    name: str
    result: str = ""
    passed: bool = True
    seconds: float | None = None
    counts: Counts = field(default_factory=dict)


Case = tuple[str, Callable[[], Row]]
"""A name, and the work that returns its row."""
Part = Callable[["Sizes"], Iterator[Case]]
"""Sets up, and yields cases; each is run before the next one is asked for."""


@dataclass(frozen=True)
class Sizes:
    """Shapes of models and numbers of texts.

    Attributes:
        device: The device of the models.
        causal: Arguments of a `Qwen3Config`.
        encoders: Arguments of a `BertConfig` by name; the first is used for embeddings, the last for NLI.
        encoder_decoder: Arguments of a `T5Config`.
        precisions: Precisions in which encoders are trained.
        prompt_words: Words of a prompt, where speed is measured.
        prompts: Number of prompts there, for the packed strategy.
        cached_prompts: Number of these for the cached strategy.
        batched_prompts: Number of these for batches of passes.
        looped_prompts: Number of these for a loop of passes.
        compared_prompts: Prompts of all lengths whose scores are compared.
        crowded_prompts: Prompts that do not fit into memory together.
        train_texts: Texts of an epoch.
        resumed_texts: Texts of an epoch where training is resumed.
        texts: Texts for embeddings, NLI and sequence-to-sequence models.
        few_texts: Number of these for the slow baselines.
        words: Fewest and most words of a text.
        repeats: Rounds that are timed.
    """

    device: Literal["cpu", "cuda"]
    causal: dict[str, Any]
    encoders: dict[str, dict[str, Any]]
    encoder_decoder: dict[str, Any]
    precisions: tuple[str, ...]
    prompt_words: int
    prompts: int
    cached_prompts: int
    batched_prompts: int
    looped_prompts: int
    compared_prompts: int
    crowded_prompts: int
    train_texts: int
    resumed_texts: int
    texts: int
    few_texts: int
    words: tuple[int, int]
    repeats: int


CUDA = Sizes(
    device="cuda",
    causal={
        "vocab_size": 151_936,
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "tie_word_embeddings": True,
    },
    encoders={
        "MiniLM": {
            "hidden_size": 384,
            "num_hidden_layers": 6,
            "num_attention_heads": 12,
            "intermediate_size": 1536,
        },
        "BERT-base": {},
    },
    encoder_decoder={
        "vocab_size": 32_128,
        "d_model": 768,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 12,
        "num_heads": 12,
    },
    precisions=("bf16-mixed", "16-mixed"),
    prompt_words=300,
    prompts=2048,
    cached_prompts=256,
    batched_prompts=64,
    looped_prompts=8,
    compared_prompts=16,
    crowded_prompts=48,
    train_texts=3072,
    resumed_texts=512,
    texts=4096,
    few_texts=8,
    words=(8, 126),
    repeats=2,
)
"""Qwen3-0.6B, all-MiniLM-L6, BERT-base and FLAN-T5-base."""

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
CPU = Sizes(
    device="cpu",
    causal={**TINY, "vocab_size": 2500, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True},
    encoders={"tiny MiniLM": {**TINY, "vocab_size": 2500}, "tiny BERT": {**TINY, "vocab_size": 2500}},
    encoder_decoder={"vocab_size": 2500, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    precisions=("32-true",),
    prompt_words=40,
    prompts=12,
    cached_prompts=6,
    batched_prompts=4,
    looped_prompts=2,
    compared_prompts=4,
    crowded_prompts=12,
    train_texts=64,
    resumed_texts=128,
    texts=64,
    few_texts=4,
    words=(4, 30),
    repeats=1,
)
"""Small enough to try every part in less than a minute."""


def timed(name: str, work: Work, repeats: int, result: str = "", warm: bool = False) -> Row:
    """Runs work to its end, and measures the time and the memory that it takes.

    Args:
        name: Name of the row.
        work: The work; one round before the others is not timed.
        repeats: Number of timed rounds.
        result: The result in words.
        warm: Whether to omit the round that is not timed.
    """

    def to_the_end() -> Counts:
        with peak_memory() as peak:
            counts = work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
        return {"peak MiB": peak[0] // 2**20, **counts}

    free_memory()
    gc.freeze()  # collections within the rounds then skip the objects of imported modules, which would take long
    try:
        (summary,) = summarize(measure({name: to_the_end}, repeats, warm))
    finally:
        gc.unfreeze()
    return Row(name, result, seconds=summary["median"], counts=summary["counts"])


def free_memory() -> None:
    """Frees memory that is no longer referenced."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
