"""The file of a run's likelihoods: everything that score rules read, so that rescoring needs no model."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # noqa: TID253 - imported late itself
import pyarrow.parquet as pq  # noqa: TID253 - imported late itself
from numpy.typing import NDArray

from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.parsing import parse_json
from textclf.scoring.rules import RULES, Array, Likelihoods, class_scores, find_rule

MATRICES = {"log_likelihoods": "sums", "logit_sums": "logits", "published": "published"}
"""Columns of the file, and their names in `Likelihoods`."""
VECTORS = ("empty", "domain", "content_free", "prior")
"""Parts of `Likelihoods` that are in the file's metadata."""
ADVICE = "give a run of `test` with a label-likelihood method, such as CausalLMClassifier"


@dataclass(frozen=True, kw_only=True)
class StoredScores:
    """The label words' scores of a run's rows.

    Attributes:
        ids: Ids of the rows in their source, shape (rows,).
        labels: True classes, shape (rows,).
        scored: Whether a row belongs to the test, bool, shape (rows,).
        fit: Whether a prior is fitted to a row, bool, shape (rows,); a row that is `scored` too is left out of the test
            of a rule that is fitted.
        words: The likelihoods of all rows, without those that are fitted to.
        label_names: Name of each class.
        facts: More about the run, as JSON values: the `rule` (or the class of a method that computes scores in its own
            way), the prompt, the work.
        log_scores: Log-probabilities of the classes as the run itself reported them, float64
            `(tested rows, num_classes)`; the tested rows are the first ones. None for a file without them.
    """

    ids: list[str]
    labels: NDArray[np.int64]
    scored: NDArray[np.bool_]
    fit: NDArray[np.bool_]
    words: Likelihoods
    label_names: tuple[str, ...]
    facts: dict[str, Any]
    log_scores: Array | None = None

    def scores_by(self, rule: str) -> tuple[Array, NDArray[np.int64]]:
        """The scores of a rule, for the rows on which it can be tested.

        The run's own rule, if it is not one of `RULES`, is not applied again: the reported scores are returned.

        Args:
            rule: Its name in `RULES`, its path, or the run's own.

        Returns:
            Log-probabilities, shape (tested rows, classes), and true classes, shape (tested rows,).

        Raises:
            UserError: There is no such rule, or the file does not have what it needs.
        """
        if rule not in RULES and rule == self.facts.get("rule") and self.log_scores is not None:
            return self.log_scores, self.labels[: len(self.log_scores)]
        return self.apply(rule)

    def apply(self, rule: str) -> tuple[Array, NDArray[np.int64]]:
        """Applies a rule, even if it is the run's own; otherwise as `scores_by`."""
        fits = find_rule(rule).fits
        if fits and not self.fit.any():
            raise UserError(f"rule {rule!r} needs labelled rows that are not scored, and this run has none")
        rows = self.scored & ~self.fit if fits else self.scored
        picked = replace(
            self.words.select(rows),
            fit_sums=self.words.sums[self.fit],
            fit_labels=self.labels[self.fit],
            shift=None,
        )
        return class_scores(rule, picked), self.labels[rows]


def write_scores(path: str | Path, stored: StoredScores) -> None:
    """Writes a Parquet file, a row per text: `id`, `label`, `scored`, `fit`, and a list per matrix, one entry per word.

    `log_scores` has an entry per class, and is null for rows that were not tested.

    Its metadata are JSON: `words` and their `classes`, `tokens`, `characters` and `bytes`, `label_names`, the words'
    log-likelihoods after the premises and content-free texts, `prior`, and the facts.
    """
    metadata = {name: json.dumps(value, ensure_ascii=False) for name, value in _metadata(stored).items()}
    table = pa.table(_columns(stored)).replace_schema_metadata(metadata)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def _columns(stored: StoredScores) -> dict[str, pa.Array]:
    rows = len(stored.ids)
    columns = {
        "id": pa.array(stored.ids, pa.string()),
        "label": pa.array(stored.labels),
        "scored": pa.array(stored.scored),
        "fit": pa.array(stored.fit),
    }
    ends = pa.array(np.arange(rows + 1) * len(stored.words.words), pa.int32())
    for name, part in MATRICES.items():
        matrix = getattr(stored.words, part)
        if matrix is not None:
            columns[name] = pa.ListArray.from_arrays(ends, pa.array(np.ascontiguousarray(matrix).ravel()))
    if stored.log_scores is not None:
        lists = [*stored.log_scores.tolist(), *[None] * (rows - len(stored.log_scores))]
        columns["log_scores"] = pa.array(lists, pa.list_(pa.float64()))
    return columns


