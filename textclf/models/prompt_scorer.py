"""Scores of label words after prompts, and after the reference prompts that score rules compare them with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from textclf.backbones.compatibility import refuse_unembedded
from textclf.backbones.weights import own_precision
from textclf.console import say
from textclf.processes import share
from textclf.scoring import Counters, LabelScorer
from textclf.scoring.capabilities import StrategyChoice
from textclf.scoring.rules import Array, Likelihoods, class_scores, find_rule, fitted_shift
from textclf.scoring.tokens import Bos
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

Scores = dict[str, Array]
"""Matrices by their names in `Likelihoods`, shape (rows, words)."""

REFERENCES = {
    "empty": {"empty"},
    "domain": {"domain"},
    "content_free": {"content_free"},
    "fit": {"fit_sums", "fit_labels", "shift"},
}
"""Kinds of reference prompts, and the parts of `Likelihoods` that their scores give."""
ALL_PARTS = frozenset().union(*REFERENCES.values())
PROMPTS_PER_STEP = 128
"""Prompts that are scored between two steps of the progress bar."""


@dataclass(frozen=True)
class LabelWords:
    """The words whose likelihoods are compared.

    Attributes:
        words: Each word as it is scored, with its delimiter.
        classes: Class of each word, int64, shape (words,).
        prior: Share of each class as the user knows it, shape (classes,), or None.
    """

    words: list[str]
    classes: NDArray[np.int64]
    prior: Array | None = None

    @classmethod
    def of(cls, class_words: Sequence[Sequence[str]], delimiter: str, prior: Array | None) -> LabelWords:
        """Puts a delimiter before each word of each class."""
        words = []
        classes = []
        for c, own in enumerate(class_words):
            for word in own:
                words.append(delimiter + word)
                classes.append(c)
        return cls(words, np.array(classes), prior)


@dataclass(frozen=True)
class ReferencePrompts:
    """Prompts that a score rule compares the rows with, or is fitted to.

    Attributes:
        input_ids: Token ids of each prompt.
        labels: Class of each row that a rule is fitted to, int64, shape (rows,); None for prompts without a label.
    """

    input_ids: list[list[int]]
    labels: NDArray[np.int64] | None = None


class PromptScorer:
    """Scores label words after prompts with one network.

    Scores of reference prompts are computed when a rule first needs them, and kept until `forget_references`.

    Attributes:
        label_scorer: The scorer of the prompts of a split; its counters leave the reference prompts out.
        fit_scores: All scores of the rows that a rule is fitted to; empty until they are computed.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        label_words: LabelWords,
        reference_prompts: Callable[[str], ReferencePrompts | None],
        *,
        strategy: StrategyChoice = "auto",
        max_batch_tokens: int | None = None,
        bos: Bos = "tokenizer",
        unembedded: dict[int, str] | None = None,
    ) -> None:
        """Prepares the scorer of the label words.

        Args:
            network: A causal language model on its device.
            tokenizer: Its tokenizer.
            label_words: The words.
            reference_prompts: From a kind of `REFERENCES` to its prompts; None where there are none.
            strategy: As `LabelScorer` takes it.
            max_batch_tokens: As `LabelScorer` takes it.
            bos: BOS policy of the prompts.
            unembedded: Tokens without an embedding, by id: prompts that contain one are refused.

        Raises:
            UserError: The words or the network cannot be scored.
        """
        self.network = network
        self.tokenizer = tokenizer
        self.label_words = label_words
        self.reference_prompts = reference_prompts
        self.strategy: StrategyChoice = strategy
        self.max_batch_tokens = max_batch_tokens
        self.bos: Bos = bos
        self.unembedded = unembedded or {}
        self.label_scorer = self.new_scorer()
        self.fit_scores: Scores = {}
        self._references: dict[str, dict[str, Any]] = {}
        self._reference_work: list[Counters] = []

    def new_scorer(self, strategy: StrategyChoice | None = None) -> LabelScorer:
        """A scorer of the label words with counters and a kept prefix of its own; by default of the same strategy."""
        with own_precision(self.network):
            return LabelScorer(
                self.network,
                self.tokenizer,
                self.label_words.words,
                strategy=strategy or self.strategy,
                max_batch_tokens=self.max_batch_tokens,
                bos=self.bos,
            )

    def score(
        self, input_ids: Sequence[list[int]], *, misread: bool = False, scorer: LabelScorer | None = None
    ) -> Scores:
        """Scores every label word after every prompt, in float64.

        Args:
            input_ids: Token ids of each prompt.
            misread: Whether to compute the misread sums of `as_published` as well.
            scorer: Scorer to use instead of `self.label_scorer`, so that neither its work nor its kept prefix changes.
        """
        scorer = scorer or self.label_scorer
        refuse_unembedded(input_ids, self.unembedded)
        with own_precision(self.network):
            found = scorer.score_ids(input_ids)
            scores = {"sums": found.log_likelihoods.numpy(), "logits": found.logit_sums.numpy()}
            if misread:
                scores["published"] = scorer.misread_sums(input_ids).numpy()
        return scores

    def likelihoods(self, scores: Scores, parts: Collection[str] = ALL_PARTS) -> Likelihoods:
        """Makes the input of score rules.

        Args:
            scores: Scores of rows.
            parts: Parts of `Likelihoods` that are needed in addition; by default all that any rule needs.
        """
        matrices: dict[str, Any] = dict(scores)
        for kind, given in REFERENCES.items():
            if not given.isdisjoint(parts):
                matrices.update(self.reference(kind))
        return Likelihoods(
            words=self.label_words.words,
            classes=self.label_words.classes,
            tokens=np.array(list(map(len, self.label_scorer.label_ids))),
            prior=self.label_words.prior,
            **matrices,
        )

    # Reference prompts

    def forget_references(self) -> None:
        """Drops the scores of reference prompts, which depend on the prompt and its examples."""
        self._references.clear()

    def reference(self, kind: str) -> dict[str, Any]:
        """Scores of the reference prompts of a kind, by their names in `Likelihoods`; nothing where there are none."""
        if kind not in self._references:
            prompts = self.reference_prompts(kind)
            self._references[kind] = {} if prompts is None else self._score_references(kind, prompts)
        return self._references[kind]

    def _score_references(self, kind: str, prompts: ReferencePrompts) -> dict[str, Any]:
        scorer = self.new_scorer()
        self._reference_work.append(scorer.counters)
        if prompts.labels is None:
            sums = self.score(prompts.input_ids, scorer=scorer)["sums"]
            return {kind: sums if kind == "content_free" else sums[0]}
        say(f"{len(prompts.labels):,} labelled rows are scored beforehand, for the rule fitted_prior")
        self.fit_scores = self._score_with_progress(prompts.input_ids, scorer)
        sums = self.fit_scores["sums"]
        shift = fitted_shift(sums, self.label_words.classes, prompts.labels)
        return {"fit_sums": sums, "fit_labels": prompts.labels, "shift": shift}

    def _score_with_progress(self, input_ids: Sequence[list[int]], scorer: LabelScorer) -> Scores:
        from tqdm.auto import tqdm

        parts = []
        with tqdm(total=len(input_ids), unit="text", disable=None) as bar:
            for start in range(0, len(input_ids), PROMPTS_PER_STEP):
                parts.append(self.score(input_ids[start : start + PROMPTS_PER_STEP], scorer=scorer))
                bar.update(len(parts[-1]["sums"]))
        return concatenated(parts)

    # Work

    @property
    def parameters(self) -> int:
        """Number of the network's parameters."""
        return sum(weight.numel() for weight in self.network.parameters())

    def work(self, processes: int = 1) -> dict[str, int]:
        """Work of the scorers of all processes so far; all of them must call it.

        `tokens_beside` and `prompts_beside` were run as reference prompts; the other counts leave these out.
        """
        own = asdict(self.label_scorer.counters)
        own["tokens_beside"] = sum(work.tokens for work in self._reference_work)
        own["prompts_beside"] = sum(work.packed + work.cached + work.plain for work in self._reference_work)
        each = share(own, processes)
        return {name: sum(work[name] for work in each) for name in own}


