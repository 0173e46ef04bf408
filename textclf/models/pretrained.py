"""A ready-made classifier, used as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from textclf.backbones.classification_head import class_logits
from textclf.backbones.language import report_unknown_language, sample_texts
from textclf.backbones.padding import pad
from textclf.backbones.weights import own_precision
from textclf.errors import UserError, check_least
from textclf.models.dataloaders import encoded_rows
from textclf.models.inference import InferenceClassifier
from textclf.models.label_arguments import map_labels
from textclf.types import PreTrainedModel


class PretrainedClassifier(InferenceClassifier):
    """Tests any model that `AutoModelForSequenceClassification` loads with its own head.

    Its labels are matched with the data's by name, or by `label_map`, several of theirs to one of ours. Probabilities
    are the softmax of its logits. Nothing is trained.
    """

    auto_class = "AutoModelForSequenceClassification"

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        max_length: int | None = None,
        label_map: dict[str, str | None] | None = None,
        unmapped: Literal["drop", "sum"] = "drop",
    ) -> None:
        """Takes the model's reference; it is loaded when it is needed.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Tokens of a text (or pair) that are read, the rest is cut off; null for 512, or as many as the
                model can read where those are fewer.
            label_map: From the model's labels to the data's, or to null for one that the data do not have; those that
                it does not name are matched by name, whatever their case and spaces. Several may mean one: their
                probabilities are added.
            unmapped: What becomes of the probability of labels mapped to null. `drop` takes them out before the
                softmax; to renormalise, that is, to divide the others by their sum, is the same. `sum` takes the
                softmax over all and only adds up: a row then sums to less than 1, and its NLL counts what went to the
                dropped labels as lost. Predictions are the same.

        Raises:
            UserError: `max_length` is too small.
        """
        super().__init__(num_classes, label_names, pretrained, max_length)
        check_least("max_length", max_length, 3)
        self.label_map, self.unmapped = label_map, unmapped
        self.loses_mass = unmapped == "sum"
        self._looked = False

    def adopt(self, network: PreTrainedModel) -> None:
        """Matches the model's labels with the data's."""
        if getattr(network.config, "problem_type", None) == "multi_label_classification":
            raise UserError(
                f"{self.pretrained!r} judges each of its labels alone (multi_label_classification): name a model whose "
                "labels exclude each other"
            )
        names: Any = network.config.id2label  # keys are ints once a configuration is loaded
        theirs = [str(names[i]) for i in range(len(names))]
        self.targets = map_labels(theirs, self.label_names, self.label_map)

    def encoding_facts(self) -> list[Any]:
        """The tokenizer's files and the length."""
        return ["cut", self.max_length, self.matched.files]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids, segment ids where the model has segments, `length` in tokens, and those `cut` off."""
        return self.matched.tokenize_rows(rows)

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Pads on the right: `input_ids`, `attention_mask`, and segment ids, int64 `(batch, seq)`; and `text`."""
        return {**pad(rows, self.tokenizer.pad_token_id), "text": rows["text"]}

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities of the data's labels, fp32, `(batch, num_classes)`, in nats."""
        assert self.network is not None, "configure_model comes first"
        if not self._looked:  # a stream of texts: there is no split to look at
            self._judge_language(batch["text"])
        with own_precision(self.network):
            logits = class_logits(self.network, batch).float()
        return self.mapped(logits)

    def _check_loaders(self, split: str, loaders: Any) -> None:
        super()._check_loaders(split, loaders)
        for rows in encoded_rows(loaders):
            if len(rows) and not self._looked:
                self._judge_language(rows["text"])

    def _judge_language(self, texts: Sequence[str]) -> None:
        """Says, once, where the tokenizer does not know the language of some texts."""
        self._looked = True
        report_unknown_language(self.tokenizer, self.pretrained, sample_texts(texts))

    def mapped(self, logits: Tensor) -> Tensor:
        """From logits `(batch, theirs)` to log-probabilities of the data's labels, `(batch, num_classes)`."""
        known = [i for i, target in enumerate(self.targets) if target is not None]
        if self.unmapped == "drop":
            logits = logits[:, known].log_softmax(-1)
        else:
            logits = logits.log_softmax(-1)[:, known]
        members = [[j for j, i in enumerate(known) if self.targets[i] == label] for label in range(self.num_classes)]
        return torch.stack([logits[:, columns].logsumexp(-1) for columns in members], dim=1)
