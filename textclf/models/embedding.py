"""Base class of the methods on frozen embeddings: each text is embedded once, and batches hold the vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from textclf.console import say
from textclf.embeddings import Embedder, EmbeddingSettings
from textclf.embeddings.cache import seal, unseal
from textclf.errors import UserError, check_least
from textclf.findings.lengths import Tokenization
from textclf.models.arguments import build_settings
from textclf.models.base import TextClassifier, lowest_precision
from textclf.models.tokenizations import tokenization_with


class EmbeddingClassifier(TextClassifier):
    """A method whose batches are `embeddings`, float32 `(batch, features)`; a subclass defines the rest.

    A text's features are its vector. Those of a pair are both vectors, their absolute difference and their product
    (Conneau et al., 2017, https://arxiv.org/abs/1705.02364).

    The encoder is not part of the module, nor of its checkpoints: they hold hashes of its weights and configuration,
    and its maximum length.

    Attributes:
        pairs: Whether the method takes pairs of texts.
    """

    architecture: ClassVar[tuple[str, ...]] = ("max_length",)
    pairs: ClassVar[bool] = True
    encoded_together = 8192  # enough texts for batches of nearly equal length
    encodes_by_model = True

    def __init__(
        self,
        num_classes: int,
        label_names: Sequence[str],
        pretrained: str,
        max_length: int | None,
        embedding: dict[str, Any] | None,
    ) -> None:
        """Stores the arguments that these methods have in common; the encoder is loaded for the first row.

        Args:
            num_classes: Number of labels.
            label_names: Name of each class.
            pretrained: Hub id, folder, or `package://module/path`.
            max_length: Maximum length of a text in tokens; None for that of the encoder's configuration.
            embedding: Fields of `EmbeddingSettings`.

        Raises:
            UserError: A value is out of range, or unknown.
        """
        super().__init__(num_classes, label_names)
        check_least("max_length", max_length, 3, ", or null for the encoder's own")
        self.pretrained = pretrained
        self.max_length = max_length
        self.settings = build_settings(EmbeddingSettings, "embedding", embedding or {})
        self._embedder: Embedder | None = None

    @property
    def embedder(self) -> Embedder:
        """The frozen encoder.

        Raises:
            UserError: It cannot be loaded, or is not the one that the method was fitted with.
        """
        if self._embedder is None:
            self._embedder = Embedder(self.pretrained, self.max_length, self.settings)
            configuration = self._embedder.configuration
            # A new version of transformers may change the configuration without changing vectors: no error.
            if self.fitted.get("encoder_configuration", configuration) != configuration:
                say(
                    f"pretrained {self.pretrained!r} has another tokenizer or configuration than the checkpoint was "
                    "trained with: scores may differ"
                )
        for name, value in facts(self._embedder).items():
            if name != "encoder_configuration" and self.fitted.get(name, value) != value:
                what = "other weights" if name == "encoder" else "another maximum length"
                raise UserError(
                    f"pretrained {self.pretrained!r} has {what} than the checkpoint was trained with: "
                    "pass --model.pretrained with the place of the old encoder"
                )
        return self._embedder

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Restores a checkpoint; other settings of the embeddings are refused, apart from the batch size."""
        super().restore(checkpoint)
        given = checkpoint["hyper_parameters"].get("embedding") or {}
        settings = asdict(self.settings)
        for name, trained_with in asdict(EmbeddingSettings(**given)).items():
            if name != "max_batch_tokens" and trained_with != settings[name]:
                raise UserError(
                    f"the checkpoint was trained with the {name} {trained_with!r} of embedding, the configuration says "
                    f"{settings[name]!r}: use the config.yaml of the checkpoint's own run"
                )

    def tokenization(self) -> Tokenization:
        """The tokens of the encoder, which reads the two texts of a pair one by one."""
        encoder = self.embedder.model
        return replace(tokenization_with(self.pretrained, encoder.tokenizer, encoder.max_seq_length), separately=True)

    def encoding_facts(self) -> list[Any]:
        """The key of the vectors in the cache."""
        return ["embedded and sealed", self.embedder.key]

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Features as bytes of float32 with a checksum, `length` in tokens, and number of tokens `cut` off.

        Raises:
            UserError: There are pairs of texts, and the method takes single texts.
        """
        if "text_pair" in rows and not self.pairs:
            raise UserError(f"{type(self).__name__} takes single texts: leave text_pair_column out")
        reused_before = self.embedder.reused_texts
        columns = [self.embedder.embed(rows[name]) for name in ("text", "text_pair") if name in rows]
        self.textclf.reused_texts += self.embedder.reused_texts - reused_before
        encoded: dict[str, list[Any]] = {"embedding": [], "length": [], "cut": []}
        for row in zip(*columns, strict=True):  # one or two texts
            encoded["embedding"].append(seal(features([text.vector for text in row]).tobytes()))
            encoded["length"].append(max(1, sum(text.length for text in row)))
            encoded["cut"].append(sum(text.cut for text in row))
        return encoded

    def share_frozen(self, copy: Self) -> None:
        """Shares the encoder."""
        copy._embedder = self._embedder

    def scoring_dtype(self) -> torch.dtype:
        """The precision of the encoder: all that follows it is fp32."""
        return lowest_precision(self.embedder.model.parameters())

    @contextmanager
    def scored_apart(self) -> Iterator[None]:
        """Embeds texts without the cache of vectors."""
        self.embedder.uses_cache = False
        try:
            yield
        finally:
            self.embedder.uses_cache = True

    def frozen_parameters(self) -> int:
        """Those of the encoder."""
        return sum(weight.numel() for weight in self.embedder.model.parameters())

    def for_workers(self) -> Self:
        """A copy without the encoder: a worker that needs it loads its own."""
        light = super().for_workers()
        light._embedder = None
        return light

    @property
    def fitted_features(self) -> int | None:
        """Number of features that it was fitted on; None if it is not fitted."""
        return None

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """`embeddings`, float32 `(batch, features)`; rows that were damaged on disk are embedded again.

        Raises:
            UserError: The rows have two texts and the method was fitted on one, or the other way round.
        """
        contents = [unseal(sealed) for sealed in rows["embedding"]]
        damaged = [i for i, content in enumerate(contents) if content is None]
        if damaged:
            say(f"{len(damaged)} encoded rows are damaged on disk: they are embedded again")
            texts: dict[str, list[Any]] = {}
            for name in ("text", "text_pair"):
                if name in rows:
                    texts[name] = [rows[name][i] for i in damaged]
            for i, sealed in zip(damaged, self.encode(texts)["embedding"], strict=True):
                contents[i] = unseal(sealed)
        buffer = bytearray(b"".join(content for content in contents if content is not None))
        embeddings = torch.frombuffer(buffer, dtype=torch.float32).view(len(contents), -1)
        if self.fitted_features not in (None, embeddings.shape[1]):
            given, fitted = "single texts", "text pairs"
            if "text_pair" in rows:
                given, fitted = fitted, given
            raise UserError(
                f"{type(self).__name__} was fitted on {fitted}, and is given {given}: give rows with the same columns"
            )
        return {"embeddings": embeddings}


def facts(embedder: Embedder) -> dict[str, Any]:
    """The properties by which a checkpoint identifies an encoder; part of `fitted`."""
    return {
        "encoder": embedder.weights,
        "encoder_length": embedder.model.max_seq_length,
        "encoder_configuration": embedder.configuration,
    }


FEATURES_OF_PAIR = 4
"""Number of vectors in the features of a pair."""


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
