"""Rules of `encode` and `collate`: pure, the same in worker processes, and distinguished by the key of cached rows."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from copy import copy, deepcopy
from inspect import signature
from typing import Any, Literal, get_args, get_origin, get_type_hints

from textclf.conformance.comparison import is_same
from textclf.conformance.subject import TEXTS, NotCheckable, is_local, name_of, seeded
from textclf.data.batching import Collator
from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.models.checkpoint import accepted

TEXT_COLUMNS = {"text": list(TEXTS)}


def encoding(model: TextClassifier) -> None:
    """Checks that `encode` is a pure function of the texts.

    Raises:
        UserError: It changes the rows, depends on the random state, or depends on what it encoded before.
    """
    rows = deepcopy(TEXT_COLUMNS)
    with seeded(1):
        first = dict(model.encode(rows))
    if rows != TEXT_COLUMNS:
        raise UserError(f"{name_of(model)}.encode changed the rows that it was given: return new lists")
    with seeded(2):
        second = dict(model.encode(deepcopy(TEXT_COLUMNS)))
    for name in first.keys() | second.keys():
        if not is_same(first.get(name), second.get(name)):
            raise UserError(
                f"{name_of(model)}.encode gave other values of {name!r} for the same texts the second time: its result "
                "is kept on disk, so it must depend on the texts alone, not on random numbers or on earlier calls"
            )


def collating(model: TextClassifier) -> None:
    """Checks that `collate` leaves its rows as they are, and gives the same batch for the same rows in evaluation.

    Raises:
        UserError: It does not.
    """
    rows = encoded_texts(model)
    given = deepcopy(rows)
    with seeded(1):
        first = model.collate(rows)
    if not is_same(rows, given):
        raise UserError(f"{name_of(model)}.collate changed the rows that it was given: make new lists and tensors")
    with seeded(2):
        second = model.collate(given)
    if not is_same(first, second):
        raise UserError(
            f"{name_of(model)}.collate gave another batch for the same rows the second time: a test would not give the "
            "same figures twice; draw random numbers in training_step"
        )


def workers(model: TextClassifier) -> None:
    """Checks that worker processes can be sent what collates batches.

    Raises:
        NotCheckable: The class is not at the top of a module.
        UserError: They cannot, or would make other batches than this process.
    """
    if is_local(type(model)):
        raise NotCheckable(f"{type(model).__qualname__} is defined inside a function, so it cannot be pickled")
    rows = encoded_texts(model) | {"id": list(TEXTS), "row": list(range(len(TEXTS))), "filler": False}
    try:
        sent = pickle.dumps(Collator(model.for_workers().collate))
    except Exception as error:  # objects raise errors of many kinds when they are pickled
        raise UserError(
            f"{name_of(model)}.for_workers gave a copy that cannot be pickled ({str(error).splitlines()[0]}): leave "
            "the object out there, or make it on first use"
        ) from error
    if not is_same(pickle.loads(sent)(rows), Collator(model.collate)(rows)):
        raise UserError(f"{name_of(model)}.collate gave another batch in a worker process: it may not use weights")


def encoded_texts(model: TextClassifier) -> dict[str, list[Any]]:
    """The texts of the test rows, with the columns that `encode` adds."""
    return {**deepcopy(TEXT_COLUMNS), **model.encode(deepcopy(TEXT_COLUMNS))}


def encoding_key(model: TextClassifier) -> None:
    """Checks that the key of cached rows changes with each argument that changes what `encode` gives.

    Raises:
        UserError: It stays the same.
    """
    expected = model.encode(deepcopy(TEXT_COLUMNS))
    for name, value, other in _other_objects(model):
        try:
            found = other.encode(deepcopy(TEXT_COLUMNS))
        except Exception:  # the argument does not fit the others
            continue
        encodes_differently = not is_same(dict(expected), dict(found))
        if encodes_differently and other.encoding_key() == model.encoding_key():
            raise UserError(
                f"{name_of(model)}.encoding_key gave the same key with {name} {value!r}, which changes what encode "
                f"gives: wanted {name} in the key, or no encoding_key of its own"
            )

    # A subclass that overrides `encode`. It must count as a class of another package: the package's own classes are
    # known not to change what they inherit.
    kind: Any = type(model)

    class WithOwnEncode(kind):  # type: ignore[misc]  # its base is known at run time only
        def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return super().encode(rows)  # type: ignore[no-any-return]

    WithOwnEncode.__module__ = "subclass"
    WithOwnEncode.__name__ = kind.__name__  # for messages
    subclass = copy(model)
    subclass.__class__ = WithOwnEncode
    if subclass.encoding_key() == model.encoding_key():
        raise UserError(
            f"{name_of(model)}.encoding_key gave the key of the class to a subclass that overrides encode: wanted "
            "another one, or the cached rows of one class are read by the other"
        )


def _other_objects(model: TextClassifier) -> Iterator[tuple[str, Any, TextClassifier]]:
    """Objects that differ from a prepared one in one argument, with what was fitted shared."""
    try:
        hints = get_type_hints(type(model).__init__)
    except NameError:  # annotations of names that are imported for type checkers alone
        hints = {}
    for name in signature(type(model)).parameters:
        if name in ("num_classes", "label_names") or name not in model.hparams:
            continue
        for value in _other_values(model.hparams[name], hints.get(name)):
            try:
                other = type(model)(**{**accepted(type(model), model.hparams), name: value})
                other.fitted = model.fitted
            except Exception:  # it is not allowed
                continue
            yield name, value, other


def _other_values(value: Any, hint: Any) -> list[Any]:
    """A few other values that an argument may have."""
    kinds = [hint, *get_args(hint)]
    for kind in kinds:
        if get_origin(kind) is Literal:
            return [choice for choice in get_args(kind) if choice != value]
    if isinstance(value, bool) or bool in kinds:
        return [not value]
    if isinstance(value, int) or int in kinds:
        return sorted({1, 3, 2 * (value or 4), (value or 4) + 1} - {value})
    if isinstance(value, float) or float in kinds:
        return [value / 2, 1 - value] if value else [0.5]
    return []
