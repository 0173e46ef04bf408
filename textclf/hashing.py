"""Hashes of values, texts, rows, weights and files, and the source code of a class.

Little content is hashed by SHA-256. Much content is hashed by XXH3, which is much faster; it is not a cryptographic
hash, and need not be one, since the content is not chosen to make two hashes equal.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import xxhash
from torch import Tensor, nn

from textclf.types import Dataset

CHECKSUM_BYTES = 8


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
    """The source code of a class; if there is none, as in a console, a text that differs in each call."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return uuid4().hex
