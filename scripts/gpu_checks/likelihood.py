"""Parts of `check_gpu.py`: correctness and speed of label likelihoods, also if memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any

import torch
from benchmarks.frame import Counts
from benchmarks.likelihood import TOLERANCE, Model
from benchmarks.methods import PROMPT
from benchmarks.training import fast_dtype, matmul_rate, multiplied_weights, peak_memory, short_name

from gpu_checks import models
from gpu_checks.frame import Case, Row, Sizes, free_memory, timed
from textclf.models import CausalLMClassifier
from textclf.scoring import LabelScorer
from textclf.scoring.planning import default_budget
from textclf.scoring.tokens import label_token_ids, prompt_token_ids

UNBOUNDED = 10**6
"""A token budget large enough for all prompts."""
SGLANG = 1000
"""Items per second of SGLang's scoring on an H100 with Qwen3-0.6B and 300 tokens, at a P99 of 500 ms; from
https://github.com/sgl-project/sglang/pull/9748."""


def likelihood(sizes: Sizes) -> Iterator[Case]:
    """Scores of the packed and the cached strategy against the plain one; then texts per second."""
    folder = models.causal(sizes)
    yield from parity(folder, sizes)
    yield from speed(folder, sizes)


# Correctness


def parity(folder: str, sizes: Sizes) -> Iterator[Case]:
    """Each strategy in fp32 and bf16, on prompts of all lengths that share a beginning."""
    load = cache(partial(Model, folder))
    found: dict[str, torch.Tensor] = {}
    beginning = models.texts(1, (50, 50), seed=2)[0]
    rest = models.texts(sizes.compared_prompts, (1, sizes.prompt_words), seed=3)
    prompts = [f"{beginning} {text}" for text in rest]
    for dtype in (torch.float32, torch.bfloat16):
        for strategy in ("plain", "packed", "cached"):
            name = f"{strategy}, {short_name(dtype)}"
            yield f"scores, {name}", partial(compared, name, load, dtype, strategy, prompts, found)


