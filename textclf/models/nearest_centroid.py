"""The class whose mean embedding is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.models.arguments import check_temperature
from textclf.models.embedding import EmbeddingClassifier, cosines, facts
from textclf.models.preparation import PreparedClassifier
from textclf.types import Dataset


class NearestCentroid(EmbeddingClassifier, PreparedClassifier):
    """Compares a text's embedding with the mean embedding of each class, fitted in one pass over the train rows.

    For few shots: `--data.shots_per_class k`; `scripts/learning_curve.py` averages over seeds. Scores are a softmax of
    similarities divided by the temperature, on which predictions do not depend. A class without train rows has the
    probability 0.

    Source: Snell et al., 2017, https://arxiv.org/abs/1703.05175, without its training.
    """

    architecture = ("max_length", "metric")

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str = "sentence-transformers/all-mpnet-base-v2",
        max_length: int | None = None,
        embedding: dict[str, Any] | None = None,
        metric: Literal["cosine", "euclidean"] = "cosine",
        temperature: float = 0.05,
    ) -> None:
        """Stores the hyperparameters.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Any encoder of sentence-transformers: hub id, folder, or `package://module/path`.
            max_length: Maximum length of a text in tokens; null for that of the encoder's configuration.
            embedding: How texts are embedded: any of `prompt`, `prompt_name`, `pooling`, `normalize`,
                `truncate_dim`, `dtype`, `max_batch_tokens`.
            metric: Similarity is the cosine of the angle, or minus the squared Euclidean distance.
            temperature: Divisor of similarities in the softmax; smaller values give more confident probabilities.

        Raises:
            UserError: A value is out of range.
        """
        super().__init__(num_classes, label_names, pretrained, max_length, embedding)
        check_temperature(temperature)
        self.metric = metric
        self.temperature = temperature

    def prepare(self, train_rows: Dataset) -> None:
        """Computes the mean embedding of each class, in float64, a part of the rows at a time."""
        counts = np.zeros(self.num_classes, dtype=np.int64)
        sums: np.ndarray | None = None
        for rows in train_rows.iter(batch_size=self.encoded_together):
            vectors = self.collate(self.encode(rows))["embeddings"].double().numpy()
            if sums is None:
                sums = np.zeros((self.num_classes, vectors.shape[1]))
            np.add.at(sums, rows["label"], vectors)
            counts += np.bincount(rows["label"], minlength=self.num_classes)
        assert sums is not None
        centroids = torch.from_numpy(sums / np.maximum(counts, 1)[:, None])
        self.fitted = {**facts(self.embedder), "class_counts": counts.tolist(), "centroids": centroids}

    @property
    def fitted_features(self) -> int | None:
        """Number of features of a centroid; None before it is fitted."""
        if not self.fitted:
            return None
        return int(self.fitted["centroids"].shape[1])

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities in nats, float64, shape `(batch, num_classes)`.

        Raises:
            UserError: It is not fitted.
        """
        if not self.fitted:
            raise UserError(f"{type(self).__name__} is not fitted: run `fit` first, or load a checkpoint")
        vectors = batch["embeddings"].double()
        centroids = self.fitted["centroids"].to(vectors.device)
        if self.metric == "cosine":
            similarities = cosines(vectors, centroids)
        else:
            similarities = -torch.cdist(vectors, centroids).square()
        absent = torch.tensor(self.fitted["class_counts"], device=vectors.device) == 0
        return (similarities / self.temperature).masked_fill(absent, -torch.inf).log_softmax(dim=1)
