"""How a value of a file becomes text: the one rule for texts, labels and ids, in training and in prediction alike."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


def as_text(value: Any) -> str | None:
    """Gives a single value as text.

    Strings stay as they are. Truth values become `true` and `false`, dates and times ISO 8601, other numbers what
    Python writes.

    Args:
        value: Of one cell, as JSON or Arrow gives it.

    Returns:
        The text; None for a missing value, which NaN is too.

    Raises:
        ValueError: It is no single value: a list, an object, or bytes.
    """
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (int, Decimal, timedelta)):
        return str(value)
    raise ValueError(f"{kind_of(value)}, not a text")


def has_single_values(feature: Any) -> bool:
    """Whether the values of a column of a `Dataset` can be text, as `as_text` has it.

    Args:
        feature: The column's type, as `datasets` describes it.
    """
    from datasets import Value

    return hasattr(feature, "names") or (isinstance(feature, Value) and "binary" not in feature.dtype)


def content_of(feature: Any) -> str:
    """Names what a column of a `Dataset` holds, for messages."""
    kind = str(getattr(feature, "dtype", feature))
    return "lists, objects or bytes" if "binary" in kind else kind


def kind_of(value: Any) -> str:
    """Names what a value is that is no text, for messages."""
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, bytes):
        return "bytes"
    return f"of type {type(value).__name__}"
