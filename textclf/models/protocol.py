"""What scoring of a stream and the check of a checkpoint use of a method: both are below the base class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from textclf.data.contract import Encoder
from textclf.models.state import MethodState


class Classifier(Encoder, Protocol):
    """The part of `TextClassifier` that these modules call; `torch.nn.Module` has the methods without a description."""

    textclf: MethodState
    training: bool
    label_names: tuple[str, ...]
    has_probabilities: bool

    @property
    def device(self) -> torch.device: ...  # noqa: D102

    def train(self, mode: bool = True) -> Self: ...  # noqa: D102

    def eval(self) -> Self: ...  # noqa: D102

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...  # noqa: D102

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves the tensors of a batch, as `LightningModule` does."""
        ...

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """From encoded rows to a batch."""
        ...

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Scores a batch of texts."""
        ...

    def checked_scores(self, batch: dict[str, Any]) -> Tensor:
        """Log-scores of a batch, checked."""
        ...

    def checked_outputs(self, step: str, outputs: Any, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """What a step returned, checked."""
        ...

    @classmethod
    def built_from(cls, checkpoint: Mapping[str, Any]) -> Self:
        """An object that is built from a checkpoint, all but its weights."""
        ...

    def share_frozen(self, copy: Self) -> None:
        """Gives a copy what is frozen and large."""
        ...
