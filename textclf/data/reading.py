"""Reading rows from files and from the hub into Arrow on disk, and giving them the standard columns."""

from __future__ import annotations

import csv
import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import textclf
from textclf.errors import UserError
from textclf.hub import loading

if TYPE_CHECKING:
    from datasets import Dataset, Features

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def cache_folder() -> Path:
    """Where encoded rows are kept between runs: beside the rows that `datasets` keeps."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE, "textclf")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def split_file(data_dir: str, split: str) -> Path | None:
    """The file that holds `split`, or None.

    Raises:
        UserError: There are two.
    """
    found = [path for suffix in SUFFIXES if (path := Path(data_dir, split + suffix)).is_file()]
    if len(found) > 1:
        raise UserError(
            f"{data_dir!r} holds {' and '.join(p.name for p in found)}: keep one file for the {split!r} split"
        )
    return found[0] if found else None


def read_split(data_dir: str, split: str) -> Dataset:
    """Reads `<split>.parquet`, `.csv`, `.tsv` or `.jsonl` of a folder."""
    path = split_file(data_dir, split)
    if path is None:
        raise UserError(f"{data_dir!r} has no {split} file: add {split}.parquet, .csv, .tsv or .jsonl")
    return read_file(path)


def read_file(path: Path) -> Dataset:
    """Reads one file of rows, by its suffix; texts such as 'NA' and 'null' stay texts.

    All columns of a `.csv` or `.tsv` are text: an id `007` stays one. A tab-separated file has no quoting: a quotation
    mark is a character like others.

    Raises:
        UserError: The suffix is unknown, or the file cannot be read as what its suffix says.
    """
    from datasets import Split, load_dataset
    from datasets.exceptions import DatasetGenerationError

    kinds: dict[str, dict[str, Any]] = {
        ".parquet": {"path": "parquet"},
        ".csv": {"path": "csv", "sep": ",", "quoting": csv.QUOTE_MINIMAL},
        ".tsv": {"path": "csv", "sep": "\t", "quoting": csv.QUOTE_NONE},
        ".jsonl": {"path": "json"},
    }
    if path.suffix not in kinds:
        raise UserError(f"{str(path)!r}: the suffix {path.suffix!r} is not one of {', '.join(kinds)}")
    if not path.is_file():
        raise UserError(f"{str(path)!r} is not there: give a file that exists")
    if not path.stat().st_size:
        raise UserError(f"{str(path)!r} is empty: give a file that holds rows")
    options = kinds[path.suffix]
    with loading("file", str(path), "give a whole file of the kind that its suffix names"):
        if "sep" in options:
            options |= {"keep_default_na": False, "features": _text_columns(path, options["sep"], options["quoting"])}
        try:
            return load_dataset(data_files=glob.escape(str(path)), split=Split.TRAIN, **options)
        except DatasetGenerationError as error:
            raise OSError(str(error.__cause__ or error)) from error


def _text_columns(path: Path, sep: str, quoting: Literal[0, 3]) -> Features:
    from datasets import Features, Value

    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, delimiter=sep, quoting=quoting), [])
    return Features({name: Value("string") for name in names if name})


def read_hub(repository: str, revision: str | None, split: str) -> Dataset:
    """Reads one split of a data set on the hub, or of the local cache of it.

    Raises:
        UserError: Neither has it.
    """
    from datasets import load_dataset

    with loading(
        "data set",
        repository,
        "pass --data.data_dir with a folder of <split>.parquet, .csv, .tsv or .jsonl files",
    ):
        return load_dataset(repository, revision=revision, split=split)


def fingerprint(rows: Dataset) -> str:
    """A hash of what the rows say, the same for the same rows from a file, from the hub, and on another machine."""
    import pyarrow as pa
    import xxhash

    digest = xxhash.xxh3_128()
    for batch in rows.with_format("arrow").iter(batch_size=10_000):
        sink = pa.BufferOutputStream()
        plain = batch.replace_schema_metadata(None).take(pa.array(range(len(batch))))  # no bytes of sliced-off rows
        with pa.ipc.new_stream(sink, plain.schema) as writer:
            writer.write_table(plain.combine_chunks())
        digest.update(sink.getvalue())
    return digest.hexdigest()


def standard_columns(
    source: Dataset,
    *,
    text: str,
    text_pair: str | None,
    label: str,
    id_: str | None,
    label_names: Sequence[str],
) -> Dataset:
    """Gives a source's rows the columns `id`, `text`, `text_pair` (where there is one) and `label`, and no others.

    An id is the source's as a string, else the row number. A missing text is an empty one.

    Raises:
        UserError: A column is missing, the texts are no texts, or a label is not in `label_names`.
    """
    from datasets import Features, Value

    wanted = {"text": text, "label": label, **({"text_pair": text_pair} if text_pair else {})}
    for column in wanted.values():
        if column not in source.column_names:
            raise UserError(f"there is no column {column!r}: the rows have {', '.join(source.column_names)}")
    for name in ("text", "text_pair"):
        if name in wanted and not _is_text(source.features[wanted[name]]):
            kind = source.features[wanted[name]]
            raise UserError(
                f"column {wanted[name]!r} holds {getattr(kind, 'dtype', kind)}: name the column that holds text"
            )
    label_of = label_indexer(source, label, label_names)

    def standard(rows: dict[str, list[Any]], places: list[int]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            "id": [str(i if own is None else own) for i, own in zip(places, rows.get(id_ or "", places), strict=True)],
            "text": [t or "" for t in rows[text]],
        }
        if text_pair:
            columns["text_pair"] = [t or "" for t in rows[text_pair]]
        return columns | {"label": label_of(rows[label], places)}

    types = {
        "id": "string",
        "text": "string",
        **({"text_pair": "string"} if text_pair else {}),
        "label": "int64",
    }
    return source.map(
        standard,
        batched=True,
        with_indices=True,
        remove_columns=source.column_names,
        features=Features({name: Value(kind) for name, kind in types.items()}),
        new_fingerprint=_standard_key(source, text, text_pair, label, id_, label_names),
        desc="reading rows",
    )


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string", "null")


def _standard_key(source: Dataset, *recipe: Any) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(repr((textclf.__version__, source._fingerprint, *recipe)).encode())


def label_indexer(source: Dataset, column: str, label_names: Sequence[str]) -> Any:
    """Makes the function from a source's labels to class indices.

    Names are matched as names, whatever their order in the source. Indices are taken as they are. Where the source's
    own names are others than ours (`neg` for `negative`), its order holds.
    """
    feature = source.features[column]
    names = list(getattr(feature, "names", None) or [])
    index = {name: i for i, name in enumerate(label_names)}
    known = {str(i): i for i in range(len(label_names))}
    if set(names) & set(index):
        known = {str(i): index[name] for i, name in enumerate(names) if name in index}
    elif not names and any(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in label_names):
        known = index
    elif not names:
        known |= index

    def indices(labels: list[Any], places: list[int]) -> list[int]:
        result = [None if value is None else known.get(str(value)) for value in labels]
        if None in result:
            wrong = result.index(None)
            raise UserError(
                f"row {places[wrong]} has the label {labels[wrong]!r} in column {column!r}: known are "
                f"{', '.join(map(repr, label_names))}"
            )
        return result  # type: ignore[return-value]  # None was just excluded

    return indices


def distinct_labels(source: Dataset, column: str) -> list[str]:
    """The values of a label column as strings, sorted."""
    if column not in source.column_names:
        raise UserError(f"there is no label column {column!r}: the rows have {', '.join(source.column_names)}")
    feature = source.features[column]
    if getattr(feature, "names", None):
        return list(feature.names)
    values = source.unique(column)
    if any(value is None or value == "" for value in values):
        raise UserError(f"column {column!r} has rows without a label: fill them or leave those rows out")
    return sorted(map(str, values))
