"""What methods on frozen embeddings share: texts become vectors once, and batches carry the vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from textclf.console import say
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.embeddings.cache import seal, unseal
from textclf.errors import UserError, check_least
from textclf.models.arguments import build_settings
from textclf.models.base import TextClassifier


class EmbeddingClassifier(TextClassifier):
    """A method whose batches are `embeddings`, float32 `(batch, features)`; a subclass defines the rest.

    A text's features are its vector. Those of a pair are both vectors, their absolute difference and their product
    (Conneau et al., 2017, https://arxiv.org/abs/1705.02364).

    The encoder is no part of the module, nor of its checkpoints: they know it by the hash of its weights, of its
    configuration, and by the length that it reads.

    Attributes:
        pairs: Whether it takes pairs of texts.
    """

    architecture: ClassVar[tuple[str, ...]] = ("max_length",)
    pairs: ClassVar[bool] = True
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
        check_least("max_length", max_length, 3, ", or null for the encoder's own")
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
            found = self._embedder.configuration
            if self.fitted.get("encoder_configuration", found) != found:  # a new version of transformers may do that
                say(
                    f"pretrained {self.pretrained!r} has another tokenizer or configuration than the checkpoint was "
                    "trained with: scores may differ"
                )
        for name, value in facts(self._embedder).items():
            if name != "encoder_configuration" and self.fitted.get(name, value) != value:
                what = {"encoder": "other weights", "encoder_length": "another maximum length"}[name]
                raise UserError(
                    f"pretrained {self.pretrained!r} has {what} than the checkpoint was trained with: "
                    "pass --model.pretrained with the place of the old encoder"
                )
        return self._embedder

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuses other settings of the vectors, too; the size of a batch is none of them."""
        super().restore(checkpoint)
        given = checkpoint["hyper_parameters"].get("embedding") or {}
        theirs, ours = (replace(s, max_batch_tokens=None) for s in (EmbeddingSettings(**given), self.settings))
        for name, value in asdict(theirs).items():
            if value != getattr(ours, name):
                raise UserError(
                    f"the checkpoint was trained with the {name} {value!r} of embedding, the configuration says "
                    f"{getattr(ours, name)!r}: use the config.yaml of the checkpoint's own run"
                )

    def encoding_facts(self) -> list[Any]:
        """What a vector depends on."""
        return ["embedded and sealed", self.embedder.key]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Features as bytes of float32 with a checksum, `length` in tokens, and those `cut` off.

        Raises:
            UserError: There are pairs, and it takes none.
        """
        if "text_pair" in rows and not self.pairs:
            raise UserError(f"{type(self).__name__} takes single texts: leave text_pair_column out")
        columns = [self.embedder.embed(rows[name]) for name in ("text", "text_pair") if name in rows]
        return {
            "embedding": [seal(features([one.vector for one in row]).tobytes()) for row in zip(*columns, strict=True)],
            "length": [max(1, sum(one.length for one in row)) for row in zip(*columns, strict=True)],
            "cut": [sum(one.cut for one in row) for row in zip(*columns, strict=True)],
        }

    def share_frozen(self, copy: Self) -> None:
        """The encoder."""
        copy._embedder = self._embedder

    def for_workers(self) -> Self:
        """Leaves the encoder out: a worker that needs it loads its own."""
        light = super().for_workers()
        light._embedder = None
        return light

    @property
    def fitted_features(self) -> int | None:
        """Number of features that it was fitted on; None where it is not fitted."""
        return None

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """`embeddings`, float32 `(batch, features)`; what was damaged on disk is embedded again.

        Raises:
            UserError: The rows have two texts and the method was fitted on one, or the other way round.
        """
        found = [unseal(sealed) for sealed in rows["embedding"]]
        if damaged := [place for place, content in enumerate(found) if content is None]:
            say(f"{len(damaged)} encoded rows are damaged on disk: they are embedded again")
            texts: dict[str, list[Any]] = {
                name: [rows[name][i] for i in damaged] for name in ("text", "text_pair") if name in rows
            }
            for place, sealed in zip(damaged, self.encode(texts)["embedding"], strict=True):
                found[place] = unseal(sealed)
        content = bytearray(b"".join(part for part in found if part is not None))
        embeddings = torch.frombuffer(content, dtype=torch.float32).view(len(found), -1)
        if self.fitted_features not in (None, embeddings.shape[1]):
            given, fitted = ("text pairs", "single texts") if "text_pair" in rows else ("single texts", "text pairs")
            raise UserError(
                f"{type(self).__name__} was fitted on {fitted}, and is given {given}: give rows with the same columns"
            )
        return {"embeddings": embeddings}


def facts(embedder: Embedder) -> dict[str, Any]:
    """What a checkpoint knows an encoder by; part of `fitted`."""
    return {
        "encoder": embedder.weights,
        "encoder_length": embedder.model.max_seq_length,
        "encoder_configuration": embedder.configuration,
    }


def features(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The features of a text, or of a pair.

    Args:
        vectors: One or two, float32 `(dimension,)`.
    """
    if len(vectors) == 1:
        return vectors[0]
    first, second = vectors
    return np.concatenate([first, second, np.abs(first - second), first * second])


def cosines(vectors: Tensor, others: Tensor) -> Tensor:
    """Cosines of the angles between two sets of vectors.

    Args:
        vectors: Shape `(batch, dimension)`.
        others: Shape `(others, dimension)`.

    Returns:
        Shape `(batch, others)`.
    """
    return nn.functional.normalize(vectors, dim=1) @ nn.functional.normalize(others, dim=1).T
