"""Hashes of values, texts, rows, weights and files; and the code of a class, to detect that it has changed.

SHA-256 is for keys of little content. Much content is hashed by XXH3, which is as fast as memory; nobody chooses that
content to make two hashes equal.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import json
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any
from uuid import uuid4

import torch
import xxhash
from torch import Tensor, nn

from textclf.types import Dataset

CHECKSUM_BYTES = 8
LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""The folders of Python's own modules, and of installed packages."""


def value_hash(value: Any) -> str:
    """A hash of numbers, strings, bytes, tensors, and lists and dictionaries of them, as 64 hexadecimal digits.

    Raises:
        TypeError: There is something else in it.
    """
    return text_hash(json.dumps(value, default=_described, sort_keys=True))


def _described(value: Any) -> list[Any]:
    """A value that JSON does not have, as a list that identifies it."""
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, Tensor):
        return [str(value.dtype), list(value.shape), hashlib.sha256(_bytes_of(value)).hexdigest()]
    raise TypeError(f"there is no hash of a {type(value).__name__}")


def _bytes_of(tensor: Tensor) -> memoryview:
    """The entries of a tensor, in the order of their indices."""
    # A copy: a tensor of one entry counts as contiguous with any stride, and then has no view as bytes.
    array = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return array.reshape(-1).view(torch.uint8).numpy().data


def text_hash(text: str) -> str:
    """A hash of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def text_key(text: str) -> bytes:
    """A hash of a text as 16 bytes; half of a surrogate pair, which UTF-8 cannot encode, is allowed in it."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def short_hash(content: bytes) -> bytes:
    """A fast hash of a few bytes, as 16 bytes."""
    return xxhash.xxh3_128_digest(content)


def checksum(content: bytes) -> bytes:
    """A checksum that detects damage, as `CHECKSUM_BYTES` bytes."""
    return xxhash.xxh3_64_digest(content)


def rows_hash(rows: Dataset) -> str:
    """A hash of what rows say, the same for the same rows from a file, from the hub, and on another machine."""
    import pyarrow as pa  # takes long to import

    digest = xxhash.xxh3_128()
    for batch in rows.with_format("arrow").iter(batch_size=10_000):
        sink = pa.BufferOutputStream()
        # `take` copies the rows: a slice would be written with the bytes of the rows around it.
        plain = batch.replace_schema_metadata(None).take(pa.array(range(len(batch))))
        with pa.ipc.new_stream(sink, plain.schema) as writer:
            writer.write_table(plain.combine_chunks())
        digest.update(sink.getvalue())
    return digest.hexdigest()


def weights_hash(model: nn.Module) -> str:
    """A hash of all weights and their names: the same on every device, and from every format of file."""
    digest = xxhash.xxh3_128()
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        digest.update(_bytes_of(weight))
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """A hash of a file's bytes: time and size do not tell whether a file has changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def source_of(kind: type) -> str:
    """The source code of a class; if there is none, as in a console, a text that is another in each call."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return uuid4().hex


def code_of(kind: type) -> list[str]:
    """The source code of a class, of its module, and of the user's modules that this one imports from.

    If the behaviour of the class depends on more than that, each call gives another text: the class was defined in a
    console, or in a function whose variables its methods use.
    """
    try:
        source = [kind.__qualname__, inspect.getsource(kind)]
        module = inspect.getmodule(kind)
        if module is not None:
            source += _sources_of(module)
    except (OSError, TypeError):
        return [uuid4().hex]
    enclosed: set[str] = set()
    for value in vars(kind).values():
        code = next(_codes(value), None)
        if code is not None:
            enclosed.update(code.co_freevars)
    enclosed.discard("__class__")  # the variable behind `super()`
    return [uuid4().hex] if enclosed else source


def _sources_of(module: ModuleType) -> list[str]:
    """The source code of a module, and of the modules that it imports from, those of installed packages aside."""
    found = {module.__name__: inspect.getsource(module)}
    unread = [module]
    while unread:
        for value in vars(unread.pop()).values():
            used = inspect.getmodule(value)
            if used is not None and used.__name__ not in found and _is_of_user(used):
                found[used.__name__] = inspect.getsource(used)
                unread.append(used)
    return [found[name] for name in sorted(found)]


def _is_of_user(module: ModuleType) -> bool:
    """Whether a module is neither of this package nor of an installed one, nor of Python itself."""
    file = getattr(module, "__file__", None) or ""
    if module.__name__.split(".")[0] == "textclf" or not file.endswith(".py"):
        return False
    return not any(Path(file).is_relative_to(folder) for folder in LIBRARIES)


def overrides(kind: type, owner: type, name: str) -> bool:
    """Whether a subclass from outside of this package replaces a method, or any attribute that the method uses.

    For example, `encode` calls `self.tokenize`: a subclass that defines `tokenize` changes what `encode` gives.

    Args:
        kind: A subclass of `owner`, or `owner` itself.
        owner: The class that defines the method.
        name: Name of the method.
    """
    used = {each for each in names_used_by(owner, name) if hasattr(owner, each)}
    subclasses = kind.__mro__[: kind.__mro__.index(owner)]
    for subclass in subclasses:
        if not subclass.__module__.startswith("textclf.") and not used.isdisjoint(vars(subclass)):
            return True
    return False


def names_used_by(owner: type, name: str) -> set[str]:
    """All names in the code of a method, and in that of the methods it uses, itself included: attributes, and others.

    Args:
        owner: A class that has the method.
        name: Name of the method.
    """
    used: set[str] = set()
    unread = [name]
    while unread:
        name = unread.pop()
        if name in used:
            continue
        used.add(name)
        for base in owner.__mro__:
            for code in _codes(vars(base).get(name)):
                unread += code.co_names
    return used


@cache
def names_set_by(kind: type) -> frozenset[str]:
    """The attributes that the methods of a class set, and those of the class itself."""
    names = set(vars(kind))
    for value in vars(kind).values():
        for code in _codes(value):
            names |= {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_ATTR"}
    return frozenset(names)


def object_hash(value: Any) -> str:
    """A hash of any object, such as a tokenizer or a function, by its pickled content: the same in each process.

    If an object cannot be pickled, each call gives another text.
    """
    from datasets.fingerprint import Hasher

    try:
        digest: str = Hasher.hash(value)
    except Exception:  # objects raise errors of many kinds when they are pickled
        return uuid4().hex
    return digest


def _codes(value: Any) -> Iterator[CodeType]:
    """The code of a function, method or property, and of the functions defined in it; nothing for other values."""
    wrapped = [getattr(value, name, None) for name in ("fget", "func", "__func__")]  # of properties and methods
    for function in (value, *wrapped):
        unread = [getattr(inspect.unwrap(function), "__code__", None)] if callable(function) else []
        while unread:
            code = unread.pop()
            if code is not None:
                yield code
                unread += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
