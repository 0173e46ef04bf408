"""Plain values: what checkpoints and configurations can hold, since reading it runs no code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import PurePath
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from textclf.errors import UserError


def plain(value: Any) -> Any:
    """Reduces options to numbers, strings, lists and dictionaries; any other object becomes its `str`."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def plain_state(value: Any, where: str) -> Any:
    """Reduces fitted state to numbers, strings, bytes, None, tensors, and lists and dictionaries of them.

    NumPy arrays become tensors, NumPy scalars numbers, and tuples and other sequences lists. An object that is plain
    already is returned as it is, without a copy.

    Args:
        value: The fitted state of a method or a calibrator.
        where: What the value is called in an error, such as `KNN.prepare: fitted`.

    Raises:
        UserError: It has a value of another type; the message names the type and the place.
    """
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, Tensor):
        return _plain_tensor(value, where)
    if isinstance(value, np.ndarray):
        return _tensor_of_array(value, where)
    if isinstance(value, np.generic):
        number = value.item()
        if type(number) is type(value):  # a scalar that Python has no type for, such as a longdouble
            _refuse(value, where)
        return plain_state(number, where)
    if isinstance(value, dict):
        return _plain_dictionary(value, where)
    if isinstance(value, list) or type(value) is tuple:
        return _plain_list(value, where)
    if isinstance(value, Sequence) and not isinstance(value, str | tuple):  # such as a column of `datasets`
        return plain_state(list(value), where)
    if isinstance(value, Enum):  # it may be an `int` or a `str`, too
        _refuse(value, where)
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # of a subclass
            return kind(value)
    _refuse(value, where)


def plain_arguments(module: Any) -> dict[str, Any]:
    """Reduces the arguments of a module to numbers, strings, lists and dictionaries, which a configuration can hold.

    Args:
        module: A Lightning module or data module that has saved its hyper-parameters.

    Raises:
        UserError: An argument is an object of another type; the message names it.
    """
    owner = type(module).__name__
    # A trainer deletes arguments that cannot be pickled from `hparams`.
    arguments = {**module.hparams_initial, **module.hparams}
    return {name: _plain_argument(value, f"{owner}: the argument {name!r}") for name, value in arguments.items()}


def plain_part(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a configuration can hold, reduced as by `plain_arguments`; the others are left out.

    Args:
        arguments: Arguments by name.
    """
    kept = {}
    for name, value in arguments.items():
        with suppress(UserError):
            kept[name] = _plain_argument(value, name)
    return kept


def _plain_argument(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain_argument(entry, f"{where}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_argument(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.ndarray | Tensor | bytes):
        raise _not_plain(value, where, "give numbers, strings, lists, dictionaries, or the path of a file")
    try:
        return plain_state(value, where)
    except UserError:
        remedy = "give numbers, strings, lists, dictionaries; build the object from them"
        raise _not_plain(value, where, remedy) from None


def _plain_list(value: list[Any] | tuple[Any, ...], where: str) -> list[Any]:
    entries = [plain_state(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    if type(value) is list and all(new is old for new, old in zip(entries, value, strict=True)):
        return value
    return entries


def _plain_dictionary(value: dict[Any, Any], where: str) -> dict[Any, Any]:
    entries = {}
    key_types = set()
    for key, entry in value.items():
        plain_key = plain_state(key, f"a key of {where}")
        key_types.add(type(plain_key))
        if key_types not in ({str}, {int}):
            raise UserError(f"{where} has the key {key!r}: give it strings as keys, or whole numbers alone")
        entries[plain_key] = plain_state(entry, f"{where}[{plain_key!r}]")
    if type(value) is dict and all(new is value[key] for key, new in entries.items()):
        return value
    return entries


def _plain_tensor(value: Tensor, where: str) -> Tensor:
    if value.layout is not torch.strided:
        raise UserError(f"{where} is a sparse tensor: keep it dense (`to_dense()`)")
    if type(value) is Tensor and not value.requires_grad:
        return value
    return value.detach().as_subclass(Tensor)


def _tensor_of_array(value: np.ndarray, where: str) -> Any:
    """A numeric array as a tensor, and an array of strings as nested lists."""
    if value.dtype.kind in "OU":  # objects and strings
        return plain_state(value.tolist(), where)
    if type(value) not in (np.ndarray, np.memmap) or value.dtype.kind not in "biuf":
        _refuse(value, where)
    # torch takes neither the other byte order nor negative strides.
    native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C", subok=False)
    try:
        return torch.from_numpy(native)
    except TypeError:  # a precision that torch does not have
        _refuse(value, where)


def _refuse(value: Any, where: str) -> NoReturn:
    raise _not_plain(value, where, "keep numbers, strings, lists, dictionaries, arrays")


def _not_plain(value: Any, where: str, remedy: str) -> UserError:
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        kind += f" of {value.dtype}"
    article = "an" if kind[0] in "AEIOUaeio" else "a"
    return UserError(f"{where} is {article} {kind}: {remedy}")
