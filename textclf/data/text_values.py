"""How values become text: one rule for texts, labels and ids, in training, testing, `predict` and `classify`.

- A missing value (None, NaN) is an empty text; as a label, it is missing.
- Numbers, truth values and dates among texts become text: `7`, `1.5`, `true`, `2024-01-01`. A column that holds nothing
  else is refused, since it is not a column of texts.
- Invalid characters (half of an emoji as JSON can escape it, strings of Parquet that are not valid UTF-8) become
  U+FFFD, and one line reports the number of rows. In a file of plain text such bytes are refused with their
  line, since the file may be in another encoding.
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
"""Pattern of a text that is a number, such as `1,000.5` or `20%`."""


def as_text(value: Any) -> str | None:
    """Turns a single value into text.

    Strings stay as they are. Truth values become `true` and `false`, dates and times ISO 8601, other numbers what
    Python writes.

    Args:
        value: The value of a cell, as JSON, Arrow, NumPy or pandas gives it.

    Returns:
        The text; None for a missing value, which NaN is too.

    Raises:
        ValueError: It is not a single value: a list, an object, or bytes.
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
    """Refuses a column of texts that are all numbers, which are text in a CSV file. Empty texts do not count.

    Args:
        texts: The texts of the column; they are read up to the first one that is not a number.
        column: The column, for the message.
        remedy: How to name another column, as an imperative.

    Raises:
        UserError: All are numbers; the message has one of them.
    """
    example = ""
    for text in texts:
        stripped = (text or "").strip()
        if stripped and not re.match(NUMBER, stripped):
            return
        example = example or stripped
    if example:
        raise UserError(f"{column} holds numbers only, such as {example!r}, not text: {remedy}")


def json_value(value: Any) -> Any:
    """Turns a value into one that JSON has.

    NaN becomes null, infinite numbers, dates and the like become text, and bytes Base64; also inside lists and objects.
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
    """Replaces each half of a character (lone surrogate) by U+FFFD; two halves that belong together are joined."""
    if text.isascii() or not SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def mended_values(value: Any) -> Any:
    """Replaces lone surrogates in all strings of a JSON value, names of fields included."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, list):
        return [mended_values(entry) for entry in value]
    if isinstance(value, dict):
        return {mended(name): mended_values(entry) for name, entry in value.items()}
    return value


def mended_column(column: pa.Array) -> pa.Array:
    """Replaces invalid characters in an Arrow column of strings; a column without any is returned itself."""
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        texts = [_decoded(value) for value in column.cast(pa.binary()).to_pylist()]
        return pa.array(texts, column.type)
    return column


def mended_rows(column: pa.Array, valid: pa.Array) -> np.ndarray:
    """Which rows of a column `mended_column` has changed, bool, shape `(rows,)`."""
    import pyarrow as pa

    if valid is column:
        return np.zeros(len(column), dtype=bool)
    before = column.cast(pa.binary()).to_pylist()
    after = valid.cast(pa.binary()).to_pylist()
    return np.array([old != new for old, new in zip(before, after, strict=True)])


def _decoded(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return mended(value.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def say_mended(rows: int, where: str) -> None:
    """Reports the number of rows in which invalid characters were replaced, unless it is 0."""
    if rows:
        number = "1 row" if rows == 1 else f"{rows:,} rows"
        say(f"{where}: invalid characters, such as half of an emoji, in {number} are read as U+FFFD")


def has_single_values(feature: Any) -> bool:
    """Whether the values of a column of a `Dataset` are single ones, which `as_text` takes.

    Args:
        feature: The column's type, as `datasets` describes it.
    """
    from datasets import Value

    return hasattr(feature, "names") or (isinstance(feature, Value) and "binary" not in feature.dtype)


def content_of(feature: Any) -> str:
    """Names the content of a column of a `Dataset`, for messages."""
    kind = str(getattr(feature, "dtype", feature))
    return "lists, objects or bytes" if "binary" in kind else kind


def kind_of(value: Any) -> str:
    """Names the kind of a value that is not a text, for messages."""
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
