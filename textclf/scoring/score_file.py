"""The file of a run's likelihoods: all that the score rules need, so that no model is needed to judge again."""

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
from textclf.scoring.rules import RULES, Array, Likelihoods, class_scores, find_rule

MATRICES = {"log_likelihoods": "sums", "logit_sums": "logits", "published": "published"}
"""Columns of the file, and what `Likelihoods` calls them."""
VECTORS = ("empty", "domain", "content_free", "prior")


@dataclass(frozen=True, kw_only=True)
class StoredScores:
    """The label words' scores of a run's rows.

    Attributes:
        ids: The source's ids, shape (rows,).
        labels: True classes, shape (rows,).
        scored: Rows that belong to the test, bool, shape (rows,).
        fit: Rows that a prior is fitted to, bool, shape (rows,); those among them that are `scored` are not, where
            the rule is fitted.
        words: Everything of `Likelihoods` but the rows to fit to; for all rows.
        label_names: Name of each class.
        facts: What else is known of the run, as JSON takes it: the `rule` (or the class of a method that makes scores
            in its own way), the prompt, the work done.
        log_scores: Log-probabilities of the classes as the run itself reported them, float64
            `(tested rows, num_classes)`; the tested rows are the first ones. None for a file that does not hold them.
    """

    ids: list[str]
    labels: NDArray[np.int64]
    scored: NDArray[np.bool_]
    fit: NDArray[np.bool_]
    words: Likelihoods
    label_names: tuple[str, ...]
    facts: dict[str, Any]
    log_scores: Array | None = None

    def judged(self, rule: str) -> tuple[Array, NDArray[np.int64]]:
        """Applies a rule to the rows that it may be judged on.

        The run's own rule, where it is none of `RULES`, is not applied again: what the run reported is taken.

        Args:
            rule: Its name in `RULES`, its path, or the run's own.

        Returns:
            Log-probabilities, shape (judged rows, classes), and true classes, shape (judged rows,).

        Raises:
            UserError: There is no such rule, or the run has not stored what it needs.
        """
        if rule not in RULES and rule == self.facts.get("rule") and self.log_scores is not None:
            return self.log_scores, self.labels[: len(self.log_scores)]
        return self.applied(rule)

    def applied(self, rule: str) -> tuple[Array, NDArray[np.int64]]:
        """Applies a rule, whether or not it is the run's own; else as `judged`."""
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
    likelihoods = stored.words
    count = len(likelihoods.words)
    offsets = pa.array(np.arange(len(stored.ids) + 1) * count, pa.int32())
    matrices = {name: getattr(likelihoods, part) for name, part in MATRICES.items()}
    table = pa.table(
        {
            "id": pa.array(stored.ids, pa.string()),
            "label": pa.array(stored.labels),
            "scored": pa.array(stored.scored),
            "fit": pa.array(stored.fit),
            **{
                name: pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix).ravel()))
                for name, matrix in matrices.items()
                if matrix is not None
            },
            **({} if stored.log_scores is None else {"log_scores": _first_rows(stored.log_scores, len(stored.ids))}),
        }
    )
    vectors = {name: getattr(likelihoods, name) for name in VECTORS}
    metadata = {
        "words": list(likelihoods.words),
        "classes": likelihoods.classes.tolist(),
        "tokens": likelihoods.tokens.tolist(),
        "characters": [len(word) for word in likelihoods.words],
        "bytes": [len(word.encode()) for word in likelihoods.words],
        "label_names": list(stored.label_names),
        **{name: None if vector is None else vector.tolist() for name, vector in vectors.items()},
        "facts": stored.facts,
    }
    encoded = {name: json.dumps(value, ensure_ascii=False) for name, value in metadata.items()}
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(encoded), temporary)


def _first_rows(matrix: Array, rows: int) -> pa.Array:
    """A column of lists with the rows of a matrix, and null in the rows that follow."""
    return pa.array([row.tolist() for row in matrix] + [None] * (rows - len(matrix)), pa.list_(pa.float64()))


def read_scores(path: str | Path) -> StoredScores:
    """Reads what `write_scores` wrote.

    Raises:
        UserError: There is no such file, or it holds something else.
    """
    advice = "give a run in which `test` was run with a method of label likelihood"
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no such file; {advice}")
    try:
        table = pq.read_table(path)
        metadata = {name.decode(): json.loads(value) for name, value in (table.schema.metadata or {}).items()}
        count = len(metadata["words"])
        matrices: dict[str, Any] = {
            part: table[name].combine_chunks().flatten().to_numpy().reshape(len(table), count)
            for name, part in MATRICES.items()
            if name in table.column_names
        }
        vectors: dict[str, Any] = {name: None if (v := metadata[name]) is None else np.array(v) for name in VECTORS}
        words = Likelihoods(
            words=metadata["words"],
            classes=np.array(metadata["classes"]),
            tokens=np.array(metadata["tokens"]),
            **matrices,
            **vectors,
        )
        flags = {name: table[name].to_numpy() for name in ("scored", "fit")}
        return StoredScores(
            ids=table["id"].to_pylist(),
            labels=table["label"].to_numpy(),
            words=words,
            label_names=tuple(metadata["label_names"]),
            facts=metadata["facts"],
            log_scores=_reported(table),
            **flags,
        )
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a file of label scores that can be read ({reason}); {advice}") from error


def _reported(table: pa.Table) -> Array | None:
    """The log-scores of the tested rows; None where the file has none."""
    if "log_scores" not in table.column_names:
        return None
    column = table["log_scores"].combine_chunks().drop_null()
    return np.array(column.flatten(), dtype=np.float64).reshape(len(column), -1)  # a copy, which may be written to
