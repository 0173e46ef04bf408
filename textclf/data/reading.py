"""Reading rows from files and from the hub into Arrow on disk, and giving them the standard columns."""

from __future__ import annotations

import csv
import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import textclf
from textclf.data.cleaning import TextStep, clean_columns
from textclf.data.copies import arrow_copy, state_key, utf8_copy
from textclf.data.encodings import text_encoding
from textclf.errors import UserError
from textclf.hub import loading

if TYPE_CHECKING:
    from datasets import Dataset, Features

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
MOST_LABELS = 1000
"""More values than that, and the column is taken for one of something else."""
NUMBER = r"^[-+]?[0-9.,]*[0-9][0-9.,]*([eE][-+]?[0-9]+)?%?$"


def cache_folder() -> Path:
    """Where encoded rows are kept between runs: beside the rows that `datasets` keeps."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE, "textclf")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def split_files(data_dir: str, split: str) -> list[Path]:
    """The files that hold `split`, if any, in natural order of their names: `part-2` before `part-10`.

    They are `<split>.<suffix>`, or `<split>-*.<suffix>`, or those in a folder, `<split>/*.<suffix>`.

    Raises:
        UserError: There are several of these kinds, or files of a numbered series are missing.
    """
    folder = Path(data_dir)
    kinds = []
    for pattern in (f"{split}{{}}", f"{split}-*{{}}", f"{split}/*{{}}"):
        for suffix in SUFFIXES:
            found = [p for p in folder.glob(pattern.format(suffix)) if p.is_file() and not p.name.startswith(".")]
            kinds += [sorted(found, key=lambda path: (_natural(path.name), path.name))] if found else []
    if len(kinds) > 1:
        names = " and ".join(str(files[0].relative_to(folder)) for files in kinds)
        raise UserError(f"{data_dir!r} holds {names}: keep files of one kind for the {split!r} split")
    files = kinds[0] if kinds else []
    totals = {int(series[1]) for path in files if (series := re.search(r"-\d+-of-(\d+)\b", path.stem))}
    if totals and totals != {len(files)}:
        said = " and ".join(map(str, sorted(totals)))
        raise UserError(
            f"{data_dir!r} holds {len(files)} files like {files[0].name!r}, whose names say {said}: give all of them"
        )
    return files


def _natural(name: str) -> list[str | int]:
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]


def read_split(data_dir: str, split: str) -> Dataset:
    """Reads the files of a split (see `split_files`) one after the other.

    Raises:
        UserError: There are none, one cannot be read, or one has other columns than the first.
    """
    from datasets import concatenate_datasets

    files = split_files(data_dir, split)
    if not files:
        raise UserError(f"{data_dir!r} has no {split} file: add {split}.parquet, .csv, .tsv or .jsonl")
    parts = [read_file(path) for path in files]
    for path, part in zip(files, parts, strict=True):
        _check_same_columns(parts[0].features, part.features, files[0].name, str(path))
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def _check_same_columns(wanted: Features, found: Features, first: str, path: str) -> None:
    if set(found) != set(wanted):
        raise UserError(
            f"{path!r} has the columns {', '.join(found)}, but {first} has {', '.join(wanted)}: "
            "give all files of a split the same columns"
        )
    for name, kind in found.items():
        kinds = {str(getattr(feature, "dtype", feature)) for feature in (kind, wanted[name])}
        if kind != wanted[name] and "null" not in kinds:
            raise UserError(
                f"column {name!r} of {path!r} is {kind}, but {wanted[name]} in {first}: "
                "give all files of a split the same columns"
            )


def read_file(path: Path) -> Dataset:
    """Reads one file of rows, by its suffix; texts such as 'NA' and 'null' stay texts.

    All columns of a `.csv` or `.tsv` are text: an id `007` stays one. A tab-separated file has no quoting: a quotation
    mark is a character like others. A file of text that is not UTF-8 is read by way of a copy that is.

    Raises:
        UserError: The suffix is unknown, the file cannot be read as what its suffix says, or it holds no rows.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{str(path)!r}: the suffix {path.suffix!r} is not one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{str(path)!r} is not there: give a file that exists")
    if not path.stat().st_size:
        raise UserError(f"{str(path)!r} is empty: give a file that holds rows")
    with loading("file", str(path), "give a whole file of the kind that its suffix names"):
        rows = _read_parquet(path) if path.suffix == ".parquet" else _read_text(path)
    if not rows:
        raise UserError(f"{str(path)!r} holds no rows: add some, or take it away")
    return rows


def _read_text(path: Path) -> Dataset | None:
    from datasets import Split, load_dataset_builder
    from datasets.exceptions import DatasetGenerationError

    encoding = text_encoding(path)
    if not encoding.startswith("utf-8"):
        path = utf8_copy(path, encoding, cache_folder())
    options: dict[str, Any] = {"path": "json"}
    if path.suffix != ".jsonl":
        sep = "\t" if path.suffix == ".tsv" else ","
        quoting: Literal[0, 3] = csv.QUOTE_NONE if path.suffix == ".tsv" else csv.QUOTE_MINIMAL
        options = {"path": "csv", "keep_default_na": False, "sep": sep, "quoting": quoting}
        options["features"] = _text_columns(path, sep, quoting)
    builder = load_dataset_builder(data_files=glob.escape(str(path)), **options)
    try:
        builder.download_and_prepare()
    except DatasetGenerationError as error:
        raise OSError(str(error.__cause__ or error)) from error
    return builder.as_dataset(split=Split.TRAIN) if builder.info.splits[Split.TRAIN].num_examples else None


