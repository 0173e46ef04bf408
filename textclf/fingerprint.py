"""Hashes of what a method was built from, and of files."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import xxhash
from torch import Tensor


def fingerprint(value: Any) -> str:
    """A hash of numbers, strings, tensors, and lists and dictionaries of them.

    Raises:
        TypeError: There is something else in it.
    """
    return hashlib.sha256(json.dumps(value, default=_hash_of_tensor, sort_keys=True).encode()).hexdigest()


def _hash_of_tensor(value: Any) -> list[Any]:
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        content = hashlib.sha256(array.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
        return [str(array.dtype), list(array.shape), content]
    raise TypeError(
        f"self.fitted holds a {type(value).__name__}: keep numbers, strings, lists, dictionaries and tensors"
    )


def source_of(kind: type) -> str:
    """The source code of a class."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed into a console: nobody can tell whether it has changed
        return uuid4().hex


def file_hash(path: Path) -> str:
    """A hash of a file's bytes: time and size do not tell whether a file has changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
