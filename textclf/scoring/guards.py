"""What holds for every pass over a model, whichever way it is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from textclf.errors import UserError
from textclf.types import PreTrainedConfig, PreTrainedModel


def context_length(model: PreTrainedModel | PreTrainedConfig) -> int | None:
    """Number of tokens that a model, or one of its configuration, can take; None where it has no limit."""
    whole: Any = getattr(model, "config", model)
    config = whole.get_text_config(decoder=True)
    sizes = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len", "n_positions"))
    return next((int(size) for size in sizes if size), None)


def check_prompts(rows: Sequence[list[int]], prompts: Sequence[str], behind: int, limit: int | None) -> None:
    """Refuses prompts that cannot be scored.

    Args:
        rows: Tokens of each prompt.
        prompts: The prompts themselves.
        behind: Most tokens of a label that are run behind a prompt.
        limit: The model's context.

    Raises:
        UserError: A prompt has no token, or does not fit with the label behind it.
    """
    for number, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        if not row:
            raise UserError(
                f"prompt {number} ({prompt[:40]!r}) has no tokens, and no BOS is put before it: "
                f"the first label token has nothing to follow; write a BOS or a text"
            )
        if limit is not None and len(row) + behind > limit:
            raise UserError(
                f"prompt {number} ({prompt[:40]!r}) has {len(row)} tokens; with {behind} of a label behind them that "
                f"is beyond the model's context of {limit}: shorten its text"
            )


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Switches dropout off, and back on for whoever trains the model."""
    training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(training)
