"""The class whose description is most similar to the text: nothing is trained."""

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

    A class with several descriptions is represented by the mean of their embeddings, each normalised to length 1.
    Scores are a softmax of the similarities divided by the temperature: they are calibrated only as far as the
    temperature is, and predictions do not depend on it.

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
        """Stores the hyperparameters and the descriptions.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Any encoder of sentence-transformers: hub id, folder, or `package://module/path`.
            max_length: Maximum length of a text in tokens; null for that of the encoder's configuration.
            embedding: How texts are embedded: any of `prompt`, `prompt_name`, `pooling`, `normalize`,
                `truncate_dim`, `dtype`, `max_batch_tokens`.
            label_texts: One or several descriptions of each label, by its name; null for the names themselves.
            template: Text around each description, which replaces `{label}`.
            label_prompt: Prompt before each description, if it differs from the prompt before the texts.
            temperature: Divisor of cosines in the softmax; smaller values give more confident probabilities.

        Raises:
            UserError: A label has no description, a description's name is not a label, or a value is out of range.
        """
        super().__init__(num_classes, label_names, pretrained, max_length, embedding)
        check_temperature(temperature)
        if "{label}" not in template:
            raise UserError(f"template {template!r} has no slot: write {{label}} where the description goes")
        if label_texts is None:
            label_texts = {name: name for name in self.label_names}
        texts = texts_by_label_name("label_texts", label_texts, self.label_names)
        self.descriptions: dict[str, list[str]] = {}
        for name, label_descriptions in texts.items():
            self.descriptions[name] = [template.replace("{label}", text) for text in label_descriptions]
        self.label_prompt = label_prompt
        self.temperature = temperature
        self._labels: Tensor | None = None

    def labels(self) -> Tensor:
        """The embedding of each class, float64, shape `(num_classes, dimension)`."""
        if self._labels is None:
            embedder = self.embedder
            if self.label_prompt is not None:
                embedder = embedder.with_prompt(self.label_prompt)
            means = []
            for name in self.label_names:
                vectors = embedder.matrix(self.descriptions[name]).astype(np.float64)
                means.append(_normalized(vectors).mean(axis=0))
            self._labels = torch.from_numpy(np.stack(means))
        return self._labels

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities in nats, float64, shape `(batch, num_classes)`."""
        vectors = batch["embeddings"].double()
        similarities = cosines(vectors, self.labels().to(vectors.device))
        return (similarities / self.temperature).log_softmax(dim=1)


def _normalized(vectors: np.ndarray) -> np.ndarray:
    normalized: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalized
