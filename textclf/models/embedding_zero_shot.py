"""The class whose description is nearest to the text: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.models.arguments import check_temperature
from textclf.models.embedding import EmbeddingClassifier, cosines
from textclf.models.label_arguments import texts_by_label_name


class EmbeddingZeroShot(EmbeddingClassifier):
    """Cosine similarity of a text's embedding to those of label descriptions.

    Descriptions are given by label name, so no order can be wrong. A class with several is represented by the mean of
    their embeddings, each of length 1. Scores are a softmax of the similarities over the temperature: probabilities,
    honest ones only as far as the temperature is; the answer does not depend on it.

    Source: Yin et al., 2019, https://arxiv.org/abs/1909.00161, for the task.
    """

    pairs = False

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "sentence-transformers/all-mpnet-base-v2",
        max_length: int | None = None,
        embedding: dict[str, Any] | None = None,
        label_texts: dict[str, str | list[str]] | None = None,
        template: str = "{label}",
        label_prompt: str | None = None,
        temperature: float = 0.05,
    ) -> None:
        """Takes the descriptions.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Any encoder of sentence-transformers: hub id, folder, or `package://module/path`.
            max_length: Tokens of a text that are read; as many as the encoder's own configuration says where null.
            embedding: How texts become vectors: any of `prompt`, `prompt_name`, `pooling`, `normalize`,
                `truncate_dim`, `dtype`, `max_batch_tokens`.
            label_texts: One or several descriptions of each label, by its name; the names themselves where null.
            template: What is written around each description, with `{label}` in its place.
            label_prompt: Written before each description, where it differs from the prompt of the texts.
            temperature: What cosines are divided by before the softmax; smaller is surer.

        Raises:
            UserError: A label has no description, a description's name is no label, or a value is out of range.
        """
        super().__init__(num_classes, label_names, pretrained, max_length, embedding)
        check_temperature(temperature)
        if "{label}" not in template:
            raise UserError(f"template {template!r} has no slot: write {{label}} where the description goes")
        own_names = {name: name for name in self.label_names}
        texts = texts_by_label_name("label_texts", own_names if label_texts is None else label_texts, self.label_names)
        self.descriptions = {name: [template.replace("{label}", text) for text in texts[name]] for name in texts}
        self.label_prompt = label_prompt
        self.temperature = temperature
        self._labels: Tensor | None = None

    def labels(self) -> Tensor:
        """The embedding of each class, float64, shape `(num_classes, dimension)`."""
        if self._labels is None:
            embedder = self.embedder if self.label_prompt is None else self.embedder.with_prompt(self.label_prompt)
            vectors = (embedder.matrix(self.descriptions[name]).astype(np.float64) for name in self.label_names)
            means = [_unit(several).mean(axis=0) for several in vectors]
            self._labels = torch.from_numpy(np.stack(means))
        return self._labels

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities in nats, float64, shape `(batch, num_classes)`."""
        vectors = batch["embeddings"].double()
        return (cosines(vectors, self.labels().to(vectors.device)) / self.temperature).log_softmax(dim=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