def concatenated(parts: Sequence[Scores]) -> Scores:
    """The matrices of several batches as one each; at least one batch."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@torch.inference_mode()
def rounding_cost(
    own: PromptScorer, exact: PromptScorer, input_ids: Sequence[list[int]], rule: str
) -> dict[str, float]:
    """Compares scores with those of the plain strategy in fp32.

    Args:
        own: The scorer whose precision, quantisation and strategy are tested.
        exact: A scorer with the same weights in fp32. The prompts are scored by its plain strategy; what the rule needs
            in addition (premises, content-free texts, rows to fit to) by its own strategy, as it may be a thousand
            prompts.
        input_ids: Token ids of some prompts.
        rule: Name or path of the score rule.

    Returns:
        Number of prompts, largest difference of a label's log-likelihood in nats, and share of the prompts whose
        prediction changes under the rule.
    """
    needs = find_rule(rule).needs
    misread = "published" in needs
    own_scores = own.score(input_ids, misread=misread, scorer=own.new_scorer())
    exact_scores = exact.score(input_ids, misread=misread, scorer=exact.new_scorer("plain"))
    own_answers = class_scores(rule, own.likelihoods(own_scores, needs)).argmax(axis=1)
    exact_answers = class_scores(rule, exact.likelihoods(exact_scores, needs)).argmax(axis=1)
    return {
        "numerics/examples": len(input_ids),
        "numerics/largest_difference_nats": float(np.abs(own_scores["sums"] - exact_scores["sums"]).max()),
        "numerics/changed_predictions": float((own_answers != exact_answers).mean()),
    }
