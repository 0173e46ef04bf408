"""How a value becomes text: the one rule for texts, labels and ids, in training, testing, `predict` and `classify`.

- A missing value (None, NaN) is an empty text; as a label, it is missing.
- Numbers, truth values and dates among texts become text: `7`, `1.5`, `true`, `2024-01-01`. A column that holds nothing
  else is refused, since it is not the column of texts.
- Invalid characters (half of an emoji as JSON can escape it, strings of Parquet that are no UTF-8) become U+FFFD, and
  one line says in how many rows. In a file of plain text such bytes are refused with their line, since they may as well
  be another encoding.
- Lists, objects and bytes are refused, with their row.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from textclf.console import say
from textclf.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SURROGATE = re.compile("[\ud800-\udfff]")
NUMBER = r"^[-+]?[0-9.,]*[0-9][0-9.,]*([eE][-+]?[0-9]+)?%?$"
"""A text that is a number, as people write them."""


def as_text(value: Any) -> str | None:
    """Gives a single value as text.

    Strings stay as they are. Truth values become `true` and `false`, dates and times ISO 8601, other numbers what
    Python writes.

    Args:
        value: Of one cell, as JSON, Arrow, NumPy or pandas gives it.

    Returns:
        The text; None for a missing value, which NaN is too.

    Raises:
        ValueError: It is no single value: a list, an object, or bytes.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # those of pandas
        return None
    if isinstance(value, (float, Decimal)) and value != value:  # NaN
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (int, float, Decimal, timedelta)):
        return str(value)
    raise ValueError(f"{kind_of(value)}, not a text")


def refuse_numbers(texts: Iterable[str | None], column: str, remedy: str) -> None:
    """Refuses a column of texts that are all numbers: in a CSV file those are text too. Empty ones do not count.

    Args:
        texts: Its texts; they are read up to the first one that is no number.
        column: Names it in the message.
        remedy: How to name another column, as an imperative.

    Raises:
        UserError: They are; the message has one of them.
    """
    example = ""
    for text in texts:
        stripped = (text or "").strip()
        if stripped and not re.match(NUMBER, stripped):
            return
        example = example or stripped
    if example:
        raise UserError(f"{column} holds numbers only, such as {example!r}, no text: {remedy}")


def json_value(value: Any) -> Any:
    """Gives a value as JSON has it.

    NaN is null. Infinite numbers, dates and the like are text, bytes are Base64; so also inside lists and objects.
    """
    if isinstance(value, Mapping):
        return {str(name): json_value(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(entry) for entry in value]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    try:
        return as_text(value)
    except ValueError:  # of a type of its own, such as a UUID
        return str(value)


def mended(text: str) -> str:
    """Puts U+FFFD for each half of a character (lone surrogate); two halves that belong together are joined."""
    if text.isascii() or not SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mended_values(value: Any) -> Any:
    """Mends all strings in a value of JSON, names of fields included."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, list):
        return [mended_values(entry) for entry in value]
    if isinstance(value, dict):
        return {mended(name): mended_values(entry) for name, entry in value.items()}
    return value


def mended_column(column: pa.Array) -> pa.Array:
    """Mends a column of Arrow whose strings are not all UTF-8; any other column is given back itself."""
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        values = column.cast(pa.binary()).to_pylist()
        return pa.array([None if value is None else _decoded(value) for value in values], column.type)
    return column


def mended_rows(column: pa.Array, valid: pa.Array) -> np.ndarray:
    """Which rows of a column `mended_column` has changed, bool, shape `(rows,)`."""
    import pyarrow as pa

    if valid is column:
        return np.zeros(len(column), dtype=bool)
    pairs = zip(column.cast(pa.binary()).to_pylist(), valid.cast(pa.binary()).to_pylist(), strict=True)
    return np.array([before != after for before, after in pairs])


def _decoded(value: bytes) -> str:
    try:
        return mended(value.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def say_mended(rows: int, where: str) -> None:
    """Says in how many rows characters were mended; nothing if in none."""
    if rows:
        number = "1 row" if rows == 1 else f"{rows:,} rows"
        say(f"{where}: invalid characters, such as half of an emoji, in {number} are read as U+FFFD")


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


def article_and_type(value: Any) -> str:
    """Names the type of a value with its article, for messages: `a list`, `an OrderedDict`."""
    if value is None:
        return "None"
    name = type(value).__name__
    article = "an" if name[0] in "AEIOUaeio" else "a"
    return f"{article} {name}"
