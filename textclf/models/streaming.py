"""Scoring of any number of texts in constant memory: windows of rows, batched by length, results in the input order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from textclf.data.batching import LengthBatchSampler
from textclf.data.cleaning import clean_columns
from textclf.data.contract import batch_of, encoded
from textclf.data.text_values import as_text, mended, say_mended
from textclf.errors import UserError
from textclf.models.protocol import Classifier
from textclf.models.truncation import CutCounter

WINDOW = 4096
"""Rows that are encoded and sorted by length together: many enough for little padding, few enough for little memory."""


def text_rows(texts: Iterable[Any], text_pairs: Iterable[Any] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of texts, or of pairs of texts, as `StreamedBatches` takes them.

    Args:
        texts: Any number of texts.
        text_pairs: The second text of each.

    Raises:
        UserError: One of the two is one text, a mapping, a table, or nothing that can be iterated over; while the rows
            are read, also where there are more of one than of the other.
    """
    _check_series("texts", texts)
    if text_pairs is None:
        return ({"text": text} for text in texts)
    _check_series("text_pairs", text_pairs)
    return _paired_rows(texts, text_pairs)


def _check_series(argument: str, texts: Any) -> None:
    """Refuses an argument that is not a series of texts."""
    if isinstance(texts, str):
        raise UserError(f"classify takes a list of texts, not one text: write classify([{texts!r}])")
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable):
        raise UserError(f"classify: {argument} is of type {type(texts).__name__}: give a list of texts")
    dimensions = getattr(texts, "ndim", 1)
    if dimensions != 1:
        raise UserError(f"classify: {argument} has {dimensions} dimensions: give one column of texts")


