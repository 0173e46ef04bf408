"""Rows from files: the files of a split, the rows of one file, and their copy in Arrow on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from textclf.data.encodings import text_encoding
from textclf.data.readers.compression import CODECS, uncompressed_suffix
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.hashing import file_hash
from textclf.hub import cache_folder, loading
from textclf.version import __version__

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from textclf.data.readers.file_rows import FileRows

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
"""Suffixes of files of rows; text files may be compressed, as in `rows.csv.gz`."""
FILE_SUFFIXES = (*SUFFIXES, *(suffix + codec for suffix in SUFFIXES[1:] for codec in CODECS))
"""All of these suffixes, with those of compressed files."""
ANY_SUFFIX = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
"""The suffixes, for messages."""
VALIDATION = ("validation", "dev", "val", "valid")
"""Names of files and folders that are read as the validation split."""
REMEDY = "give a whole file of the kind that its suffix names"


def split_files(data_dir: str, split: str) -> list[Path]:
    """The files that hold `split`, if any, in natural order of their names: `part-2` before `part-10`.

    They are `<split>.<suffix>`, or `<split>-*.<suffix>`, or those in a folder, `<split>/*.<suffix>`. The validation
    split may also be called `dev`, `val` or `valid`.

    Raises:
        UserError: There are several of these kinds, or files of a numbered series are missing.
    """
    folder = Path(data_dir)
    names = VALIDATION if split == "validation" else (split,)
    kinds = []
    for name, form, suffix in product(names, ("{}{}", "{}-*{}", "{}/*{}"), FILE_SUFFIXES):
        found = [path for path in folder.glob(form.format(name, suffix)) if is_visible_file(path)]
        if found:
            kinds.append(sorted(found, key=lambda path: (natural_order(path.name), path.name)))
    if len(kinds) > 1:
        several = " and ".join(str(files[0].relative_to(folder)) for files in kinds)
        raise UserError(f"{data_dir!r} holds {several}: keep files of one kind for the {split!r} split")
    if not kinds:
        return []
    files = kinds[0]
    totals = _announced_totals(files)
    if totals and totals != {len(files)}:
        announced = " and ".join(map(str, sorted(totals)))
        raise UserError(
            f"{data_dir!r} holds {len(files)} files like {files[0].name!r}, whose names say {announced}: give all of "
            "them"
        )
    return files


def is_visible_file(path: Path) -> bool:
    """Whether a path is a file that is not hidden."""
    return path.is_file() and not path.name.startswith(".")


def _announced_totals(files: Sequence[Path]) -> set[int]:
    """The number of files that names such as `train-00000-of-00002` announce; of a complete series it is one number."""
    totals = set()
    for path in files:
        series = re.search(r"-\d+-of-(\d+)\b", path.stem)
        if series is not None:
            totals.add(int(series[1]))
    return totals


def natural_order(name: str) -> list[str | int]:
    """A sort key by which numbers in names are compared as numbers."""
    # Texts are at even indices of the parts, digits at odd ones.
    return [int(part) if index % 2 else part for index, part in enumerate(re.split("([0-9]+)", name))]


def read_split(data_dir: str, split: str) -> Dataset:
    """Reads the files of a split (see `split_files`) in order.

    Raises:
        UserError: There are none, one cannot be read, or one has other columns than the first.
    """
    from datasets import concatenate_datasets

    files = split_files(data_dir, split)
    if not files:
        raise UserError(f"{data_dir!r} has no {split} file: add {split}{ANY_SUFFIX}")
    parts = [read_file(path) for path in files]
    for path, part in zip(files, parts, strict=True):
        _check_same_columns(parts[0].features, part.features, files[0].name, str(path))
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def _check_same_columns(expected: Features, found: Features, first: str, path: str) -> None:
    """Refuses a file whose columns differ from those of the first file; a column without values fits any type."""
    if set(found) != set(expected):
        raise UserError(
            f"{path!r} has the columns {', '.join(found)}, but {first} has {', '.join(expected)}: "
            "give all files of a split the same columns"
        )
    for name, kind in found.items():
        kinds = {str(getattr(feature, "dtype", feature)) for feature in (kind, expected[name])}
        if kind != expected[name] and "null" not in kinds:
            raise UserError(
                f"column {name!r} of {path!r} is {kind}, but {expected[name]} in {first}: "
                "give all files of a split the same columns"
            )


def open_rows(path: Path) -> FileRows:
    """Opens one file of rows, by its suffix.

    Raises:
        UserError: The suffix is unknown, the file does not exist, or it is not what its suffix says.
    """
    check_suffix(path, SUFFIXES)
    if not path.is_file():
        raise UserError(f"{str(path)!r} does not exist: give a file that does")
    with loading("file", str(path), REMEDY):
        return _opened(path, file_hash(path))


def check_suffix(path: Path, suffixes: Sequence[str], option: str = "") -> None:
    """Refuses a file of an unknown kind.

    Args:
        path: The file.
        suffixes: Those that are allowed.
        option: The option that names it, for the message.

    Raises:
        UserError: Its suffix is none of these.
    """
    if uncompressed_suffix(path) not in suffixes:
        raise UserError(
            f"{option}{str(path)!r}: the suffix {path.suffix!r} is not one of {', '.join(suffixes)} "
            f"({' or '.join(CODECS)} may follow that of a text file)"
        )


@lru_cache(maxsize=128)  # so that the messages about a file are printed once
def _opened(path: Path, content: str) -> FileRows:
    """Opens a file; `content` is the hash of its bytes, so that a file that has changed is opened again."""
    from textclf.data.readers.delimited import DelimitedRows  # noqa: PLC0415 - imports pyarrow
    from textclf.data.readers.json_lines import JsonRows  # noqa: PLC0415 - imports pyarrow
    from textclf.data.readers.parquet_rows import ParquetRows  # noqa: PLC0415 - imports pyarrow

    file: FileRows
    suffix = uncompressed_suffix(path)
    if suffix == ".parquet":
        file = ParquetRows(path)
    elif suffix == ".jsonl":
        file = JsonRows(path, text_encoding(path, content))
    else:
        file = DelimitedRows(path, text_encoding(path, content))
    file.content = content
    return file


def read_file(path: Path) -> Dataset:
    """Reads one file of rows into Arrow on disk, or takes the copy that an earlier call has written.

    The copy is found by the bytes of the file: its path and its time of change do not matter. No types are guessed: the
    values of `.csv` and `.tsv` files are text, those of `.jsonl` and `.parquet` files keep their types. Texts such as
    'NA' and 'null' stay texts.

    Raises:
        UserError: The suffix is unknown, the file cannot be read as what its suffix says, or it holds no rows.
    """
    from datasets import Dataset

    if path.is_file() and not path.stat().st_size:
        raise UserError(f"{str(path)!r} is empty: give a file that holds rows")
    file = open_rows(path)
    with loading("file", str(path), REMEDY):
        key = f"{file.content}-{__version__}{uncompressed_suffix(path)}"
        copy = cache_folder() / "files" / f"{key}.arrow"
        if not (copy.exists() and copy.with_suffix(".json").exists()):
            _write_copy(file, copy)
        stored = Dataset.from_file(str(copy))
        _say_found(file, copy.with_suffix(".json"))
    if not stored:
        raise UserError(f"{str(path)!r} holds no rows: add some, or delete it")
    # `from_file` draws a random fingerprint; with this one, all processes find what others have derived from the rows.
    return Dataset(stored.data, info=stored.info, fingerprint=key)


def _write_copy(file: FileRows, copy: Path) -> None:
    import pyarrow as pa

    with atomic_path(copy) as unfinished, pa.ipc.new_stream(unfinished, file.schema) as sink:
        for batch in file.batches():
            sink.write_batch(batch)
        # Written before the copy is renamed: a command that is killed in between leaves no copy without it.
        with atomic_path(copy.with_suffix(".json")) as found:
            found.write_text(json.dumps(file.found))


@lru_cache(maxsize=128)  # a file may be read several times
def _say_found(file: FileRows, found: Path) -> None:
    """Reports what was found in a file when its copy was written, perhaps by an earlier command."""
    file.say_found(json.loads(found.read_text()))
