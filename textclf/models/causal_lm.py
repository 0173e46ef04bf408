"""Zero- and few-shot classification by how likely a causal language model finds each label after a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from lightning.pytorch import Callback
from torch import Tensor

from textclf.backbones.compatibility import check_embeddings, refuse_beyond
from textclf.backbones.tokenizer_files import tokenizer_files
from textclf.backbones.weights import CAUSAL_REMEDY, dtype_of, load_causal, load_config, load_tokenizer
from textclf.console import say
from textclf.data.contract import Wanted
from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.models.beside import score_beside
from textclf.models.few_shot import FewShotPrompts
from textclf.models.hooks import required_hook
from textclf.models.label_arguments import class_shares, words_of
from textclf.models.prompts import PromptTemplate, fit_texts, rows_of, shortened
from textclf.models.truncation import cut_counters
from textclf.processes import share
from textclf.scoring import Counters, LabelScorer, as_published, audit_labels, context_length
from textclf.scoring.rules import MATRICES, Array, Likelihoods, class_scores, find_rule
from textclf.scoring.tokens import Bos, prompt_token_ids
from textclf.types import Dataset, PreTrainedModel, PreTrainedTokenizerBase

PROMPT = "Classify the text into one of these categories: {labels}.\n\nText: {text}\nCategory:"
CONTENT_FREE = ("N/A", "", "[MASK]")

PARTS = {
    "empty": {"empty"},
    "domain": {"domain"},
    "content_free": {"content_free"},
    "fit": {"fit_sums", "fit_labels", "shift"},
}
"""What `reference` can make, and the parts of `Likelihoods` that come of it."""

Scores = dict[str, Array]
"""Matrices by their names in `Likelihoods`, shape (rows, words)."""


class CausalLMClassifier(FewShotPrompts, TextClassifier):
    """Asks a causal language model how likely each label word is after a prompt; nothing is trained.

    A score rule makes class probabilities of the words' likelihoods. A test keeps these in `report/scores.parquet`, so
    that `scripts/rescore.py` can judge it by every rule. Sources: Brown et al., 2020, https://arxiv.org/abs/2005.14165;
    for the rules see `textclf.scoring.rules`.

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
        strategy: Literal["auto", "packed", "cached", "plain"] = "auto",
        max_batch_tokens: int | None = None,
        numerics: int = 0,
        prior: dict[str, float] | None = None,
        domain_premise: str | None = None,
        content_free: list[str] | None = None,
        load_options: dict[str, Any] | None = None,
    ) -> None:
        """Takes the recipe; weights are loaded when the test starts, in the dtype that `trainer.precision` names.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, `package://module/path`, or a `.gguf` file in one of them.
            max_length: Most tokens of a prompt; by default the model's context. Only the text is ever shortened.
            prompt: With `{text}`, and `{text_pair}` and `{labels}` where they are wanted.
            label_words: Word of each class by its name, or several, any of which counts; the names by default.
            delimiter: Between prompt and word; by default a space, or nothing after a chat template or white space.
            shots: Number of train rows that are shown, answered, before each text; as many of each class.
            shot_seed: Of their draw and order.
            chat_template: Whether the prompt is what the user says in the tokenizer's chat template.
            bos: Whether a prompt starts with BOS: as the `tokenizer` has it, `always` or `never`; once at most.
            rule: How likelihoods become scores: a name in `textclf.scoring.rules.RULES`, or the path of a function of
                your own, such as `mypkg.rules.mine`.
            strategy: How they are computed; `auto` takes the fastest that is right for the model.
            max_batch_tokens: Tokens of a forward pass; by default what suits the device.
            numerics: Test rows that are also scored the plain way in fp32, to tell what rounding costs.
            prior: Share of each class by its name, for the rule `prior`.
            domain_premise: What `domain_pmi` compares with; by default what stands behind the text in the prompt, or
                the prompt without a text where nothing does.
            content_free: Texts that say nothing, for `contextual`; "N/A", "" and "[MASK]" by default.
            load_options: Handed to `from_pretrained`: `device_map`, `quantization_config`, `attn_implementation`, ...

        Raises:
            UserError: A value is out of range, the prompt has no `{text}`, or words or shares do not fit the classes.
        """
        super().__init__(num_classes, label_names)
        for name, value, least in (
            ("max_length", max_length, 1),
            ("shots", shots, 0),
            ("max_batch_tokens", max_batch_tokens, 1),
            ("numerics", numerics, 0),
        ):
            if value is not None and value < least:
                raise UserError(f"{name} {value} is too small: give {least} or more")
        self.asked = PromptTemplate.of(prompt)
        self.class_words = words_of(label_words, self.label_names)
        self.prior = class_shares(prior, self.label_names)
        self.score_rule = find_rule(rule)
        if "prior" in self.score_rule.needs and prior is None:
            raise UserError(f"rule {rule!r} needs prior: give each class's share by its name, as {{name: 0.5, ...}}")
        if content_free == []:
            raise UserError("content_free is empty: give a text, or leave it out")
        if delimiter is None:
            delimiter = "" if chat_template or self.asked.tail[-1:].isspace() else " "
        self.words = [delimiter + word for words in self.class_words for word in words]
        self.classes = np.repeat(np.arange(num_classes), [len(words) for words in self.class_words])
        self.pretrained, self.max_length, self.delimiter = pretrained, max_length, delimiter
        self.shots, self.shot_seed, self.chat_template, self.bos = shots, shot_seed, chat_template, bos
        self.rule, self.strategy, self.max_batch_tokens = rule, strategy, max_batch_tokens
        self.numerics, self.domain_premise = numerics, domain_premise
        self.content_free = CONTENT_FREE if content_free is None else tuple(content_free)
        self.load_options = load_options or {}
        self.needs_whole_split = self.score_rule.whole_split
        self.fit_rows: tuple[Dataset, bool] | None = None
        self.network: tuple[PreTrainedModel] | None = None  # not a module of this one: it is loaded, never saved
        self._beyond: dict[int, str] = {}
        self._references: dict[str, Any] = {}
        self._beside: list[Counters] = []  # work done for them
        self.fit_scores: Scores = {}
        self._of_split: list[Scores] = []  # of the rows of this process, where they are judged together
        self.price: dict[str, float] = {}
        self._said: tuple[Any, str] | None = None

    # What is known without weights

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer, after a check that it tells all label words apart."""
        tokenizer = load_tokenizer(self.pretrained, self.load_options, CAUSAL_REMEDY)
        if errors := audit_labels(tokenizer, [], self.words).errors:
            raise UserError(f"label_words: {errors[0]}: give words that {self.pretrained!r} tells apart")
        return tokenizer

    def answer(self, label: str) -> str:
        """The first word of a label, as it is scored."""
        return self.delimiter + self.class_words[self.label_names.index(label)][0]

    @property
    def labels_text(self) -> str:
        """The first word of each label."""
        return ", ".join(words[0] for words in self.class_words)

    @property
    def chat(self) -> PreTrainedTokenizerBase | None:
        """The model's tokenizer, if the prompt is asked as in a chat."""
        return self.tokenizer if self.chat_template else None

    @property
    def premise(self) -> str:
        """What `domain_pmi` compares with."""
        return self.domain_premise or self.template.tail.lstrip() or self.template.fill({"text": "", "text_pair": ""})

    @cached_property
    def limit(self) -> int | None:
        """Most tokens of a prompt, so that the longest label still fits behind it."""
        context = context_length(load_config(self.pretrained, self.load_options, CAUSAL_REMEDY))
        longest = max(len(label.token_ids) for label in audit_labels(self.tokenizer, [], self.words).labels)
        limits = [self.max_length, None if context is None else context - longest]
        return min((limit for limit in limits if limit is not None), default=None)

    def wanted(self) -> Wanted:
        """Shots; and rows to fit a prior to, of which every test keeps some where they cost no test row."""
        return Wanted(self.shots, self.shot_seed, self.score_rule.fits, all_rows=self.chooses_examples)

    def see(self, shown: Dataset | None, fit: Dataset | None, of_test: bool = False) -> None:
        """Keeps the examples, and the rows that a rule is fitted to.

        Args:
            shown: All train rows if `examples_for` is overridden, else the rows to show, in this order.
            fit: To be fitted to.
            of_test: Whether `fit` was taken out of the test split, for nothing but this.
        """
        self._references.clear()  # they follow the prompt
        self.keep_examples(shown)
        self.fit_rows = None if fit is None else (fit, of_test)

    # The contract

    def encoding_facts(self) -> list[Any]:
        """The prompt with its examples, BOS, the tokenizer's files and the limit.

        Where examples are chosen for each text, also the rows to choose from.
        """
        chosen = self.examples_key if self.chooses_examples else ""
        return ["prompt", self.template.parts, self.bos, self.limit, tokenizer_files(self.tokenizer), chosen]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Tokens of each prompt as `length`, characters `kept` of its texts, and tokens `cut` off.

        Where examples are chosen for each text, also their row numbers, `examples`.
        """
        if "text_pair" in self.template.slots and "text_pair" not in rows:
            raise UserError("prompt has {text_pair}, but the rows have one text each: leave it out")
        each = rows_of(rows)
        templates, examples = self.templates_for(each)
        kept, lengths, cut = fit_texts(templates, self.tokenizer, each, self.limit, self.bos)
        encoded = {"length": lengths, "kept": kept, "cut": cut}
        return {**encoded, "examples": examples} if self.chooses_examples else encoded

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Makes the prompts themselves, list of str."""
        prompts = []
        for i, row in enumerate(rows_of(rows)):
            template = self.template_with(rows["examples"][i] if self.chooses_examples else [])
            prompts.append(template.fill(shortened(template, row, rows["kept"][i])))
        return {"prompt": prompts}

    def for_workers(self) -> Self:
        """Leaves the weights out, which are in no module of this one, and the rows that a rule is fitted to."""
        light = super().for_workers()
        light.network, light.fit_rows = None, None
        light.__dict__.pop("scorer", None)
        return light

    def configure_model(self) -> None:
        """Loads the weights once."""
        if self.network is None:
            dtype = dtype_of("32" if self._trainer is None else str(self._trainer.precision))
            network = load_causal(self.pretrained, self.load_options, dtype)
            self._beyond = check_embeddings(self.tokenizer, network, self.pretrained)
            self.network = (network,)

    @cached_property
    def scorer(self) -> LabelScorer:
        """The scorer of the label words, on this module's device unless `device_map` has put the weights elsewhere."""
        self.configure_model()
        assert self.network is not None
        return self.new_scorer(self.network[0], self.strategy, self.bos)

    def new_scorer(self, network: PreTrainedModel, strategy: Any, bos: Bos) -> LabelScorer:
        """A scorer of the label words with work and prefix of its own."""
        if "device_map" not in self.load_options and not getattr(network, "hf_device_map", None):
            network.to(self.device)  # type: ignore[arg-type]  # theirs is wrapped
        with torch.autocast(self.device.type, enabled=False):
            return LabelScorer(
                network,
                self.tokenizer,
                self.words,
                strategy=strategy,
                max_batch_tokens=self.max_batch_tokens,
                bos=bos,
            )

    def score(self, prompts: Sequence[str], scorer: LabelScorer | None = None, published: bool = False) -> Scores:
        """Scores every label word after every prompt, in float64.

        Args:
            prompts: The prompts.
            scorer: Instead of the one whose work is counted, and whose prefix is that of the rows.
            published: Whether the misread sums of `as_published` are made as well.
        """
        scorer = scorer or self.scorer
        if self._beyond:
            refuse_beyond(prompt_token_ids(self.tokenizer, prompts, self.bos), self._beyond)
        with torch.autocast(self.device.type, enabled=False):
            found = scorer(prompts)
            scores = {"sums": found.log_likelihoods.numpy(), "logits": found.logit_sums.numpy()}
            if published:
                misread = as_published(scorer.model, self.tokenizer, prompts, self.words, scorer.bos)
                scores["published"] = misread.numpy()
        return scores

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities by the rule, float64, `(batch, num_classes)`.

        A rule that needs all rows of a split is applied in `calibrate_split`; these are then the scores of `sum`.

        Args:
            batch: With `prompt`, or with the `scores` that `score` has given already.
        """
        scores = batch["scores"] if "scores" in batch else self.score_batch(batch)
        found = class_scores("sum" if self.needs_whole_split else self.rule, self.likelihoods(scores))
        return self._as_tensor(found)

    def score_batch(self, batch: dict[str, Any]) -> Scores:
        """The words' scores after the prompts of a batch; says the strategy where it changes."""
        scores = self.score(batch["prompt"], published="published" in self.score_rule.needs)
        if (self.scorer.strategy, self.scorer.reason) != self._said:
            self._said = self.scorer.strategy, self.scorer.reason
            say(f"labels are scored {self._said[0]} ({self._said[1]})")
        return scores

    def _as_tensor(self, scores: Array) -> Tensor:
        return torch.from_numpy(scores).to(self.device, torch.float32 if self.device.type == "mps" else None)

    def calibrate_split(self, log_scores: Tensor) -> Tensor:
        """Applies a rule that needs all rows of the split to those of all processes.

        Args:
            log_scores: Of the rows of this process, `(rows, num_classes)`, columns in the order of the data's labels.
        """
        empty = np.empty((0, len(self.words)))
        mine = {name: np.concatenate([empty, *(part[name] for part in self._of_split)]) for name in self._names}
        parts = share(mine, self.trainer.world_size)
        whole = {name: np.concatenate([part[name] for part in parts]) for name in self._names}
        scores = self._as_tensor(class_scores(self.rule, self.likelihoods(whole)))
        before = sum(len(part["sums"]) for part in parts[: self.global_rank])
        columns = [self.label_names.index(name) for name in self._names_of_data()]
        return scores[before : before + len(log_scores), columns].to(log_scores)

    @property
    def _names(self) -> list[str]:
        """Names of the matrices that are made of every batch."""
        return [name for name in MATRICES if name != "published" or "published" in self.score_rule.needs]

    def likelihoods(
        self, scores: Scores, everything: bool = False, network: PreTrainedModel | None = None
    ) -> Likelihoods:
        """What rules take: rows' scores, and what their own rule (or any rule) needs beside them.

        Args:
            scores: The rows' scores.
            everything: Whether any rule is to be served.
            network: Who scores what is needed beside them, where it is not this module's own.
        """
        wanted = PARTS if everything else [part for part in PARTS if PARTS[part] & {*self.score_rule.needs}]
        found = self.reference if network is None else lambda part: score_beside(self, part, network)[0]
        more = {name: value for part in wanted for name, value in found(part).items()}
        tokens = np.array([len(ids) for ids in self.scorer.label_ids])
        return Likelihoods(
            words=self.words, classes=self.classes, tokens=tokens, prior=self.prior, **{**scores, **more}
        )

    def reference(self, part: str) -> dict[str, Any]:
        """The words' scores after what has no text of its own: `empty`, `domain`, `content_free`; and `fit` rows'."""
        if part not in self._references:
            self._references[part], scores, work = score_beside(self, part, self.scorer.model)
            self._beside.append(work)
            self.fit_scores = scores or self.fit_scores
        return self._references[part]  # type: ignore[no-any-return]

    def prompts(self, rows: Dataset) -> list[str]:
        """The prompts of a few rows, as a list."""
        columns = {name: list(values) for name, values in rows[:].items()}
        return list(self.collate({**columns, **self.encode(columns)})["prompt"])

    # Evaluation

    @required_hook
    def configure_callbacks(self) -> Sequence[Callback]:
        """What writes the likelihoods of a test."""
        from textclf.models.score_record import ScoreRecord  # noqa: PLC0415 - imports this module

        return [ScoreRecord()]

    @required_hook
    def on_validation_epoch_start(self) -> None:
        """Forgets the scores of the last split."""
        self._of_split = []

    @required_hook
    def on_test_epoch_start(self) -> None:
        """Forgets the scores of the last split."""
        self._of_split = []

    @required_hook
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Adds to the base's results what `test_step` adds."""
        scores = self.score_batch(batch)
        return self._with_matrices(super().validation_step({**batch, "scores": scores}, batch_idx), scores)

    @required_hook
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Adds to the base's results the words' matrices `sums`, `logits` and so on, float64 `(batch, words)`."""
        scores = self.score_batch(batch)
        return self._with_matrices(super().test_step({**batch, "scores": scores}, batch_idx), scores)

    def _with_matrices(self, result: dict[str, Tensor], scores: Scores) -> dict[str, Tensor]:
        kept = {name: matrix[: len(result["row"])] for name, matrix in scores.items()}  # a filler has no rows
        if self.needs_whole_split:
            self._of_split.append(kept)
        return result | {name: torch.from_numpy(matrix) for name, matrix in kept.items()}

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Refuses a rule that must see all rows before it can judge one."""
        if self.needs_whole_split:
            raise UserError(f"rule {self.rule!r} looks at all rows of a test at once: choose another one to predict")
        return super().predict_step(batch, batch_idx)

    def work(self) -> dict[str, int]:
        """What the scorers of all processes have done so far; called on all of them.

        `tokens_beside` and `prompts_beside` were run for what rules need in addition to the rows of the split; the
        other counts leave them out.
        """
        own = asdict(self.scorer.counters)
        own["tokens_beside"] = sum(work.tokens for work in self._beside)
        own["prompts_beside"] = sum(work.packed + work.cached + work.plain for work in self._beside)
        each = share(own, self.trainer.world_size)
        return {name: sum(work[name] for work in each) for name in own}

    def figures(self, split: Literal["validation", "test"]) -> dict[str, float]:
        """The work of all processes, what was cut off texts, and what rounding costs where that was asked for."""
        work = self.work()
        loaders = {"validation": "val_dataloaders", "test": "test_dataloaders"}
        counters = cut_counters(getattr(self.trainer, loaders[split], None))
        return {
            **{f"scoring/{name}": value for name, value in work.items()},
            "scoring/padding_share": work["padding"] / max(1, work["padding"] + work["tokens"]),
            "scoring/parameters": sum(p.numel() for p in self.scorer.model.parameters()),
            "texts_cut": sum(counter.cut_rows for counter in counters),
            "tokens_cut": sum(counter.cut_tokens for counter in counters),
            **self.price,
        }
