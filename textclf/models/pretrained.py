"""A ready-made classifier, used without training."""

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

    Its labels are matched with the data's by name, or by `label_map`, which may map several to one. Probabilities are
    the softmax of its logits. Nothing is trained.
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
        """Stores the hyperparameters; weights are loaded in `configure_model`.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Maximum length of a text (or pair) in tokens, the rest is cut off; null for 512, or the model's
                limit if that is lower.
            label_map: From the model's labels to the data's, or to null for one that the data do not have; labels that
                it does not name are matched by name, ignoring case and spaces. The probabilities of labels that are
                mapped to the same label are added.
            unmapped: What is done with the probability of labels mapped to null. `drop` removes their logits before
                the softmax, which is the same as renormalising the other probabilities. `sum` takes the softmax over
                all labels: the probabilities of a row then sum to less than 1, which increases its NLL. Predictions
                are the same.

        Raises:
            UserError: `max_length` is too small.
        """
        super().__init__(num_classes, label_names, pretrained, max_length)
        check_least("max_length", max_length, 3)
        self.label_map = label_map
        self.unmapped = unmapped
        self.loses_mass = unmapped == "sum"
        self._language_checked = False

    def adopt(self, network: PreTrainedModel) -> None:
        """Matches the model's labels with the data's."""
        if getattr(network.config, "problem_type", None) == "multi_label_classification":
            raise UserError(
                f"{self.pretrained!r} scores each of its labels independently (multi_label_classification): name a "
                "model whose labels exclude each other"
            )
        id2label: Any = network.config.id2label  # the keys are ints, unlike in config.json
        model_labels = [str(id2label[i]) for i in range(len(id2label))]
        self.targets = map_labels(model_labels, self.label_names, self.label_map)

    def encoding_facts(self) -> list[Any]:
        """The tokenizer's files and the maximum length."""
        return ["text, cut", self.max_length, self.matched.files]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids, segment ids if the model has segments, `length` in tokens, and number of tokens `cut` off."""
        return self.matched.tokenize_rows(rows)

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """Pads on the right: `input_ids`, `attention_mask`, and segment ids, int64 `(batch, seq)`; and `text`."""
        return {**pad(rows, self.tokenizer.pad_token_id), "text": rows["text"]}

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities of the data's labels, fp32, `(batch, num_classes)`, in nats."""
        assert self.network is not None, "configure_model comes first"
        if not self._language_checked:  # a stream of texts has no split that was checked before
            self._check_language(batch["text"])
        with own_precision(self.network):
            logits = class_logits(self.network, batch).float()
        return self.mapped(logits)

    def _check_loaders(self, split: str, loaders: Any) -> None:
        super()._check_loaders(split, loaders)
        for rows in encoded_rows(loaders):
            if len(rows) and not self._language_checked:
                self._check_language(rows["text"])

    def _check_language(self, texts: Sequence[str]) -> None:
        """Reports, once, a tokenizer that was not trained on the language of the texts."""
        self._language_checked = True
        report_unknown_language(self.tokenizer, self.pretrained, sample_texts(texts))

    def mapped(self, logits: Tensor) -> Tensor:
        """Converts the model's logits to log-probabilities of the data's labels.

        Args:
            logits: Shape `(batch, model labels)`.

        Returns:
            In nats, shape `(batch, num_classes)`.
        """
        mapped = [i for i, target in enumerate(self.targets) if target is not None]
        if self.unmapped == "drop":
            log_probs = logits[:, mapped].log_softmax(-1)
        else:
            log_probs = logits.log_softmax(-1)[:, mapped]
        columns = []
        for label in range(self.num_classes):
            members = [column for column, i in enumerate(mapped) if self.targets[i] == label]
            columns.append(log_probs[:, members].logsumexp(-1))
        return torch.stack(columns, dim=1)
