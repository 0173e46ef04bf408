"""Zero-shot classification by natural language inference."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from textclf.backbones.classification_head import class_logits
from textclf.backbones.padding import pad_in_chunks
from textclf.backbones.tokenization import ModelTokenizer
from textclf.backbones.weights import own_precision
from textclf.errors import UserError
from textclf.findings.lengths import Tokenization
from textclf.models.inference import InferenceClassifier
from textclf.models.label_arguments import by_label_name, folded
from textclf.models.tokenizations import tokenization_with
from textclf.scoring.planning import default_budget
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase


class NLIClassifier(InferenceClassifier):
    """Scores each label by how strongly the text entails its hypothesis, according to an NLI model.

    Each text is paired with each hypothesis; a batch's pairs run sorted by length, under a token budget. Source: Yin et
    al., 2019, https://arxiv.org/abs/1909.00161.
    """

    auto_class = "AutoModelForSequenceClassification"

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "MoritzLaurer/mDeBERTa-v3-base-mnli-xnli",
        max_length: int | None = None,
        hypothesis_template: str = "This example is {label}.",
        label_texts: dict[str, str] | None = None,
        multi_label: bool = False,
        max_batch_tokens: int | None = None,
    ) -> None:
        """Stores the hypotheses; weights are loaded in `configure_model`.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path` of a model whose labels name entailment.
            max_length: Maximum length of text and hypothesis together, in tokens; the text is cut, never the
                hypothesis. Null for 512, or the model's limit if that is lower.
            hypothesis_template: The hypothesis, with `{label}`, or `{}` as in transformers, for the label.
            label_texts: Texts that replace `{label}`, by label name; the name itself by default.
            multi_label: Whether each label is scored alone, entailment against contradiction (and the results then
                normalised); by default one softmax is taken over the labels' entailment logits.
            max_batch_tokens: Tokens of the pairs in a forward pass, padding included; the default is small on a CPU.

        Raises:
            UserError: The template does not have exactly one slot, a text is for no label, or two labels have the same
                hypothesis.
        """
        super().__init__(num_classes, label_names, pretrained, max_length)
        parts = re.split(r"\{(?:label)?\}", hypothesis_template)
        if len(parts) != 2:
            raise UserError(
                f"hypothesis_template {hypothesis_template!r} must have one {{label}}, in the place of the label"
            )
        texts = by_label_name("label_texts", label_texts or {}, self.label_names)
        self.hypotheses = [texts.get(name, name).join(parts) for name in self.label_names]
        if len(set(self.hypotheses)) < num_classes:
            raise UserError(f"label_texts {texts} give two labels the same hypothesis: write others")
        self.multi_label = multi_label
        self.max_batch_tokens = max_batch_tokens

    def load_tokenizer(self) -> ModelTokenizer:
        """Loads the tokenizer.

        Raises:
            UserError: It cannot be loaded, is another model's, or `max_length` leaves no room for a text.
        """
        matched = super().load_tokenizer()
        longest = self._longest_hypothesis(matched.tokenizer)
        if longest >= matched.max_length:
            raise UserError(f"max_length {matched.max_length}: a hypothesis alone has {longest} tokens: give more")
        return matched

    def _longest_hypothesis(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """Number of tokens of the longest hypothesis next to an empty text."""
        without_text = tokenizer([""] * len(self.hypotheses), self.hypotheses)["input_ids"]
        return max(len(ids) for ids in without_text)

    def adopt(self, network: PreTrainedModel) -> None:
        """Finds entailment among the model's labels."""
        id2label: Any = network.config.id2label  # the keys are ints, unlike in config.json
        entailment, contradiction = entailment_indices(id2label, self.pretrained)
        self.entailment = entailment
        self.contradiction = contradiction

    def tokenization(self) -> Tokenization:
        """The tokens of a text next to the longest hypothesis."""
        around = self._longest_hypothesis(self.tokenizer)
        return tokenization_with(self.pretrained, self.tokenizer, self.max_length, around=around, special=False)

    def encoding_facts(self) -> list[Any]:
        """The hypotheses, the tokenizer's files and the maximum length."""
        return ["text pairs", self.hypotheses, self.max_length, self.matched.files]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Each text with each hypothesis: per row one list of token ids per label; `length` and `cut` are sums."""
        if "text_pair" in rows:
            raise UserError("NLIClassifier reads one text: the hypothesis is the second; leave text_pair_column out")
        count = len(self.hypotheses)
        texts = [text for text in rows["text"] for _ in range(count)]
        pairs = self.hypotheses * len(rows["text"])
        encoded = self.matched(texts, pairs, truncation="only_first", max_length=self.max_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        cut = self.matched.count_cut(texts, pairs, lengths)
        columns: dict[str, list[Any]] = {}
        for name, field in encoded.items():
            columns[name] = _in_groups(field, count)
        columns["length"] = [sum(group) for group in _in_groups(lengths, count)]
        columns["cut"] = [sum(group) for group in _in_groups(cut, count)]
        return columns

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Flattens the pairs, sorts them by length, and divides them into chunks for one forward pass each.

        Returns:
            `chunks`, each with `input_ids` and the like, int64 `(pairs, seq)`, and `order`, the index of each pair in
            the flattened batch, int64 `(batch * num_classes,)`.
        """
        fields: dict[str, list[Any]] = {}
        for name in ("input_ids", "token_type_ids"):
            if name in rows:
                fields[name] = list(chain.from_iterable(rows[name]))
        budget = self.max_batch_tokens or default_budget(self.device)
        chunks, order = pad_in_chunks(fields, self.tokenizer.pad_token_id, budget)
        return {"chunks": chunks, "order": order}

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities of the labels, fp32, `(batch, num_classes)`, in nats."""
        assert self.network is not None, "configure_model comes first"
        with own_precision(self.network):
            sorted_logits = torch.cat([class_logits(self.network, chunk).float() for chunk in batch["chunks"]])
        logits = sorted_logits[batch["order"].argsort()]
        return self.label_log_probs(logits.view(-1, self.num_classes, logits.shape[-1]))

    def label_log_probs(self, logits: Tensor) -> Tensor:
        """Converts the model's logits to log-probabilities of the labels.

        Args:
            logits: Shape `(batch, num_classes, model labels)`.

        Returns:
            In nats, shape `(batch, num_classes)`.
        """
        entailed = logits[..., self.entailment]
        if self.multi_label:
            entailed = torch.nn.functional.logsigmoid(entailed - logits[..., self.contradiction])
        return entailed.log_softmax(-1)


def _in_groups(values: list[Any], size: int) -> list[list[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def entailment_indices(id2label: Mapping[int, str], reference: str) -> tuple[int, int]:
    """Finds entailment and contradiction among a model's labels by name: their order differs between models.

    A model without contradiction has "not entailment" instead.

    Raises:
        UserError: There is no such label, or more than one.
    """
    entailment = _index_of_prefix(("entail",), id2label, reference)
    contradiction = _index_of_prefix(("contradict", "not entail", "non entail"), id2label, reference)
    return entailment, contradiction


def _index_of_prefix(prefixes: Sequence[str], id2label: Mapping[int, str], reference: str) -> int:
    """Index of the one label that begins with the first prefix that any label begins with."""
    names = {i: folded(name).replace("-", " ") for i, name in id2label.items()}
    for prefix in prefixes:
        indices = [i for i, name in names.items() if name.startswith(prefix)]
        if len(indices) == 1:
            return indices[0]
        if indices:
            break
    raise UserError(
        f"the labels of {reference!r} are {', '.join(id2label.values())}: none, or more than one of them, is "
        f"{prefixes[0]}...: name an NLI model whose config names entailment and contradiction"
    )