def compared(
    name: str,
    load: Callable[[torch.dtype], Model],
    dtype: torch.dtype,
    strategy: Any,
    prompts: Sequence[str],
    found: dict[str, torch.Tensor],
) -> Row:
    """Scores prompts, and compares with what was `found` by the plain strategy, in this dtype and in fp32."""
    model, labels = load(dtype), models.labels()

    def scorer_of() -> LabelScorer:
        return LabelScorer(model.network, model.tokenizer, labels, strategy=strategy)

    def work() -> Counts:
        scorer = scorer_of()
        found[name] = scorer(prompts).log_likelihoods
        counters = scorer.counters
        return {"rows": len(prompts), "tokens": counters.tokens, "padding": round(counters.padding_share, 4)}

    scorer_of()(prompts[:2])  # kernels are loaded on first use
    row = timed(f"scores, {name}", work, 1, warm=True)
    plain, exact = found[f"plain, {short_name(dtype)}"], found["plain, fp32"]
    off = difference(found[name], plain)
    comparisons = [against("fp32 plain", found[name], exact)]
    if dtype != torch.float32:
        comparisons.append(against(f"{short_name(dtype)} plain", found[name], plain))
    return Row(row.name, "; ".join(comparisons), off <= TOLERANCE[dtype], row.seconds, {**row.counts, "off": off})


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of a score, in nats; NaN where a score is NaN."""
    return float((found - expected).abs().max())


def against(name: str, found: torch.Tensor, expected: torch.Tensor) -> str:
    """Compares scores, shape (prompts, labels), in words."""
    changed = int((found.argmax(1) != expected.argmax(1)).sum())
    return f"{difference(found, expected):.2g} nats off {name}, {changed} of {len(found)} classes differ"


# Speed


def speed(folder: str, sizes: Sizes) -> Iterator[Case]:
    """Texts per second in the fast dtype of the device; first a loop and batches of passes."""
    name = short_name(fast_dtype())
    load, rate = cache(partial(Model, folder, fast_dtype())), cache(matmul_rate)
    prompts = models.texts(sizes.prompts, (sizes.prompt_words, sizes.prompt_words))
    loops = {"a loop of passes": (Model.loop, sizes.looped_prompts)}
    loops["batches of passes"] = Model.full_passes, sizes.batched_prompts
    for way, (scores, number) in loops.items():
        case = f"{way}, {name}"
        yield case, partial(passes, case, scores, load, prompts[:number], rate, sizes)
    for strategy, number in {"cached": sizes.cached_prompts, "packed": sizes.prompts}.items():
        case = f"{strategy}, {name}"
        yield case, partial(scored, case, strategy, None, load, prompts[:number], rate, sizes)
    budget = 4 * default_budget(torch.device(sizes.device))
    case = f"packed, {name}, {budget:,} tokens a pass"
    yield case, partial(scored, case, "packed", budget, load, prompts, rate, sizes)
    yield "CausalLMClassifier.classify", partial(classified, folder, prompts, sizes)
    yield "SGLang on an H100", published


def passes(
    name: str,
    scores: Callable[[Model, Sequence[str], Sequence[str]], torch.Tensor],
    load: Callable[[], Model],
    prompts: Sequence[str],
    rate: Callable[[], float],
    sizes: Sizes,
) -> Row:
    """Times passes over each prompt with each label whole."""
    model, labels = load(), models.labels()
    rows, ends = prompt_token_ids(model.tokenizer, prompts), label_token_ids(model.tokenizer, labels)
    tokens = sum(len(row) + len(end) for row in rows for end in ends)

    def work() -> Counts:
        scores(model, labels, prompts)
        return {"rows": len(prompts), "tokens": tokens, "matmul seconds": operations(model, tokens, tokens) / rate()}

    rate()
    return timed(name, work, sizes.repeats)


def scored(
    name: str,
    strategy: Any,
    budget: int | None,
    load: Callable[[], Model],
    prompts: Sequence[str],
    rate: Callable[[], float],
    sizes: Sizes,
) -> Row:
    """Times a strategy of `LabelScorer`, with a token budget or the default one."""
    model, options = load(), {"strategy": strategy, "max_batch_tokens": budget}

    def work() -> Counts:
        scorer = LabelScorer(model.network, model.tokenizer, models.labels(), **options)
        scorer(prompts)
        counters = scorer.counters
        return {
            "rows": len(prompts),
            "tokens": counters.tokens,
            "padding": round(counters.padding_share, 4),
            "matmul seconds": operations(model, counters.tokens, counters.projection_rows) / rate(),
        }

    rate()
    return timed(name, work, sizes.repeats)


def operations(model: Model, tokens: int, projected: int) -> int:
    """Floating-point operations of the matrix products with weights.

    Args:
        model: The model.
        tokens: Tokens that are run.
        projected: Positions that are projected onto the vocabulary.
    """
    head: int = model.network.get_output_embeddings().weight.numel()  # type: ignore[no-untyped-call]  # transformers has no type here
    return 2 * (multiplied_weights(model.network) - head) * tokens + 2 * head * projected


def classified(folder: str, prompts: Sequence[str], sizes: Sizes) -> Row:
    """Times `classify` with its defaults, tokenisation included."""
    names = [label.strip() for label in models.labels()]
    options = {"dtype": str(fast_dtype()).removeprefix("torch.")}
    model = CausalLMClassifier(len(names), names, folder, prompt=PROMPT, load_options=options).to(sizes.device)

    def work() -> Counts:
        before = model.scorer.label_scorer.counters.tokens
        model.classify(prompts)
        counters = model.scorer.label_scorer.counters
        return {"rows": len(prompts), "tokens": counters.tokens - before, "padding": round(counters.padding_share, 4)}

    return timed("CausalLMClassifier.classify", work, sizes.repeats)


def published() -> Row:
    """A published rate, for comparison."""
    what = "published, not measured here: Qwen3-0.6B, 300 tokens, P99 500 ms (sgl-project/sglang#9748)"
    return Row("SGLang on an H100", what, counts={"rate": SGLANG})


# Lack of memory


def memory(sizes: Sizes) -> Iterator[Case]:
    """Prompts that do not fit into memory together."""
    folder = models.causal(sizes)
    yield "too little memory, packed", partial(halved, folder, sizes)


def halved(folder: str, sizes: Sizes) -> Row:
    """Scores with far too large a budget, and compares with the plain strategy."""
    model, labels = Model(folder, torch.float32), models.labels(4)
    prompts = models.texts(sizes.crowded_prompts, (sizes.prompt_words // 2, sizes.prompt_words), seed=4)
    expected = LabelScorer(model.network, model.tokenizer, labels, strategy="plain")(prompts).log_likelihoods
    scorer = LabelScorer(model.network, model.tokenizer, labels, strategy="packed", max_batch_tokens=UNBOUNDED)
    found: list[torch.Tensor] = []

    def work() -> Counts:
        found.append(scorer(prompts).log_likelihoods)
        return {"rows": len(prompts), "padding": round(scorer.counters.padding_share, 4)}

    crowd = _little_gpu_memory if sizes.device == "cuda" else _refused_batches
    with crowd(model, prompts, labels), memory_warnings() as lines:
        row = timed("too little memory, packed", work, 1, warm=True)
    times = scorer.counters.out_of_memory
    off = difference(found[-1], expected)
    result = f"budget halved {times} times to {scorer.budget:,} tokens, reported in {len(lines)} lines"
    result = f"{result}; {against('fp32 plain', found[-1], expected)}"
    passed = times > 0 and len(lines) == times and off <= TOLERANCE[torch.float32]
    counts = {**row.counts, "tokens": scorer.counters.tokens, "off": off}
    return Row(row.name, result, passed, row.seconds, counts)


@contextmanager
def memory_warnings() -> Iterator[list[str]]:
    """Collects the warnings of the scorer about memory."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "out of memory" in record.getMessage():
                lines.append(record.getMessage())

    logger, handler = logging.getLogger("textclf.scoring"), Collector()
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


@contextmanager
def _little_gpu_memory(model: Model, prompts: Sequence[str], labels: Sequence[str]) -> Iterator[None]:
    """Limits the memory of this process to a third of what all prompts together need."""
    free_memory()
    before = torch.cuda.memory_allocated()
    with peak_memory() as peak:
        LabelScorer(model.network, model.tokenizer, labels, strategy="packed", max_batch_tokens=UNBOUNDED)(prompts)
    free_memory()
    allowed = torch.cuda.memory_reserved() + (peak[0] - before) / 3
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _refused_batches(model: Model, prompts: Sequence[str], labels: Sequence[str]) -> AbstractContextManager[Any]:
    """Makes passes with more than a third of the prompts fail, like a GPU without memory."""

    def refuse(module: torch.nn.Module, arguments: Any, options: dict[str, Any]) -> None:
        if len(options["input_ids"]) > len(prompts) // 3:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")

    handle: AbstractContextManager[Any] = model.network.register_forward_pre_hook(refuse, with_kwargs=True)
    return handle
