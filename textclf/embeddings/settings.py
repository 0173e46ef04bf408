"""Settings of how texts are embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from textclf.errors import UserError, check_range

Pooling = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
DType = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class EmbeddingSettings:
    """How texts are embedded.

    Attributes:
        prompt: Text before each text, such as an instruction; null for the encoder's default prompt.
        prompt_name: Name of one of the encoder's own prompts, instead of `prompt`.
        pooling: How the vectors of tokens become one; null for the encoder's own pooling.
        normalize: Whether vectors are normalised to length 1.
        truncate_dim: Keep only the first dimensions.
        dtype: Precision of the computation; `auto` is bf16 where the hardware has it natively.
        max_batch_tokens: Tokens in a padded batch; null for a default by device. It changes vectors by rounding only,
            and is not part of the cache's key.
    """

    prompt: str | None = None
    prompt_name: str | None = None
    pooling: Pooling | None = None
    normalize: bool = True
    truncate_dim: int | None = None
    dtype: DType = "auto"
    max_batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Checks all values."""
        if self.pooling is not None and self.pooling not in get_args(Pooling):
            self._refuse_unknown("pooling", self.pooling, get_args(Pooling))
        if self.dtype not in get_args(DType):
            self._refuse_unknown("dtype", self.dtype, get_args(DType))
        for name in ("truncate_dim", "max_batch_tokens"):
            value = getattr(self, name)
            valid = value is None or (isinstance(value, int) and value >= 1)
            check_range(f"embedding: {name}", value, valid, "1 or more, or null")
        if self.prompt is not None and self.prompt_name is not None:
            raise UserError(
                f"embedding: prompt_name {self.prompt_name!r} is given together with a prompt: give one of the two"
            )

    def _refuse_unknown(self, name: str, value: str, allowed: tuple[str, ...]) -> None:
        raise UserError(f"embedding: {name} {value!r} is unknown: give one of {', '.join(allowed)}")
