"""What methods on frozen embeddings share: texts become vectors once, and batches carry the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch

import textclf
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.errors import UserError
from textclf.fingerprint import fingerprint
from textclf.models.base import TextClassifier
from textclf.models.settings import build_settings


class EmbeddingClassifier(TextClassifier):
    """A method whose batches are `embeddings`, float32 `(batch, features)`; a subclass defines the rest.

    A text's features are its vector. Those of a pair are both vectors, their absolute difference and their product
    (Conneau et al., 2017, https://arxiv.org/abs/1705.02364).

    The encoder is no part of the module, nor of its checkpoints: they know it by the hash of its weights.
    """

    architecture: ClassVar[tuple[str, ...]] = ("max_length", "embedding")
    encoded_together = 8192  # many texts, so that those of one batch are nearly of one length

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str,
        max_length: int | None,
        embedding: dict[str, Any] | None,
    ) -> None:
        """Takes what each of these methods takes; the encoder is loaded when the first row is encoded.

        Args:
            num_classes: Number of labels.
            label_names: Name of each class.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Tokens of a text that are read; as many as the encoder's own configuration says where null.
            embedding: Any of the names of `EmbeddingSettings`.

        Raises:
            UserError: A value is out of range, or unknown.
        """
        super().__init__(num_classes, label_names)
        if max_length is not None and max_length < 3:
            raise UserError(f"max_length {max_length} is out of range: give 3 or more, or null for the encoder's own")
        self.pretrained, self.max_length = pretrained, max_length
        self.settings = build_settings(EmbeddingSettings, "embedding", embedding or {})
        self._embedder: Embedder | None = None

    @property
    def embedder(self) -> Embedder:
        """The frozen encoder.

        Raises:
            UserError: It cannot be loaded, or is another one than the method was fitted on.
        """
        if self._embedder is None:
            self._embedder = Embedder(self.pretrained, self.max_length, self.settings)
        if self.fitted.get("encoder", self._embedder.weights) != self._embedder.weights:
            raise UserError(
                f"the weights of pretrained {self.pretrained!r} are not those that the checkpoint was trained on: "
                "pass --model.pretrained with the place of the old ones"
            )
        return self._embedder

    def encoding_key(self) -> str:
        """What a vector depends on: the classifier's own arguments are no part of it."""
        return fingerprint([textclf.__version__, "embedded", self.embedder.key])

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Features as bytes of float32, `length` in tokens, and those `cut` off."""
        columns = [self.embedder.embed(rows[name]) for name in ("text", "text_pair") if name in rows]
        return {
            "embedding": [features([one.vector for one in row]).tobytes() for row in zip(*columns, strict=True)],
            "length": [max(1, sum(one.length for one in row)) for row in zip(*columns, strict=True)],
            "cut": [sum(one.cut for one in row) for row in zip(*columns, strict=True)],
        }

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """`embeddings`, float32 `(batch, features)`."""
        content = bytearray(b"".join(rows["embedding"]))
        return {"embeddings": torch.frombuffer(content, dtype=torch.float32).view(len(rows["embedding"]), -1)}


def features(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The features of a text, or of a pair.

    Args:
        vectors: One or two, float32 `(dimension,)`.
    """
    if len(vectors) == 1:
        return vectors[0]
    first, second = vectors
    return np.concatenate([first, second, np.abs(first - second), first * second])
