"""Zero- and few-shot classification by how likely a causal language model finds each label after a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import Tensor

from textclf.backbones.compatibility import check_embeddings
from textclf.backbones.tokenizer_files import tokenizer_files
from textclf.backbones.weights import CAUSAL_REMEDY, dtype_of, load_causal, load_config, load_tokenizer
from textclf.console import say
from textclf.data.contract import ExampleRequest
from textclf.errors import UserError, check_least
from textclf.findings.lengths import Tokenization
from textclf.models.base import TextClassifier, lowest_precision
from textclf.models.few_shot import FewShotPrompts
from textclf.models.hooks import required_hook
from textclf.models.label_arguments import class_shares, words_of
from textclf.models.prompt_scorer import LabelWords, PromptScorer, ReferencePrompts, Scores, concatenated, rounding_cost
from textclf.models.prompts import (
    TEXTS,
    FittedPrompt,
    PromptTemplate,
    Row,
    fill_all,
    fit_texts,
    ids_of,
    marked_rows,
    prompt_length,
)
from textclf.models.tokenizations import tokenization_with
from textclf.models.truncation import cut_counters
from textclf.processes import attached_trainer, share
from textclf.scoring import audit_labels, context_length
from textclf.scoring.capabilities import StrategyChoice
from textclf.scoring.rules import Array, class_scores, find_rule
from textclf.scoring.tokens import Bos, label_token_ids, prompt_token_ids
from textclf.types import Dataset, PreTrainedModel, PreTrainedTokenizerBase

PROMPT = "Classify the text into one of these categories: {labels}.\n\nText: {text}\nCategory:"
CONTENT_FREE = ("N/A", "", "[MASK]")
LOSSY_OPTIONS = ("dtype", "quantization_config")
"""Those of `load_options` that are left out where the same weights are loaded in fp32."""


class CausalLMClassifier(FewShotPrompts, TextClassifier):
    """Compares how likely a causal language model finds each label word after a prompt; nothing is trained.

    A score rule turns the words' likelihoods into class probabilities. A test writes the likelihoods to
    `report/scores.parquet`, so that `scripts/rescore.py` can apply every other rule. Sources: Brown et al., 2020,
    https://arxiv.org/abs/2005.14165; for the rules see `textclf.scoring.rules`.

    A subclass that overrides `examples_for` chooses the examples of each text; see `textclf.models.few_shot`.
    """

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
        max_length: int | None = None,
        prompt: str = PROMPT,
        label_words: dict[str, str | list[str]] | None = None,
        delimiter: str | None = None,
        shots: int = 0,
        shot_seed: int = 42,
        chat_template: bool = False,
        bos: Bos = "tokenizer",
        rule: str = "sum",
        strategy: StrategyChoice = "auto",
        max_batch_tokens: int | None = None,
        numerics: int = 0,
        prior: dict[str, float] | None = None,
        domain_premise: str | None = None,
        content_free: list[str] | None = None,
        load_options: dict[str, Any] | None = None,
    ) -> None:
        """Stores the settings; weights are loaded in `configure_model`, in the dtype that `trainer.precision` names.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, `package://module/path`, or a `.gguf` file in one of them.
            max_length: Maximum number of tokens of a prompt; by default the model's context length. Only the text is
                shortened.
            prompt: Contains `{text}`, and may contain `{text_pair}` and `{labels}`.
            label_words: Label word of each class by its name, or a list of words, whose probabilities are summed; by
                default the class names.
            delimiter: Text between prompt and label word; by default a space, or nothing after a chat template or white
                space.
            shots: Number of train rows in the prompt as examples, the same number of each class as far as possible.
            shot_seed: Seed of the random choice and order of these examples.
            chat_template: Whether the prompt is a user turn in the tokenizer's chat template.
            bos: Whether a prompt starts with a BOS token: `tokenizer` (as the tokenizer does), `always` or `never`.
                There is never more than one.
            rule: How scores are computed from likelihoods: a name in `textclf.scoring.rules.RULES`, or the path
                of your own function, such as `mypkg.rules.mine`.
            strategy: How likelihoods are computed; `auto` takes the fastest strategy that is correct for the model.
            max_batch_tokens: Maximum number of tokens in a forward pass; by default chosen for the device.
            numerics: Number of test rows that are also scored by the plain strategy in fp32, to measure rounding
                errors.
            prior: Share of each class by its name, for the rule `prior`.
            domain_premise: Premise of the rule `domain_pmi`; by default the part of the prompt after the text, or,
                if there is none, the prompt with an empty text.
            content_free: Content-free texts for the rule `contextual`; "N/A", "" and "[MASK]" by default.
            load_options: Passed to `from_pretrained`: `device_map`, `quantization_config`, `attn_implementation`, ...

        Raises:
            UserError: A value is out of range, the prompt has no `{text}`, or words or shares do not fit the classes.
        """
        super().__init__(num_classes, label_names)
        check_least("max_length", max_length, 1)
        check_least("shots", shots, 0)
        check_least("max_batch_tokens", max_batch_tokens, 1)
        check_least("numerics", numerics, 0)
        if content_free == []:
            raise UserError("content_free is empty: give a text, or leave it out")
        self.pretrained = pretrained
        self.max_length = max_length
        self.load_options = load_options or {}
        self.strategy: StrategyChoice = strategy
        self.max_batch_tokens = max_batch_tokens
        self.numerics = numerics
        # The prompt
        self.prompt_template = PromptTemplate.of(prompt)
        self.shots = shots
        self.shot_seed = shot_seed
        self.chat_template = chat_template
        self.bos: Bos = bos
        # The words
        self.class_words = words_of(label_words, self.label_names)
        if delimiter is None:
            delimiter = "" if chat_template or self.prompt_template.tail[-1:].isspace() else " "
        self.delimiter = delimiter
        self.label_words = LabelWords.of(self.class_words, delimiter, class_shares(prior, self.label_names))
        # The rule
        self.rule = rule
        self.score_rule = find_rule(rule)
        self.needs_whole_split = self.score_rule.whole_split
        if "prior" in self.score_rule.needs and prior is None:
            raise UserError(f"rule {rule!r} needs prior: give each class's share by its name, as {{name: 0.5, ...}}")
        self.domain_premise = domain_premise
        self.content_free = CONTENT_FREE if content_free is None else tuple(content_free)
        self.fit_rows: Dataset | None = None
        self.fit_rows_of_test = False
        # What is found in an evaluation
        # In a tuple, so that it is not a submodule: it is never saved.
        self.network: tuple[PreTrainedModel] | None = None
        self.rounding_cost: dict[str, float] = {}
        self._unembedded: dict[int, str] = {}
        self._split_scores: list[Scores] = []
        self._reported: tuple[Any, str] | None = None
        self._reports_strategy = True

    # What is known without weights

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer.

        Raises:
            UserError: It gives two label words the same tokens.
        """
        tokenizer = load_tokenizer(self.pretrained, self.load_options, CAUSAL_REMEDY)
        errors = audit_labels(tokenizer, [], self.words).errors
        if errors:
            raise UserError(f"label_words: {errors[0]}: give words with different tokens in {self.pretrained!r}")
        return tokenizer

    @cached_property
    def limit(self) -> int | None:
        """Maximum number of tokens of a prompt, so that the longest label still fits after it; None for no limit."""
        context = context_length(load_config(self.pretrained, self.load_options, CAUSAL_REMEDY))
        if context is None:
            return self.max_length
        longest = max(map(len, label_token_ids(self.tokenizer, self.words)))
        if self.max_length is None:
            return context - longest
        return min(self.max_length, context - longest)

    def answer(self, label: str) -> str:
        """The first word of a label, as it is scored."""
        return self.delimiter + self.class_words[self.label_names.index(label)][0]

    def prompt_rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Marks what looks like a special token in the examples."""
        return marked_rows(self.tokenizer, rows) if rows else rows  # without examples, no tokenizer is needed yet

    @property
    def words(self) -> list[str]:
        """The label words of all classes as they are scored."""
        return self.label_words.words

    @property
    def labels_text(self) -> str:
        """The first word of each label."""
        return ", ".join(words[0] for words in self.class_words)

    @property
    def chat(self) -> PreTrainedTokenizerBase | None:
        """The model's tokenizer, if the prompt is a turn of a chat."""
        return self.tokenizer if self.chat_template else None

    @property
    def premise(self) -> str:
        """The premise of `domain_pmi`."""
        without_text = dict.fromkeys(TEXTS, "")
        return self.domain_premise or self.template.tail.lstrip() or self.template.fill(without_text)

    # Labelled rows

    def example_request(self) -> ExampleRequest:
        """Shots; and rows to fit a prior to, of which every test stores some where they cost no test row."""
        return ExampleRequest(self.shots, self.shot_seed, self.score_rule.fits, all_rows=self.chooses_examples)

    def set_examples(self, shown: Dataset | None, fit: Dataset | None, of_test: bool = False) -> None:
        """Stores the examples, and the rows that a rule is fitted to.

        Args:
            shown: All train rows if `examples_for` is overridden, else the rows to show, in this order.
            fit: To be fitted to.
            of_test: Whether `fit` was taken out of the test split for this purpose alone.
        """
        self.keep_examples(shown)
        self.fit_rows = fit
        self.fit_rows_of_test = of_test
        if "scorer" in self.__dict__:
            self.scorer.forget_references()  # they depend on the examples

    # From texts to token ids

    def tokenization(self) -> Tokenization:
        """The tokens of a text inside the prompt; examples take as much room as they are long, which is not known."""
        if self.shots:
            return tokenization_with(self.pretrained, self.tokenizer, None, special=False)
        around = prompt_length(self.template, self.tokenizer, self.bos)
        return tokenization_with(self.pretrained, self.tokenizer, self.limit, around=around, special=False)

    def encoding_facts(self) -> list[Any]:
        """The prompt with its examples, BOS, the tokenizer's files and the limit.

        Where examples are chosen for each text, also the rows to choose from.
        """
        chosen = self.examples_key if self.chooses_examples else ""
        return [
            "prompt ids of texts",
            self.template.parts,
            self.bos,
            self.limit,
            tokenizer_files(self.tokenizer),
            chosen,
        ]

    def prompts(self, rows: Mapping[str, Sequence[Any]]) -> list[FittedPrompt]:
        """The prompt of each row, its text shortened to fit.

        Args:
            rows: Columns `text`, and `text_pair` where the prompt has it.

        Raises:
            UserError: The rows have no second text, or there is no room for any text.
        """
        texts = self.template.rows(rows)
        templates, _ = self.templates_for(texts)
        return fit_texts(templates, self.tokenizer, texts, self.limit, self.bos)

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids of each prompt, their number as `length`, and the number of tokens `cut` off its texts.

        Prompts are tokenised here and nowhere else: the scorer takes these ids.
        """
        prompts = self.prompts(rows)
        input_ids = ids_of(prompts)
        return {"input_ids": input_ids, "length": list(map(len, input_ids)), "cut": [prompt.cut for prompt in prompts]}

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Token ids of each prompt as an array, so that Lightning does not look for tensors among thousands of ints."""
        return {"input_ids": [np.asarray(ids, dtype=np.int64) for ids in rows["input_ids"]]}

    def frozen_parameters(self) -> int:
        """Those of the network."""
        return self.scorer.parameters

    def scoring_dtype(self) -> torch.dtype:
        """The lowest precision of the network's weights, which are in no submodule."""
        return lowest_precision(self.scorer.network.parameters())

    @contextmanager
    def scored_apart(self) -> Iterator[None]:
        """Scores with a scorer that has counters and a kept prefix of its own; the strategy is not reported."""
        own = self.scorer.label_scorer
        self.scorer.label_scorer = self.scorer.new_scorer()
        self._reports_strategy = False
        try:
            yield
        finally:
            self.scorer.label_scorer = own
            self._reports_strategy = True

    def for_workers(self) -> Self:
        """Leaves the weights out, which are in no submodule, and the rows that a rule is fitted to."""
        light = super().for_workers()
        light.network = None
        light.fit_rows = None
        light.__dict__.pop("scorer", None)
        return light

    # The scorer

    def configure_model(self) -> None:
        """Loads the weights once."""
        if self.network is None:
            trainer = attached_trainer(self)
            precision = "32" if trainer is None else str(trainer.precision)
            network = load_causal(self.pretrained, self.load_options, dtype_of(precision))
            self._unembedded = check_embeddings(self.tokenizer, network, self.pretrained)
            self.network = (network,)

    @cached_property
    def scorer(self) -> PromptScorer:
        """The scorer of the label words by the loaded weights."""
        self.configure_model()
        assert self.network is not None
        return self._scorer_of(self.network[0])

    def _scorer_of(self, network: PreTrainedModel) -> PromptScorer:
        """A scorer by a network, on this module's device unless `device_map` has put the weights elsewhere."""
        # transformers sets `hf_device_map` where it has spread the weights itself, as for some quantised models.
        if "device_map" not in self.load_options and not getattr(network, "hf_device_map", None):
            network.to(self.device)  # type: ignore[arg-type]  # theirs is wrapped
        return PromptScorer(
            network,
            self.tokenizer,
            self.label_words,
            self.reference_prompts,
            strategy=self.strategy,
            max_batch_tokens=self.max_batch_tokens,
            bos=self.bos,
            unembedded=self._unembedded,
        )

    def reference_prompts(self, kind: str) -> ReferencePrompts | None:
        """The prompts that score rules compare the rows with.

        Args:
            kind: `empty` for the start of a text, `domain` for the premise of `domain_pmi`, `content_free` for prompts
                with content-free texts, or `fit` for the rows that a prior is fitted to.

        Returns:
            The prompts; None where there are none, or one has no token that a label could follow.
        """
        if kind == "fit":
            if self.fit_rows is None:
                return None
            rows = self.fit_rows[:]
            return ReferencePrompts(ids_of(self.prompts(rows)), np.array(rows["label"]))
        bos = self.bos
        if kind == "empty":
            start = self.tokenizer.bos_token or self.tokenizer.eos_token
            prompts = [] if start is None else [str(start)]
            bos = "tokenizer"  # the premise is a BOS alone, even if prompts have none
        elif kind == "domain":
            prompts = [self.premise]
        else:
            texts = [dict.fromkeys(TEXTS, text) for text in self.content_free]
            templates, _ = self.templates_for(texts)
            prompts = fill_all(templates, texts)
        input_ids = prompt_token_ids(self.tokenizer, prompts, bos)
        return ReferencePrompts(input_ids) if input_ids and all(input_ids) else None

    # Scores

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities by the rule, float64, `(batch, num_classes)`.

        A rule that needs all rows of a split is applied in `calibrate_split`; these are then the scores of `sum`.

        Args:
            batch: With `input_ids`, or with the `scores` that `word_scores` has already given for them.
        """
        scores = batch["scores"] if "scores" in batch else self.word_scores(batch)
        rule = "sum" if self.needs_whole_split else self.rule
        return self._as_tensor(class_scores(rule, self.scorer.likelihoods(scores, self.score_rule.needs)))

    def word_scores(self, batch: dict[str, Any]) -> Scores:
        """Scores of the label words after the prompts of a batch; reports the strategy where it changes.

        Args:
            batch: With `input_ids`: token ids of each prompt.
        """
        input_ids = [np.asarray(ids).tolist() for ids in batch["input_ids"]]
        scores = self.scorer.score(input_ids, misread="published" in self.score_rule.needs)
        used = (self.scorer.label_scorer.strategy, self.scorer.label_scorer.reason)
        if used != self._reported and self._reports_strategy:
            self._reported = used
            say(f"labels are scored {used[0]} ({used[1]})")
        return scores

    def _as_tensor(self, scores: Array) -> Tensor:
        return torch.from_numpy(scores).to(self.device, torch.float32 if self.device.type == "mps" else None)

    def calibrate_split(self, log_scores: Tensor) -> Tensor:
        """Applies a rule that needs all rows of the split to those of all processes.

        Args:
            log_scores: Of the rows of this process, `(rows, num_classes)`, columns in the order of the data's labels.
        """
        names = ["sums", "logits"]
        if "published" in self.score_rule.needs:
            names.append("published")
        no_rows = {name: np.empty((0, len(self.words))) for name in names}  # a process may have no batch
        parts = share(concatenated([no_rows, *self._split_scores]), self.trainer.world_size)
        likelihoods = self.scorer.likelihoods(concatenated(parts), self.score_rule.needs)
        scores = self._as_tensor(class_scores(self.rule, likelihoods))
        start = sum(len(part["sums"]) for part in parts[: self.global_rank])
        own_rows = scores[start : start + len(log_scores)]
        if self.textclf.columns is not None:
            own_rows = own_rows[:, self.textclf.columns]
        return own_rows.to(log_scores)

    def measure_rounding(self, rows: Dataset) -> dict[str, float]:
        """Compares scores with those of the same weights in fp32, scored by the plain strategy.

        Returns:
            What `textclf.models.prompt_scorer.rounding_cost` gives; it is also kept as `rounding_cost`.
        """
        options = {name: value for name, value in self.load_options.items() if name not in LOSSY_OPTIONS}
        exact = self._scorer_of(load_causal(self.pretrained, options, torch.float32))
        self.rounding_cost = rounding_cost(self.scorer, exact, ids_of(self.prompts(rows[:])), self.rule)
        return self.rounding_cost

    # Evaluation

    @required_hook
    def configure_callbacks(self) -> Sequence[Callback]:
        """The callbacks of every method, and the one that writes the label scores of a test."""
        from textclf.models.label_scores import ScoreRecord  # noqa: PLC0415 - loads pyarrow

        return [*super().configure_callbacks(), ScoreRecord()]

    @required_hook
    def on_validation_epoch_start(self) -> None:
        """Drops the scores of the last split."""
        self._split_scores = []

    @required_hook
    def on_test_epoch_start(self) -> None:
        """Drops the scores of the last split."""
        self._split_scores = []

    @required_hook
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Adds to the base's results what `test_step` adds."""
        scores = self.word_scores(batch)
        return self._with_matrices(super().validation_step({**batch, "scores": scores}, batch_idx), scores)

    @required_hook
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Adds to the base's results the words' matrices `sums`, `logits` and so on, float64 `(batch, words)`."""
        scores = self.word_scores(batch)
        return self._with_matrices(super().test_step({**batch, "scores": scores}, batch_idx), scores)

    def _with_matrices(self, results: dict[str, Tensor], scores: Scores) -> dict[str, Tensor]:
        count = len(results["row"])  # none of a filler batch
        counted = {name: matrix[:count] for name, matrix in scores.items()}
        if self.needs_whole_split:
            self._split_scores.append(counted)
        return results | {name: torch.from_numpy(matrix) for name, matrix in counted.items()}

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Refuses a rule that needs all rows before it can score one."""
        if self.needs_whole_split:
            raise UserError(f"rule {self.rule!r} looks at all rows of a test at once: choose another one to predict")
        return super().predict_step(batch, batch_idx)

    def figures(self, split: Literal["validation", "test"]) -> dict[str, float]:
        """The work of all processes, what was cut off texts, and the cost of rounding where it was measured."""
        work = self.scorer.work(self.trainer.world_size)
        loaders = {"validation": "val_dataloaders", "test": "test_dataloaders"}
        counters = cut_counters(getattr(self.trainer, loaders[split], None))
        return {
            **{f"scoring/{name}": value for name, value in work.items()},
            "scoring/padding_share": work["padding"] / max(1, work["padding"] + work["tokens"]),
            "scoring/parameters": self.scorer.parameters,
            "texts_cut": sum(counter.cut_rows for counter in counters),
            "tokens_cut": sum(counter.cut_tokens for counter in counters),
            **self.rounding_cost,
        }