def _read_parquet(path: Path) -> Dataset:
    from datasets import Dataset

    rows = Dataset.from_file(str(arrow_copy(path, cache_folder())))
    rows._fingerprint = state_key(path)  # the same in all processes
    return rows


def _text_columns(path: Path, sep: str, quoting: Literal[0, 3]) -> Features:
    from datasets import Features, Value

    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, delimiter=sep, quoting=quoting), [])
    return Features({name: Value("string") for name in names if name})


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
    steps: Sequence[TextStep] = (),
    keep_unknown: bool = False,
) -> Dataset:
    """Gives a source's rows the columns `id`, `text`, `text_pair` (where there is one), `label` and `changed`.

    An id is the source's as a string, else the row number. A missing text is an empty one. Bit i of `changed` tells
    that the step at place i changed the row.

    Args:
        source: As it was read.
        text: Its column of texts.
        text_pair: Its column of second texts.
        label: Its column of labels.
        id_: Its column of ids.
        label_names: Name of each class.
        steps: Applied to the texts, in order.
        keep_unknown: Whether an unknown label becomes -1; else it is refused.

    Raises:
        UserError: A column is missing, the texts are no texts, or a label is not in `label_names`.
    """
    from datasets import Features, Value

    wanted = {"text": text, "label": label, **({"text_pair": text_pair} if text_pair else {})}
    for column in wanted.values():
        if column not in source.column_names:
            raise UserError(
                f"there is no column {column!r}: the rows have {', '.join(source.column_names)}; name one of these"
            )
    for name in ("text", "text_pair"):
        if name in wanted and not _is_text(source.features[wanted[name]]):
            kind = source.features[wanted[name]]
            raise UserError(
                f"column {wanted[name]!r} holds {getattr(kind, 'dtype', kind)}: name the column that holds text"
            )
        if name in wanted:
            refuse_numbers(source, wanted[name])
    label_of = label_indexer(source, label, label_names, keep_unknown)

    def standard(rows: dict[str, list[Any]], places: list[int]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            "id": [str(i if own is None else own) for i, own in zip(places, rows.get(id_ or "", places), strict=True)],
            "text": [t or "" for t in rows[text]],
        }
        if text_pair:
            columns["text_pair"] = [t or "" for t in rows[text_pair]]
        columns, changed = clean_columns(columns, steps)
        return columns | {"label": label_of(rows[label], places), "changed": changed}

    types = {
        "id": "string",
        "text": "string",
        **({"text_pair": "string"} if text_pair else {}),
        "label": "int64",
        "changed": "int64",
    }
    return source.map(
        standard,
        batched=True,
        with_indices=True,
        remove_columns=source.column_names,
        features=Features({name: Value(kind) for name, kind in types.items()}),
        new_fingerprint=_standard_key(
            source, text, text_pair, label, id_, label_names, keep_unknown, [step.identity() for step in steps]
        ),
        desc="reading rows",
    )


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string", "null")


def _standard_key(source: Dataset, *recipe: Any) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(repr((textclf.__version__, source._fingerprint, *recipe)).encode())


def label_indexer(source: Dataset, column: str, label_names: Sequence[str], keep_unknown: bool = False) -> Any:
    """Makes the function from a source's labels to class indices; unknown ones are refused, or become -1.

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
        if None in result and keep_unknown:
            return [-1 if index is None else index for index in result]
        if None in result:
            wrong = result.index(None)
            raise UserError(
                f"row {places[wrong]} has the label {labels[wrong]!r} in column {column!r}: known are "
                f"{', '.join(map(repr, label_names))}"
            )
        return result  # type: ignore[return-value]  # None was just excluded

    return indices


def refuse_numbers(source: Dataset, column: str) -> None:
    """Refuses a column of texts that are all numbers: in a CSV file those are text too. Empty ones do not count.

    Raises:
        UserError: They are; the message has one of them.
    """
    import pyarrow.compute as pc

    example = None
    for batch in source.select_columns(column).with_format("arrow").iter(batch_size=10_000):
        texts = pc.utf8_trim_whitespace(batch[column].cast("string"))
        texts = texts.filter(pc.not_equal(texts, ""))
        if not pc.all(pc.match_substring_regex(texts, NUMBER), min_count=0).as_py():
            return
        example = texts[0].as_py() if len(texts) else example
    if example is not None:
        raise UserError(f"column {column!r} holds numbers only, such as {example!r}: name the column that holds text")


def distinct_labels(source: Dataset, column: str) -> list[str]:
    """The values of a label column as strings, sorted.

    Raises:
        UserError: The column is not there, has rows without a label, or so many values that it holds no labels.
    """
    import pyarrow.compute as pc
    from datasets import Value

    if column not in source.column_names:
        raise UserError(f"there is no label column {column!r}: the rows have {', '.join(source.column_names)}")
    feature = source.features[column]
    if getattr(feature, "names", None):
        return list(feature.names)
    if not isinstance(feature, Value):
        raise UserError(f"column {column!r} holds {feature}: name a column of single labels")
    values: dict[Any, None] = {}
    rows = 0
    for batch in source.select_columns(column).with_format("arrow").iter(batch_size=10_000):
        values |= dict.fromkeys(pc.unique(batch[column]).to_pylist())
        rows += len(batch)
        if len(values) > MOST_LABELS:
            first, second = list(values)[:2]
            raise UserError(
                f"column {column!r} has {len(values):,} values in its first {rows:,} rows, such as {first!r} and "
                f"{second!r}: name the label column, or give label_names if all of them are labels"
            )
    if None in values or "" in values:
        raise UserError(f"column {column!r} has rows without a label: fill them or leave those rows out")
    return sorted(map(str, values))
