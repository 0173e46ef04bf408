"""The contract between a data module and a method: what the data module calls, and checks of what it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from textclf.data.text_values import article_and_type
from textclf.errors import UserError
from textclf.types import Dataset

TEXTS = ("text", "text_pair")
OWN_COLUMNS = ("id", *TEXTS, "row", "label", "labels", "filler")
"""Columns that rows have themselves, so that `encode` must not give them."""
OWN_KEYS = ("id", "row", "label", "labels", "filler", "given", "kept", "carried")
"""What is added to each batch, so that `collate` must not give it."""
NUMBERS = (int, float)
"""Types that one column may mix."""


# What a data module calls


@dataclass(frozen=True)
class ExampleRequest:
    """A request for labelled rows, by a method that is not trained; see `Method.example_request`.

    Attributes:
        shots: Number of examples in its prompts, drawn evenly over the classes.
        seed: Seed of the draw.
        fit: Whether the method cannot score without rows to fit a few numbers to. Where False, it is given such rows
            only if that takes no row out of the test split.
        all_rows: Whether the method chooses its examples itself, from all train rows.
    """

    shots: int
    seed: int
    fit: bool
    all_rows: bool = False


class MethodRecord(Protocol):
    """What a data module reads and sets of the record that the package keeps of a method.

    Attributes:
        restored: Whether the method's state comes from a checkpoint.
        train_rows: Number of labelled rows that it was trained on.
        train_seed: The seed of its training.
        text_steps: Cleaning steps that changed the texts it was trained on.
        encoding_seconds: Seconds that encoding each split took in this run; None where vectors were kept from an
            earlier one.
        reused_texts: Number of texts whose vectors were read from a cache.
    """

    restored: bool
    train_rows: int | None
    train_seed: int | None
    text_steps: Sequence[Any]
    encoding_seconds: dict[str, float | None]
    reused_texts: int


class Encoder(Protocol):
    """The part of a method that encodes texts."""

    def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """From columns of texts to new columns, `length` among them."""


class Method(Encoder, Protocol):
    """What a data module needs of a method; `textclf.models.base.TextClassifier` provides it.

    In `fit` the calls are: `prepare` once with the train rows, `encode` for each split, `collate` for each batch. A
    method without training is asked for its examples (`example_request`, `set_examples`) instead of being prepared.

    Attributes:
        encoded_together: Rows that `encode` is given at once, at most.
        encodes_by_model: Whether `encode` runs a model, so that its time is part of the time of scoring.
        fitted: What `prepare` found; a dictionary of plain values.
    """

    encoded_together: ClassVar[int]
    encodes_by_model: ClassVar[bool]
    fitted: Any

    @property
    def label_names(self) -> Sequence[str]:
        """Name of each class, in the order of the method's indices."""

    @property
    def textclf(self) -> MethodRecord:
        """The record that the package keeps of the method."""

    @property
    def trains_by_batches(self) -> bool:
        """Whether it learns from each batch of `fit`."""

    def prepare(self, train_rows: Dataset) -> None:
        """Fits what must be known before rows can be encoded, and puts it into `fitted`."""

    def example_request(self) -> ExampleRequest | None:
        """Requests labelled rows; None where it needs none."""

    def set_examples(self, shown: Dataset | None, fit: Dataset | None, of_test: bool = False) -> None:
        """Takes the requested rows."""

    def encoding_key(self) -> str:
        """A hash of all that `encode` depends on."""

    def collate(self, rows: dict[str, list[Any]]) -> dict[str, Any]:
        """From encoded rows to a batch."""

    def for_workers(self) -> Method:
        """A copy without weights that can `collate`, for worker processes."""


# Checks of encoded rows


