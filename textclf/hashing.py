"""Hashes of what a method was built from, and of files."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any
from uuid import uuid4

import torch
import xxhash
from torch import Tensor


def fingerprint(value: Any) -> str:
    """A hash of numbers, strings, bytes, tensors, and lists and dictionaries of them.

    Raises:
        TypeError: There is something else in it.
    """
    return hashlib.sha256(json.dumps(value, default=_hash_of, sort_keys=True).encode()).hexdigest()


def _hash_of(value: Any) -> list[Any]:
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        content = hashlib.sha256(array.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
        return [str(array.dtype), list(array.shape), content]
    raise TypeError(f"there is no hash of a {type(value).__name__}")


def source_of(kind: type) -> str:
    """The source code of a class."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed into a console: nobody can tell whether it has changed
        return uuid4().hex


def code_of(kind: type) -> list[str]:
    """What tells whether the code of a class has changed: its source, and that of its module, whose functions it uses.

    Where that cannot be known, each call gives something else: the class was typed into a console or made by a
    function, or its methods use variables of the function that they were defined in.
    """
    try:
        source = [kind.__qualname__, inspect.getsource(kind)]
        module = inspect.getmodule(kind)
        source.append(inspect.getsource(module) if module is not None else "")
    except (OSError, TypeError):
        return [uuid4().hex]
    functions = (next(_codes(value), None) for value in vars(kind).values())
    enclosed = {name for code in functions if code is not None for name in code.co_freevars}
    return [uuid4().hex] if enclosed - {"__class__"} else source


def overrides(kind: type, owner: type, name: str) -> bool:
    """Whether a class from outside has its own version of a method, or of anything that the method uses of its object.

    Args:
        kind: The class, or a subclass of it.
        owner: The class whose version of the method is meant.
        name: The method.
    """
    used, todo = set[str](), [name]
    while todo:
        name = todo.pop()
        if name in used:
            continue
        used.add(name)
        values = [vars(base)[name] for base in owner.__mro__ if name in vars(base)]
        todo += [each for value in values for code in _codes(value) for each in code.co_names if hasattr(owner, each)]
    between = [base for base in kind.__mro__[: kind.__mro__.index(owner)] if not base.__module__.startswith("textclf.")]
    return any(each in vars(base) for base in between for each in used)


def _codes(value: Any) -> Iterator[CodeType]:
    """The code of a function, method or property, and of the functions in it; nothing of other values."""
    for function in (value, *(getattr(value, name, None) for name in ("fget", "func", "__func__"))):
        todo = [getattr(inspect.unwrap(function), "__code__", None)] if callable(function) else []
        while todo:
            if (code := todo.pop()) is not None:
                yield code
                todo += [each for each in code.co_consts if isinstance(each, CodeType)]


def file_hash(path: Path) -> str:
    """A hash of a file's bytes: time and size do not tell whether a file has changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
