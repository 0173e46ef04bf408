"""Label likelihood with a small causal LM: the cost of each way to compute it, and its growth."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.frame import Counts, Work
from benchmarks.training import fast_dtype, matmul_rate, multiplied_weights, peak_memory, short_name
from textclf.backbones.weights import load_causal, load_tokenizer, source
from textclf.console import say
from textclf.scoring import LabelScorer
from textclf.scoring.tokens import label_token_ids, prompt_token_ids

Scores = Callable[[Sequence[str]], torch.Tensor]
"""From prompts to log-likelihoods of the labels, (prompts, labels)."""

PROMPT = (
    "Classify the following news article into one of four categories: World, Sports, Business, or Sci/Tech. "
    "The classification should be based solely on the content of the article.\nArticle:\n"
)
TOPICS = [" World", " Sports", " Business", " Sci/Tech"]  # with a space: the harness tokenises prompt and label as one
ACTIONS = "activate cancel replace report check change unlock dispute track verify close request cash_in renew explain"
THINGS = (
    "a lost card, a pending transfer, my account balance, the exchange rate, a direct debit, a refund that is late, "
    "my online password, the monthly fee, a cash withdrawal, my personal details"
)
LABELS, LENGTHS, TEXTS = (2, 10, 40, 77, 150), (32, 128, 512, 1024), (50, 200, 800)
SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes from which the fastest is chosen for lm-evaluation-harness."""
FEW = 10
"""Number of texts on which the growth with labels and lengths is measured."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1.0}
"""Nats by which two ways may differ: in bf16, rounding alone makes tenths of a nat."""


def contenders(options: argparse.Namespace, texts: Sequence[str]) -> dict[str, Work]:
    """Sets up all strategies for four topics; the first is a loop of one fp32 pass per prompt and label."""
    prompts = [PROMPT + text.strip() for text in texts]  # the harness would move spaces to the label
    exact, notebook = Model(options.pretrained, torch.float32), Model(options.pretrained, torch.float32, tuned=False)
    quick, plain, name = exact, notebook, short_name(fast_dtype())
    if fast_dtype() is not torch.float32:
        quick, plain = (Model(options.pretrained, fast_dtype(), tuned) for tuned in (True, False))
    ways: dict[str, tuple[Model, Scores]] = {
        "a pass per label, fp32": (notebook, partial(notebook.loop, TOPICS)),
        f"batches of passes, {name}": (plain, partial(plain.full_passes, TOPICS)),
        f"cached, {name}": (quick, quick.scorer(TOPICS, "cached")),
        "packed, fp32": (exact, exact.scorer(TOPICS, "packed")),
        f"packed, unmodified model, {name}": (plain, plain.scorer(TOPICS, "packed")),
    }
    if quick is not exact:
        fused = Model(options.pretrained, quick.dtype)
        fused.network.set_attn_implementation("sdpa")
        ways[f"packed, fused attention, {name}"] = fused, fused.scorer(TOPICS, "packed")
        ways[f"packed, {name}"] = quick, quick.scorer(TOPICS, "packed")
    if size := plain.best_size(prompts):
        ways[f"lm-evaluation-harness, {name}"] = plain, plain.harness(TOPICS, size)
    check(ways, prompts[:: max(1, len(prompts) // 4)])
    rate = matmul_rate()
    return {name: counted(model, TOPICS, scores, prompts, rate) for name, (model, scores) in ways.items()}


def growth(options: argparse.Namespace, texts: Sequence[str]) -> dict[str, Work]:
    """Sets up strategies in the fast dtype for growing numbers of labels, lengths of prompts and numbers of texts."""
    some = texts[:: max(1, len(texts) // FEW)][:FEW]
    model, rate = Model(options.pretrained, fast_dtype()), matmul_rate()
    plain = Model(options.pretrained, model.dtype, tuned=False)
    size = plain.best_size([PROMPT + text.strip() for text in some])
    cases = {f"{count} labels": (intents(count), [PROMPT + text.strip() for text in some]) for count in LABELS}
    cases |= {f"{length} tokens": (TOPICS, model.cut(some, length)) for length in LENGTHS}
    found = {}
    for case, (labels, prompts) in cases.items():
        ways = {"packed": model.scorer(labels, "packed"), "cached": model.scorer(labels, "cached")}
        if size:
            ways["lm-evaluation-harness"] = plain.harness(labels, size)
        check({name: (model, scores) for name, scores in ways.items()}, prompts[:1])
        for name, scores in ways.items():
            found[f"{name}, {case}"] = counted(model, labels, scores, prompts, rate)
    for count in TEXTS:
        prompts = [PROMPT + texts[i % len(texts)].strip() for i in range(count)]
        found[f"packed, {count} texts"] = counted(model, TOPICS, model.scorer(TOPICS, "packed"), prompts, rate)
    return found


def intents(count: int) -> list[str]:
    """Invented intents of a bank's customers, such as ` replace a lost card`."""
    things = THINGS.split(", ")
    every = [f" {action.replace('_', ' ')} {thing}" for thing in things for action in ACTIONS.split()]
    return [every[i * len(every) // count] for i in range(count)]


class Model:
    """A causal LM in one dtype, and its ways of scoring."""

    def __init__(self, pretrained: str, dtype: torch.dtype, tuned: bool = True) -> None:
        """Loads it as `CausalLMClassifier` does, or, if not `tuned`, as transformers does."""
        self.tokenizer = load_tokenizer(pretrained, {})
        self.dtype = dtype
        if tuned:
            self.network = load_causal(pretrained, {}, dtype)
        else:
            from transformers import AutoModelForCausalLM

            place, file = source(pretrained)
            self.network = AutoModelForCausalLM.from_pretrained(place, **file, dtype=dtype)
        if torch.cuda.is_available():
            self.network.to("cuda")  # type: ignore[arg-type]  # theirs is wrapped

    def scorer(self, labels: Sequence[str], strategy: Any) -> Scores:
        """The scorer of textclf, without a cache from the previous round."""

        def scores(prompts: Sequence[str]) -> torch.Tensor:
            return LabelScorer(self.network, self.tokenizer, labels, strategy=strategy)(prompts).log_likelihoods

        return scores

    @torch.inference_mode()
    def loop(self, labels: Sequence[str], prompts: Sequence[str]) -> torch.Tensor:
        """The loop of a notebook (R13): one pass over the whole prompt with one label, one after the other."""
        found = torch.empty(len(prompts), len(labels), dtype=torch.float64)
        for i, prompt in enumerate(prompts):
            head = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
            for j, label in enumerate(labels):
                tail = self.tokenizer(label, return_tensors="pt", add_special_tokens=False)["input_ids"]
                logits = self.network(torch.cat([head, tail], 1).to(self.network.device)).logits[0].float()
                read = logits[head.shape[1] - 1 : -1].log_softmax(-1)
                found[i, j] = read.gather(1, tail.T.to(read.device)).sum()
        return found

    @torch.inference_mode()
    def full_passes(self, labels: Sequence[str], prompts: Sequence[str], size: int = 16) -> torch.Tensor:
        """Each prompt with each label whole, sorted by length, 16 in a batch, all logits projected."""
        rows = [
            (p, t) for p in prompt_token_ids(self.tokenizer, prompts) for t in label_token_ids(self.tokenizer, labels)
        ]
        order = sorted(range(len(rows)), key=lambda i: -sum(map(len, rows[i])))
        found = torch.empty(len(rows), dtype=torch.float64)
        for start in range(0, len(rows), size):
            places = order[start : start + size]
            whole = [torch.tensor([*rows[i][0], *rows[i][1]]) for i in places]
            ids = torch.nn.utils.rnn.pad_sequence(whole, batch_first=True).to(self.network.device)
            mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in whole])[:, None]
            logits = self.network(input_ids=ids, attention_mask=mask.to(ids.device), use_cache=False).logits
            for i, row in zip(places, logits, strict=True):
                prompt, label = rows[i]
                read = row[len(prompt) - 1 : len(prompt) + len(label) - 1].float().log_softmax(-1)
                found[i] = read.gather(1, torch.tensor(label, device=read.device)[:, None]).double().sum()
        return found.view(len(prompts), len(labels))

    def harness(self, labels: Sequence[str], size: int) -> Scores:
        """lm-evaluation-harness, `size` requests in a batch."""
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        # It warns of each model that it is given loaded.
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        device = str(self.network.device)
        theirs = HFLM(self.network, tokenizer=self.tokenizer, batch_size=size, device=device)

        def scores(prompts: Sequence[str]) -> torch.Tensor:
            pairs = [(prompt, label) for prompt in prompts for label in labels]
            requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
            found = [value for value, _ in theirs.loglikelihood(requests, disable_tqdm=True)]
            return torch.tensor(found, dtype=torch.float64).view(len(prompts), len(labels))

        return scores

    def best_size(self, prompts: Sequence[str]) -> int | None:
        """The batch size at which the harness is fastest on a few prompts; None where it is not installed."""
        if find_spec("lm_eval") is None:
            say("lm-evaluation-harness is not installed (pip install -e '.[bench]'): it is left out")
            return None

        def seconds(size: int) -> float:
            scores, few = self.harness(TOPICS, size), prompts[: -(-max(SIZES) // len(TOPICS))]
            scores(few[:1])
            started = time.perf_counter()
            scores(few)
            return time.perf_counter() - started

        return min(SIZES, key=seconds)

    def cut(self, texts: Sequence[str], length: int) -> list[str]:
        """As many prompts of about `length` tokens each, cut one after the other out of the joined texts."""
        ids: list[int] = self.tokenizer(" ".join(texts) * (1 + length // 16), add_special_tokens=False)["input_ids"]
        starts = [i * length % (len(ids) - length) for i in range(len(texts))]
        return [str(self.tokenizer.decode(ids[start : start + length])).strip() for start in starts]


def check(ways: dict[str, tuple[Model, Scores]], prompts: Sequence[str]) -> None:
    """Checks that all ways give the scores of the first.

    Raises:
        RuntimeError: One differs by more than rounding.
    """
    expected = None
    for name, (model, scores) in ways.items():
        found = scores(prompts)
        expected = found if expected is None else expected
        if not (difference := (found - expected).abs().max().item()) <= TOLERANCE[model.dtype]:  # NaN is caught, too
            raise RuntimeError(f"{name!r} gives other likelihoods than the first way: off by {difference:.2g} nats")


def counted(model: Model, labels: Sequence[str], scores: Scores, prompts: Sequence[str], rate: float) -> Work:
    """Adds counts: rows, tokens that must be processed, the time of their matrix products, and memory."""
    needed = LabelScorer(model.network, model.tokenizer, labels)
    rows = prompt_token_ids(model.tokenizer, prompts)
    prefix = needed.prefixes.prefix_of(rows)[0]
    tokens = prefix + sum(len(row) - prefix + needed.trie.nodes for row in rows)
    head = model.network.get_output_embeddings()  # type: ignore[no-untyped-call]  # transformers has no type here
    size = head.weight.numel()
    work = 2 * (multiplied_weights(model.network) - size) * tokens + 2 * size * len(rows) * (1 + needed.trie.nodes)

    def measured() -> Counts:
        with peak_memory() as peak:
            scores(prompts)
        counts = {"rows": len(prompts), "labels": len(labels), "prompt tokens": sum(map(len, rows)) / len(rows)}
        return {**counts, "needed tokens": tokens, "peak MiB": peak[0] // 2**20, "matmul seconds": work / rate}

    return measured