def _metadata(stored: StoredScores) -> dict[str, Any]:
    words = stored.words
    metadata: dict[str, Any] = {
        "words": list(words.words),
        "classes": words.classes.tolist(),
        "tokens": words.tokens.tolist(),
        "characters": [len(word) for word in words.words],
        "bytes": [len(word.encode()) for word in words.words],
        "label_names": list(stored.label_names),
    }
    for name in VECTORS:
        vector = getattr(words, name)
        metadata[name] = None if vector is None else vector.tolist()
    metadata["facts"] = stored.facts
    return metadata


def read_scores(path: str | Path) -> StoredScores:
    """Reads a file of `write_scores`.

    Raises:
        UserError: There is no such file, or it is not a file of label scores.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no such file; {ADVICE}")
    try:
        stored = _stored(pq.read_table(path))
        _check(stored)
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a file of label scores that can be read ({reason}); {ADVICE}") from error
    return stored


def _check(stored: StoredScores) -> None:
    """Refuses values of other kinds, and parts of other lengths, than `write_scores` writes.

    Raises:
        ValueError: There are some.
    """
    words, rows = len(stored.words.words), len(stored.ids)
    names = [*stored.words.words, *stored.label_names, *stored.ids]
    are_lists = isinstance(stored.words.words, list) and bool(words)
    if not are_lists or not all(isinstance(name, str) for name in names) or not isinstance(stored.facts, dict):
        raise ValueError("words, names of labels and ids must be texts, and facts an object")
    classes = stored.words.classes
    expected = {
        "classes": (classes, "i", (words,)),
        "tokens": (stored.words.tokens, "i", (words,)),
        "label": (stored.labels, "i", (rows,)),
        "scored": (stored.scored, "b", (rows,)),
        "fit": (stored.fit, "b", (rows,)),
        **{name: (getattr(stored.words, part), "f", (rows, words)) for name, part in MATRICES.items()},
        "empty": (stored.words.empty, "fi", (words,)),
        "domain": (stored.words.domain, "fi", (words,)),
        "content_free": (stored.words.content_free, "fi", (-1, words)),
        "prior": (stored.words.prior, "fi", (len(stored.label_names),)),
        "log_scores": (stored.log_scores, "f", (-1, len(stored.label_names))),
    }
    for name, (values, kinds, shape) in expected.items():
        if values is None and name not in ("log_likelihoods", "classes"):
            continue
        fits = values.ndim == len(shape) and all(b in (-1, a) for a, b in zip(values.shape, shape, strict=True))
        if values.dtype.kind not in kinds or not fits:
            raise ValueError(f"{name} has the shape {values.shape} and holds {values.dtype}")
    if set(classes.tolist()) != set(range(len(stored.label_names))):
        raise ValueError("each class must have a word")
    if rows and not (stored.labels.min() >= 0 and stored.labels.max() < len(stored.label_names)):
        raise ValueError(f"labels must be class indices below {len(stored.label_names)}")
    if stored.log_scores is not None and len(stored.log_scores) > rows:
        raise ValueError("there are more log_scores than rows")


def _as_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("label_names must be a list")
    return tuple(value)


def _stored(table: pa.Table) -> StoredScores:
    encoded = table.schema.metadata or {}
    metadata = {name.decode(): parse_json(value) for name, value in encoded.items()}
    parts: dict[str, Any] = {}
    for name, part in MATRICES.items():
        if name in table.column_names:
            entries = table[name].combine_chunks().flatten()
            parts[part] = entries.to_numpy().reshape(len(table), len(metadata["words"]))
    for name in VECTORS:
        if metadata[name] is not None:
            parts[name] = np.array(metadata[name])
    words = Likelihoods(
        words=metadata["words"],
        classes=np.array(metadata["classes"]),
        tokens=np.array(metadata["tokens"]),
        **parts,
    )
    log_scores = None
    if "log_scores" in table.column_names:
        tested = table["log_scores"].combine_chunks().drop_null()
        log_scores = np.array(tested.flatten(), dtype=np.float64).reshape(len(tested), -1)  # a copy: writable
    return StoredScores(
        ids=table["id"].to_pylist(),
        labels=table["label"].to_numpy(),
        scored=table["scored"].to_numpy(),
        fit=table["fit"].to_numpy(),
        words=words,
        label_names=_as_names(metadata["label_names"]),
        facts=metadata["facts"],
        log_scores=log_scores,
    )
