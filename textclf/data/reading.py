"""Rows of any source in the standard columns, their labels, and their fingerprint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import textclf
from textclf.data.cleaning import TextStep, clean_columns
from textclf.data.values import as_text
from textclf.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

MOST_LABELS = 1000
"""More values than that, and the column is taken for one of something else."""
NUMBER = r"^[-+]?[0-9.,]*[0-9][0-9.,]*([eE][-+]?[0-9]+)?%?$"


def cache_folder() -> Path:
    """Where encoded rows are kept between runs: beside the rows that `datasets` keeps."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE, "textclf")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
            raise UserError(
                f"column {wanted[name]!r} holds {_content(source, wanted[name])}: name the column that holds text"
            )
        if name in wanted:
            refuse_numbers(source, wanted[name])
    for single in filter(None, (label, id_)):
        if single in source.column_names and not _is_single(source.features[single]):
            raise UserError(f"column {single!r} holds {_content(source, single)}: give it one value in each row")
    label_of = label_indexer(source, label, label_names, keep_unknown)

    def standard(rows: dict[str, list[Any]], places: list[int]) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {
            "id": [as_text(own) or str(i) for i, own in zip(places, rows.get(id_ or "", places), strict=True)],
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


def _is_single(feature: Any) -> bool:
    """Whether the values of a column can be text, as `as_text` has it."""
    from datasets import Value

    return hasattr(feature, "names") or (isinstance(feature, Value) and "binary" not in feature.dtype)


def _content(source: Dataset, column: str) -> str:
    feature = source.features[column]
    kind = str(getattr(feature, "dtype", feature))
    return "lists, objects or bytes" if "binary" in kind else kind


def _standard_key(source: Dataset, *recipe: Any) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(repr((textclf.__version__, source._fingerprint, *recipe)).encode())


def label_indexer(source: Dataset, column: str, label_names: Sequence[str], keep_unknown: bool = False) -> Any:
    """Makes the function from a source's labels to class indices; unknown ones are refused, or become -1.

    Names are matched as names, whatever their order in the source. Indices are taken as they are, also those that are
    floats. Where the source's own names are others than ours (`neg` for `negative`), its order holds.
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

    @lru_cache(maxsize=2 * MOST_LABELS)
    def index_of(value: Any) -> int | None:
        spellings = [as_text(value)]
        if isinstance(value, bool):
            spellings.append(str(value))
        if isinstance(value, float) and value.is_integer():
            spellings.append(str(int(value)))
        return next((known[name] for name in spellings if name in known), None)

    def indices(labels: list[Any], places: list[int]) -> list[int]:
        result = [index_of(value) for value in labels]
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

    if column not in source.column_names:
        raise UserError(f"there is no label column {column!r}: the rows have {', '.join(source.column_names)}")
    feature = source.features[column]
    if getattr(feature, "names", None):
        return list(feature.names)
    if not _is_single(feature):
        raise UserError(f"column {column!r} holds {_content(source, column)}: name a column of single labels")
    values: dict[str | None, None] = {}
    rows, without = 0, None
    for batch in source.select_columns(column).with_format("arrow").iter(batch_size=10_000):
        found = [as_text(value) or None for value in pc.unique(batch[column]).to_pylist()]
        if None in found and without is None:
            labels = [as_text(value) or None for value in batch[column].to_pylist()]
            without = rows + labels.index(None)
        values |= dict.fromkeys(found)
        rows += len(batch)
        if len(values) > MOST_LABELS:
            first, second = list(values)[:2]
            raise UserError(
                f"column {column!r} has {len(values):,} values in its first {rows:,} rows, such as {first!r} and "
                f"{second!r}: name the label column, or give label_names if all of them are labels"
            )
    if without is not None:
        raise UserError(
            f"column {column!r} has rows without a label, such as row {without}: fill them or leave those rows out"
        )
    return sorted(name for name in values if name is not None)
