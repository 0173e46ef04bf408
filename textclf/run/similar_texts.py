"""Near repeats by the embeddings of the configured method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textclf.errors import UserError
from textclf.findings.finding import Finding
from textclf.findings.near_repeats import find_similar
from textclf.findings.repeats import KeyedSplit
from textclf.models.base import TextClassifier
from textclf.models.embedding import EmbeddingClassifier

MOST_ROWS = 50_000
"""Maximum number of rows whose embeddings are compared: the time grows with its square."""


def check_embeds(model: TextClassifier | None) -> EmbeddingClassifier:
    """Refuses a method without embeddings.

    Args:
        model: The configured method; None if there is none.

    Raises:
        UserError: It has no embeddings.
    """
    if isinstance(model, EmbeddingClassifier):
        return model
    named = "no method is configured" if model is None else f"{type(model).__name__} has none"
    raise UserError(
        f"similar texts are found by embeddings, and {named}: add --config configs/model/linear_probe.yaml, with "
        "--model.pretrained for another encoder"
    )


def find_similar_texts(model: EmbeddingClassifier, splits: Sequence[KeyedSplit]) -> list[Finding]:
    """Finds texts with similar embeddings, which are read from the cache where they are in it.

    The similarity of two rows with two texts each is the mean of both.

    Args:
        model: The method whose encoder embeds the texts.
        splits: What `textclf.findings.repeats.key_splits` gives.

    Raises:
        UserError: There are too many rows, or the encoder cannot be loaded.
    """
    size = sum(len(split.split) for split in splits)
    if size > MOST_ROWS:
        raise UserError(
            f"the embeddings of {size:,} rows would be compared, {MOST_ROWS:,} at most: pass --data.limit "
            "'{train: 40000}', for example"
        )
    parts = [_embedded(model, split) for split in splits]
    return find_similar(splits, np.concatenate(parts)) if parts else []


def _embedded(model: EmbeddingClassifier, split: KeyedSplit) -> np.ndarray:
    """The vectors of the rows of a split, those of both texts side by side, shape `(rows, size)`."""
    columns = []
    for column in split.split.text_columns:
        texts = [text for window in split.split.windows(column) for text in window]
        vectors = model.embedder.matrix(texts)
        columns.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
    joined: np.ndarray = np.concatenate(columns, axis=1)
    return joined