def encoded(model: Encoder, rows: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Calls the `encode` of a method, and checks its result.

    Args:
        model: The method.
        rows: Columns of rows; `encode` gets those of texts, and cannot change them.

    Returns:
        New columns as lists; arrays and tensors in them are lists, too.

    Raises:
        UserError: `encode` does not give columns with one entry for each row, and a `length`; the message names it.
    """
    texts = {name: list(rows[name]) for name in TEXTS if name in rows}
    size = len(texts["text"])
    gave = f"{type(model).__name__}.encode gave"
    columns = model.encode({name: list(values) for name, values in texts.items()})
    if not isinstance(columns, Mapping):
        raise UserError(
            f"{gave} {article_and_type(columns)}: wanted a dictionary of columns with one entry per row, `length` "
            "among them"
        )
    for name in columns:
        if not isinstance(name, str) or name in OWN_COLUMNS:
            raise UserError(
                f"{gave} a column {name!r}: wanted new columns, with names other than {_quoted(OWN_COLUMNS)}"
            )
    found = {name: _column(values, f"{gave} {name!r}", size) for name, values in columns.items()}
    if "length" not in found:
        raise UserError(f"{gave} {_quoted(found) or 'no columns'}, and no 'length': wanted a whole number for each row")
    _check_whole(found["length"], texts["text"], f"{gave} 'length'", least=1)
    _check_whole(found.get("cut", []), texts["text"], f"{gave} 'cut'", least=0)
    return found


def _column(values: Any, gave: str, size: int) -> list[Any]:
    """A column as a list of plain entries; `gave` names it in messages."""
    if isinstance(values, Tensor | np.ndarray):
        values = plain_list(values)
    elif hasattr(values, "to_pylist"):
        values = values.to_pylist()
    given = _number_of_entries(values)
    if given is None:
        raise UserError(f"{gave} as {article_and_type(values)}: wanted a list with one entry per row")
    if given != size:
        raise UserError(f"{gave} with {given} entries for {size} rows: wanted one entry per row")
    entries = [_entry(value, gave) for value in values]
    kinds = {_kind(entry) for entry in entries if entry is not None}
    if len(kinds) > 1:
        raise UserError(f"{gave} with entries of types {' and '.join(sorted(kinds))}: wanted entries of one type")
    return entries


def _number_of_entries(values: Any) -> int | None:
    """The length of a column; None where the value is not a column."""
    if isinstance(values, str | bytes | Mapping | set):
        return None
    try:
        return len(values)
    except TypeError:  # a generator, or a sparse matrix, whose length is ambiguous
        return None


def _kind(entry: Any) -> str:
    return "number" if type(entry) in NUMBERS else type(entry).__name__


def _entry(value: Any, gave: str) -> Any:
    """One entry, such as the token ids of a row, in plain Python."""
    if value is None or type(value) in (int, float, str, bool, bytes):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return plain_list(value)
    if isinstance(value, list | tuple):
        # Only the first part is looked at: a list of token ids is not copied, which would slow encoding down.
        if value and type(value[0]) not in (int, float, str, bool):
            return [_entry(part, gave) for part in value]
        return value if isinstance(value, list) else list(value)
    if isinstance(value, Mapping):
        return {str(name): _entry(part, gave) for name, part in value.items()}
    raise UserError(f"{gave} with {article_and_type(value)}: wanted numbers, strings, lists, dictionaries, arrays")


def plain_list(value: Any) -> Any:
    """The numbers of an array or tensor, in lists; those of an array without dimensions as a number."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
    return value.tolist()


def _check_whole(numbers: list[Any], texts: list[str], gave: str, least: int) -> None:
    for number, text in zip(numbers, texts, strict=False):
        if type(number) is int and number >= least:
            continue
        kind = "" if type(number) is int or number is None else f", a {type(number).__name__},"
        raise UserError(f"{gave} {number!r}{kind} for the text {text[:40]!r}: wanted a whole number, {least} or more")


# Checks of batches


def batch_of(collate: Callable[[dict[str, Any]], Any], rows: Mapping[str, Any]) -> dict[str, Any]:
    """Calls the `collate` of a method, and checks its result.

    Args:
        collate: The bound method.
        rows: Columns of encoded rows.

    Raises:
        UserError: It is not a dictionary, or has a key of those that every batch gets.
    """
    gave = f"{type(getattr(collate, '__self__', collate)).__name__}.collate gave"
    batch = collate(dict(rows))
    if not isinstance(batch, Mapping):
        raise UserError(f"{gave} {article_and_type(batch)}: wanted a dictionary, such as of tensors by name")
    for name in batch:
        if name in OWN_KEYS:
            raise UserError(
                f"{gave} {name!r}, which is added to each batch: wanted other keys than {_quoted(OWN_KEYS)}"
            )
    return dict(batch)


def _quoted(names: Any) -> str:
    return ", ".join(map(repr, names))
