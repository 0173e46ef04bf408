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

    Few shots: `--data.shots_per_class k`; `scripts/learning_curve.py` averages seeds. Scores are a softmax of
    similarities over the temperature; the answer does not depend on it. A class without train rows has the
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
        """Takes the recipe.

        Args:
            num_classes: Number of labels, linked from the data.
            label_names: Name of each class, linked from the data.
            pretrained: Any encoder of sentence-transformers: hub id, folder, or `package://module/path`.
            max_length: Tokens of a text that are read; as many as the encoder's own configuration says where null.
            embedding: How texts become vectors: any of `prompt`, `prompt_name`, `pooling`, `normalize`,
                `truncate_dim`, `dtype`, `max_batch_tokens`.
            metric: Similarity is the cosine of the angle, or minus the squared Euclidean distance.
            temperature: What similarities are divided by before the softmax; smaller is surer.

        Raises:
            UserError: A value is out of range.
        """
        super().__init__(num_classes, label_names, pretrained, max_length, embedding)
        check_temperature(temperature)
        self.metric = metric
        self.temperature = temperature

    def prepare(self, train_rows: Dataset) -> None:
        """Takes the mean of each class, in float64; rows are read a part at a time."""
        counts = np.zeros(self.num_classes, dtype=np.int64)
        sums: np.ndarray | None = None
        for rows in train_rows.iter(batch_size=self.encoded_together):
            vectors = self.collate(self.encode(rows))["embeddings"].double().numpy()
            sums = np.zeros((self.num_classes, vectors.shape[1])) if sums is None else sums
            np.add.at(sums, rows["label"], vectors)
            counts += np.bincount(rows["label"], minlength=self.num_classes)
        assert sums is not None
        centroids = torch.from_numpy(sums / np.maximum(counts, 1)[:, None])
        self.fitted = {**facts(self.embedder), "class_counts": counts.tolist(), "centroids": centroids}

    @property
    def fitted_features(self) -> int | None:
        """Number of features of a centroid; None where there are none yet."""
        return self.fitted["centroids"].shape[1] if self.fitted else None

    def log_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities in nats, float64, shape `(batch, num_classes)`.

        Raises:
            UserError: Nothing is fitted yet.
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
