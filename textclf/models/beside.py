"""What score rules need beside the rows: scores of the words after premises, content-free texts, and rows to fit to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from textclf.console import say
from textclf.scoring import Counters, LabelScorer
from textclf.scoring.rules import fitted_shift
from textclf.scoring.tokens import prompt_token_ids
from textclf.types import PreTrainedModel

if TYPE_CHECKING:
    from textclf.models.causal_lm import CausalLMClassifier, Scores

TOGETHER = 128
"""Rows that are scored between two steps of the progress bar."""


def score_beside(
    model: CausalLMClassifier, part: str, network: PreTrainedModel
) -> tuple[dict[str, Any], Scores, Counters]:
    """Scores what a rule needs.

    Args:
        model: Whose prompt, words and strategy are used.
        part: `empty`, `domain`, `content_free`, or `fit`.
        network: Whose likelihoods they are.

    Returns:
        Parts of `Likelihoods` by name, none where there is nothing to score; all scores of the rows to fit to; and the
        work done.
    """
    # An empty premise is a BOS alone, whatever stands before prompts.
    scorer = model.new_scorer(network, model.strategy, "tokenizer" if part == "empty" else model.bos)
    found: dict[str, Any] = {}
    scores: Scores = {}
    if part == "empty":
        start = model.tokenizer.bos_token or model.tokenizer.eos_token
        if start is not None:
            found["empty"] = model.score([str(start)], scorer)["sums"][0]
    elif part == "domain":
        if _have_tokens(model, [model.premise]):
            found["domain"] = model.score([model.premise], scorer)["sums"][0]
    elif part == "content_free":
        rows = [{"text": text, "text_pair": text} for text in model.content_free]
        templates, _ = model.templates_for(rows)
        prompts = [template.fill(row) for template, row in zip(templates, rows, strict=True)]
        if _have_tokens(model, prompts):
            found["content_free"] = model.score(prompts, scorer)["sums"]
    elif model.fit_rows is not None:
        fit_rows = model.fit_rows[0]
        say(f"{len(fit_rows):,} labelled rows are scored beforehand, for the rule fitted_prior")
        scores = _under_a_bar(model, model.prompts(fit_rows), scorer)
        labels = np.array(fit_rows[:]["label"])
        shift = fitted_shift(scores["sums"], model.classes, labels)
        found = {"fit_sums": scores["sums"], "fit_labels": labels, "shift": shift}
    return found, scores, scorer.counters


def _have_tokens(model: CausalLMClassifier, prompts: Sequence[str]) -> bool:
    """Whether each prompt has a token: one that is empty has none with a tokenizer that puts no BOS before it."""
    return all(prompt_token_ids(model.tokenizer, prompts, model.bos))


def _under_a_bar(model: CausalLMClassifier, prompts: Sequence[str], scorer: LabelScorer) -> Scores:
    """Scores prompts some at a time."""
    from tqdm.auto import tqdm

    parts = []
    with tqdm(total=len(prompts), unit="text", disable=None) as bar:
        for start in range(0, len(prompts), TOGETHER):
            parts.append(model.score(prompts[start : start + TOGETHER], scorer))
            bar.update(len(parts[-1]["sums"]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