def _paired_rows(texts: Iterable[Any], text_pairs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    try:
        for text, text_pair in zip(texts, text_pairs, strict=True):
            yield {"text": text, "text_pair": text_pair}
    except ValueError as error:
        raise UserError(f"classify got more of one text than of the other ({error}): give pairs") from error


class StreamedBatches:
    """Batches of rows that come one by one, such as the lines of a file.

    Texts that are not strings, or hold invalid characters, are read as `textclf.data.text_values` says.

    Args:
        model: Whose `encode` and `collate` are used.
        rows: Each a dictionary with `text` (and `text_pair`); what else it has comes back with its batch.
        max_batch_tokens: Tokens in a padded batch, instead of `batch_size`.
        batch_size: Rows in a batch.

    Attributes:
        replaced: Number of rows so far in which invalid characters were replaced.
        cut: Counts what was cut off the rows so far.
    """

    def __init__(  # noqa: D107  # the class says it
        self,
        model: Classifier,
        rows: Iterable[dict[str, Any]],
        *,
        batch_size: int = 64,
        max_batch_tokens: int | None = None,
    ) -> None:
        self.model = model
        self.rows = rows
        self.batch_size = batch_size
        self.max_batch_tokens = max_batch_tokens
        self.cut = CutCounter()
        self.replaced = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields the batches of all rows; see `batches`."""
        return self.batches(self.rows)

    def batches(self, rows: Iterable[dict[str, Any]], first: int = 0) -> Iterator[dict[str, Any]]:
        """Yields batches of rows, window by window.

        `row` is each row's index in the stream, `given` its text before the model's text steps.

        Args:
            rows: Consecutive rows of the stream.
            first: Index in the stream of the first of them.

        Raises:
            UserError: A text is a list, an object, or bytes.
        """
        stream = iter(rows)
        while window := list(islice(stream, WINDOW)):
            given: dict[str, list[Any]] = {name: [row[name] for row in window] for name in window[0]}
            texts = self._texts(given, first)
            carried = {name: values for name, values in given.items() if name not in texts}
            carried["given"] = texts["text"]
            columns, _ = clean_columns(texts, self.model.textclf.text_steps)
            columns |= encoded(self.model, columns)
            self.cut.add(columns["length"], columns.get("cut", []))
            plan = LengthBatchSampler(
                columns["length"], batch_size=self.batch_size, max_batch_tokens=self.max_batch_tokens
            )
            for indices in plan:
                batch = batch_of(self.model.collate, _selected(columns, indices))
                yield {**batch, **_selected(carried, indices), "row": torch.tensor(indices) + first}
            first += len(window)

    def _texts(self, columns: Mapping[str, list[Any]], first: int) -> dict[str, list[str]]:
        """The columns of texts as valid strings; counts the rows in which invalid characters were replaced."""
        texts: dict[str, list[str]] = {name: [] for name in ("text", "text_pair") if name in columns}
        for index in range(len(columns["text"])):
            changed = False
            for name, column in texts.items():
                try:
                    text = as_text(columns[name][index]) or ""
                except ValueError as error:
                    raise UserError(f"{name} {first + index} (counted from 0) is {error}: give strings") from error
                column.append(mended(text))
                changed |= column[-1] != text
            self.replaced += changed
        return texts

    def add_counts(self, replaced: int, cut: CutCounter) -> None:
        """Adds the counts of another process, for the reports.

        Args:
            replaced: Its `replaced`.
            cut: Its `cut`.
        """
        self.replaced += replaced
        self.cut.merge(cut)

    def report_replaced(self) -> None:
        """Reports in how many of the rows so far invalid characters were replaced; nothing if in none."""
        say_mended(self.replaced, "texts")

    def report_cut(self) -> None:
        """Reports how many of the rows so far were too long, and what was cut off them; nothing if none were."""
        self.cut.report("texts", getattr(self.model, "max_length", None))


def _selected(columns: Mapping[str, list[Any]], indices: Sequence[int]) -> dict[str, list[Any]]:
    """The same columns with some of their rows."""
    return {name: [values[index] for index in indices] for name, values in columns.items()}


class InOrder:
    """Puts results into the order of their rows: holds each back until those of all rows before it are there."""

    def __init__(self, first: int = 0) -> None:
        """Starts before the first result.

        Args:
            first: Index of the first row.
        """
        self._waiting: dict[int, Any] = {}
        self._next = first

    def add(self, rows: Iterable[int], results: Iterable[Any]) -> Iterator[Any]:
        """Takes the results of a batch; yields those whose turn it is.

        Args:
            rows: Index of each row in the stream.
            results: One for each row.
        """
        self._waiting.update(zip(rows, results, strict=True))
        while self._next in self._waiting:
            yield self._waiting.pop(self._next)
            self._next += 1


def score_rows(
    model: Classifier, rows: Iterable[dict[str, Any]], max_batch_tokens: int, total: int | None = None
) -> Iterator[dict[str, Any]]:
    """Scores rows with a model on its device, without a trainer.

    Args:
        model: The method.
        rows: As `StreamedBatches` takes them.
        max_batch_tokens: Tokens in a padded batch.
        total: Number of rows for the progress bar, where it is known.

    Yields:
        What `prediction_of` gives for each row, in the order of the rows.
    """
    from tqdm.auto import tqdm

    in_order = InOrder()
    was_training = model.training
    batches = StreamedBatches(model, rows, max_batch_tokens=max_batch_tokens)
    model.eval()
    try:
        with tqdm(total=total, unit="text", disable=None) as bar:
            for batch in batches:
                with torch.inference_mode():  # not around the `yield`: the caller's gradients are the caller's
                    moved = model.transfer_batch_to_device(batch, model.device, 0)
                    scored = model.checked_outputs("predict_step", model.predict_step(moved, 0), moved)
                yield from in_order.add(scored["row"].tolist(), predictions_of(scored, model))
                bar.update(len(scored["row"]))
        batches.report_replaced()
    finally:
        model.train(was_training)


def predictions_of(outputs: Mapping[str, torch.Tensor], model: Classifier) -> Iterator[dict[str, Any]]:
    """Gives `prediction_of` for each row of a batch.

    Args:
        outputs: What the model's `predict_step` returned.
        model: The method.
    """
    log_scores = outputs["log_scores"].double().cpu().numpy()
    deciding_rows: Any = [None] * len(log_scores)
    if "deciding_scores" in outputs:
        deciding_rows = outputs["deciding_scores"].double().cpu().numpy()
    rule = model.textclf.calibrator(decides=True)
    decision = type(rule).__name__.lower()
    probabilities = np.exp(log_scores)  # of the whole batch: row by row, it takes several times as long
    for scores, prediction, row in zip(probabilities, outputs["prediction"].tolist(), deciding_rows, strict=True):
        yield prediction_of(scores, prediction, model.label_names, model.has_probabilities, row, decision)


def prediction_of(
    probabilities: np.ndarray,
    prediction: int,
    label_names: Sequence[str],
    has_probabilities: bool,
    deciding_scores: np.ndarray | None = None,
    decision: str = "thresholds",
) -> dict[str, Any]:
    """Converts a row's probabilities to an answer with names.

    Args:
        probabilities: Shape `(num_classes,)`; NaN for an answer that fits no class.
        prediction: Answered class, -1 for none.
        label_names: Name of each class.
        has_probabilities: Whether the method has probabilities; where not, `score` and `scores` are None.
        deciding_scores: Log-scores divided by the decision thresholds, or the result of another calibrator that
            decides, shape `(num_classes,)`; None without one.
        decision: Name of the calibrator that decides.

    Returns:
        `label` (None where none fits), `score` (its probability) and `scores` (the probability of each label, by name).
        With thresholds also `decision`, which names them, and `thresholded_scores`: by name, the probabilities
        divided by the thresholds and normalized to sum to 1. The label has the highest of these.
    """
    result: dict[str, Any] = {"label": None, "score": None, "scores": None}
    if deciding_scores is not None:
        result |= {"decision": decision, "thresholded_scores": None}
    if prediction < 0:
        return result
    label = label_names[prediction]
    result["label"] = label
    if has_probabilities:
        scores = _by_name(probabilities, label_names)
        result["score"] = scores[label]
        result["scores"] = scores
        if deciding_scores is not None:
            shares = np.exp(deciding_scores - np.logaddexp.reduce(deciding_scores))
            result["thresholded_scores"] = _by_name(shares, label_names)
    return result


def _by_name(values: np.ndarray, label_names: Sequence[str]) -> dict[str, float]:
    return dict(zip(label_names, values.tolist(), strict=True))
