"""What a method is checked for, apart from what every run checks: purity, independence of batches, keys, reloading."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import copy, deepcopy
from inspect import signature
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from textclf.conformance.comparison import first_difference, shown, tolerance_of
from textclf.conformance.subject import BATCH, PAIRS, TEXTS, Run, Subject, scores_of, seeded
from textclf.data.batching import Collator
from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.models.read_back import REMEDY
from textclf.models.streaming import StreamedBatches

PLAIN = (bool, int, float, str, list, tuple, dict, os.PathLike, np.generic, type(None))
KEEP = f"; {REMEDY}"
TEXT_COLUMNS = {"text": list(TEXTS)}


class NotCheckable(Exception):
    """A check does not apply to the method; the message says why."""


# The object


def constructed(subject: Subject) -> TextClassifier:
    """Makes the method, and checks that a checkpoint can keep its arguments.

    Raises:
        UserError: It cannot.
    """
    model = subject.new()
    for name, value in model.hparams.items():
        if not isinstance(value, PLAIN):
            raise UserError(
                f"{_name(model)}.__init__ takes a {type(value).__name__} as {name}, which a checkpoint cannot keep: "
                "take its settings, and make the object inside"
            )
    return model


# Rows and batches


def scores(model: TextClassifier) -> None:
    """Scores batches of several rows and of one row, through the checks that every run makes.

    Raises:
        UserError: A check fails, or labels are needed, which nobody knows when texts are predicted.
    """
    try:
        scores_of(model, TEXTS)
    except KeyError as error:
        if error.args[0] not in ("label", "labels", "id"):
            raise
        raise UserError(
            f"{_name(model)} needs {error.args[0]!r} to score texts: encode, collate and log_scores are given texts "
            "alone when they are predicted; use labels in prepare and training_step"
        ) from error


def encoding(model: TextClassifier) -> None:
    """Checks that `encode` is a pure function of the texts.

    Raises:
        UserError: It changes the rows, depends on the random state, or depends on what it encoded before.
    """
    rows = deepcopy(TEXT_COLUMNS)
    with seeded(1):
        first = dict(model.encode(rows))
    if rows != TEXT_COLUMNS:
        raise UserError(f"{_name(model)}.encode changed the rows that it was given: return new lists")
    with seeded(2):
        second = dict(model.encode(deepcopy(TEXT_COLUMNS)))
    for name in first.keys() | second.keys():
        if not is_same(first.get(name), second.get(name)):
            raise UserError(
                f"{_name(model)}.encode gave other values of {name!r} for the same texts the second time: its result "
                "is kept on disk, so it must depend on the texts alone, not on random numbers or on earlier calls"
            )


def collating(model: TextClassifier) -> None:
    """Checks that `collate` leaves its rows as they are, and gives the same batch for the same rows in evaluation.

    Raises:
        UserError: It does not.
    """
    rows = encoded_rows(model)
    given = deepcopy(rows)
    with seeded(1):
        first = model.collate(rows)
    if not is_same(rows, given):
        raise UserError(f"{_name(model)}.collate changed the rows that it was given: make new lists and tensors")
    with seeded(2):
        second = model.collate(given)
    if not is_same(first, second):
        raise UserError(
            f"{_name(model)}.collate gave another batch for the same rows the second time: a test would not give the "
            "same figures twice; draw random numbers in training_step"
        )


def workers(model: TextClassifier) -> None:
    """Checks that worker processes can be sent what collates batches.

    Raises:
        NotCheckable: The class is not at the top of a module.
        UserError: They cannot, or would make other batches.
    """
    if _is_local(type(model)):
        raise NotCheckable(f"{type(model).__qualname__} is defined inside a function, so it cannot be pickled")
    rows = encoded_rows(model) | {"id": list(TEXTS), "row": list(range(len(TEXTS))), "filler": False}
    try:
        sent = pickle.dumps(Collator(model.for_workers().collate))
    except Exception as error:  # objects raise errors of many kinds when they are pickled
        raise UserError(
            f"{_name(model)}.for_workers gave a copy that cannot be pickled ({str(error).splitlines()[0]}): leave the "
            "object out there, or make it on first use"
        ) from error
    if not is_same(pickle.loads(sent)(rows), Collator(model.collate)(rows)):
        raise UserError(f"{_name(model)}.collate gave another batch in a worker process: it may not use weights")


def repetition(model: TextClassifier) -> None:
    """Checks that the same batch gets the same scores twice.

    Raises:
        UserError: It does not.
    """
    with seeded(1):
        first = scores_of(model, TEXTS)
    with seeded(2):
        second = scores_of(model, TEXTS)
    if (row := first_difference(first, second, tolerance_of(model))) is not None:
        raise UserError(
            f"{_name(model)}.log_scores gave {shown(first[row])} and then {shown(second[row])} for {TEXTS[row]!r}: "
            "wanted the same scores in evaluation; dropout and sampling belong to training"
        )


def batches(model: TextClassifier, pairs: Sequence[str] | None = None) -> None:
    """Checks that a text's scores do not depend on the texts that are encoded and scored with it.

    Args:
        model: The method.
        pairs: A second text of each, where the method is to take two.

    Raises:
        UserError: They do.
    """
    together = scores_of(model, TEXTS, pairs, len(TEXTS))
    backwards = scores_of(model, TEXTS[::-1], pairs and pairs[::-1], BATCH).flip(0)
    single = [scores_of(model, [text], pairs and [pairs[place]], 1) for place, text in enumerate(TEXTS)]
    ways = {"alone": torch.cat(single), "in smaller batches of another order": backwards}
    for way, found in ways.items():
        if (row := first_difference(found, together, tolerance_of(model))) is not None:
            raise UserError(
                f"{_name(model)}.log_scores gave {shown(found[row])} for {TEXTS[row]!r} {way}, and "
                f"{shown(together[row])} in a batch of {len(TEXTS)}: wanted the same scores; mask the padding, and "
                "compute nothing over the rows of a batch, in encode and collate too"
            )


def pairs(subject: Subject) -> None:
    """Checks text pairs in the same way, after a run with them.

    Raises:
        NotCheckable: The method refuses them.
        UserError: A pair's scores depend on other pairs.
    """
    try:
        model = subject.run(pairs=True).model
        scores_of(model, TEXTS, PAIRS)
    except UserError as error:
        raise NotCheckable(f"it takes one text: {error}") from error
    batches(model, PAIRS)


def label_order(subject: Subject, model: TextClassifier) -> None:
    """Checks that columns follow `label_names`: a method that sorts its labels, say, would give each score to another.

    Raises:
        NotCheckable: What the method knows of the labels, it learns from rows, or it does not take other labels.
        UserError: The columns stay in place where the labels change theirs.
    """
    if model.trains_by_batches or type(model).prepare is not TextClassifier.prepare or model.wanted() is not None:
        raise NotCheckable("it learns the order of the labels from rows")
    names, tolerance = subject.label_names, tolerance_of(model)
    try:
        original = scores_of(subject.ready(subject.new()), TEXTS)
        turned = scores_of(subject.ready(subject.new(names[::-1])), TEXTS)
        renamed = scores_of(subject.ready(subject.new([f"other {name}" for name in names])), TEXTS)
    except UserError as error:
        raise NotCheckable(f"it takes no other labels: {error}") from error
    follows = first_difference(original.flip(1), turned, tolerance) is None
    stays = first_difference(original, turned, tolerance) is None
    uses_names = first_difference(original, renamed, tolerance) is not None
    if stays and uses_names and not follows:
        raise UserError(
            f"{_name(model)}.log_scores gave the same columns for the labels {', '.join(names)} and for the reverse "
            "order: wanted one column per label in the order of self.label_names, which is not sorted"
        )


# The key of cached rows


def encoding_key(model: TextClassifier) -> None:
    """Checks that the key of cached rows changes with each argument that changes what `encode` gives.

    Raises:
        UserError: It stays the same.
    """
    expected = model.encode(deepcopy(TEXT_COLUMNS))
    for name, value, other in _other_objects(model):
        try:
            found = other.encode(deepcopy(TEXT_COLUMNS))
        except Exception:  # the argument does not fit the others
            continue
        if not is_same(dict(expected), dict(found)) and other.encoding_key() == model.encoding_key():
            raise UserError(
                f"{_name(model)}.encoding_key gave the same key with {name} {value!r}, which changes what encode "
                f"gives: wanted {name} in the key, or no encoding_key of its own"
            )

    kind: Any = type(model)

    # As a class of another package: the package's own classes are known not to change what they inherit.
    class WithOwnEncode(kind):  # type: ignore[misc]  # its base is known at run time only
        def encode(self, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return super().encode(rows)  # type: ignore[no-any-return]

    WithOwnEncode.__module__ = "subclass"
    subclass = copy(model)
    subclass.__class__ = WithOwnEncode
    if subclass.encoding_key() == model.encoding_key():
        raise UserError(
            f"{_name(model)}.encoding_key gave the key of the class to a subclass that overrides encode: wanted "
            "another one, or the cached rows of one class are read by the other"
        )


def _other_objects(model: TextClassifier) -> Iterator[tuple[str, Any, TextClassifier]]:
    """Objects that differ from a prepared one in one argument, with what was fitted shared."""
    try:
        hints = get_type_hints(type(model).__init__)
    except NameError:  # annotations of names that are imported for type checkers alone
        hints = {}
    for name in signature(type(model)).parameters:
        if name in ("num_classes", "label_names") or name not in model.hparams:
            continue
        for value in _other_values(model.hparams[name], hints.get(name)):
            try:
                other = type(model)(**{**model.hparams, name: value})
                other.fitted = model.fitted
            except Exception:  # it is not allowed
                continue
            yield name, value, other


def _other_values(value: Any, hint: Any) -> list[Any]:
    """A few other values that an argument may have."""
    kinds = [hint, *get_args(hint)]
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices:
        return [choice for choice in choices if choice != value]
    if isinstance(value, bool) or bool in kinds:
        return [not value]
    if isinstance(value, int) or int in kinds:
        return sorted({1, 3, 2 * (value or 4), (value or 4) + 1} - {value})
    if isinstance(value, float) or float in kinds:
        return [value / 2, 1 - value] if value else [0.5]
    return []


# A run


def predictions(run: Run) -> None:
    """Checks that the report of a test, `classify` and `predict` say the same of each text.

    Raises:
        NotCheckable: The method judges a whole split at once.
        UserError: They do not.
    """
    model, table = run.model, run.table
    if len(table.predictions) != len(TEXTS):
        raise UserError(f"{_name(model)}: the report has {len(table.predictions)} of {len(TEXTS)} test rows")
    if model.needs_whole_split:
        raise NotCheckable("it judges a split as a whole, and does not predict")
    names = [None if place < 0 else table.label_names[place] for place in table.predictions.tolist()]
    probabilities = np.exp(table.log_scores).max(axis=1)
    expected = [
        (name, float(highest) if name is not None and table.has_probabilities else None)
        for name, highest in zip(names, probabilities, strict=True)
    ]
    answers = model.classify(TEXTS)
    compare_answers(model, "test", expected, "classify", [(each["label"], each["score"]) for each in answers])
    outputs = model.trainer.predict(model, dataloaders=StreamedBatches(model, ({"text": text} for text in TEXTS)))
    predicted: dict[int, int] = {}
    for output in outputs or []:
        predicted |= dict(zip(output["row"].tolist(), output["prediction"].tolist(), strict=True))  # type: ignore[call-overload]
    for place, text in enumerate(TEXTS):
        if predicted.get(place) != table.predictions[place]:
            raise UserError(
                f"{_name(model)}.predict_step gave class {predicted.get(place)} for {text!r}, and the test "
                f"{table.predictions[place]}: wanted the same"
            )


def compare_answers(
    model: TextClassifier,
    one: str,
    expected: Sequence[tuple[str | None, float | None]],
    other: str,
    found: Sequence[tuple[str | None, float | None]],
    remedy: str = "",
) -> None:
    """Compares the labels and scores that two ways give for the test rows.

    Raises:
        UserError: They differ.
    """
    tolerance = tolerance_of(model)
    for text, (label, score), (other_label, other_score) in zip(TEXTS, expected, found, strict=True):
        same = score == other_score or (score and other_score and math.isclose(score, other_score, abs_tol=tolerance))
        tied = score is not None and same and score * 2 <= 1 + tolerance  # rounding decides between equal scores
        if not same or (label != other_label and not tied):
            raise UserError(
                f"{_name(model)} gave {_answer(label, score)} for {text!r} in {one}, and "
                f"{_answer(other_label, other_score)} in {other}: wanted the same{remedy}"
            )


def checkpoint(run: Run) -> None:
    """Checks that a checkpoint, loaded in this process, says the same.

    Raises:
        NotCheckable: There is none, or the class is not at the top of a module.
        UserError: It cannot be loaded, or says something else.
    """
    if run.checkpoint is None:
        raise NotCheckable("it is not trained, so no run saves it")
    kind = type(run.model)
    if _is_local(kind):
        raise NotCheckable(f"{kind.__qualname__} is defined inside a function: at the top of a module it can be loaded")
    with seeded(3):  # random numbers that are not kept must be others than in the run
        loaded = kind.load_from_checkpoint(run.checkpoint)
    before, after = scores_of(run.model, TEXTS), scores_of(loaded, TEXTS)
    if (row := first_difference(before, after, tolerance_of(loaded))) is not None:
        raise UserError(
            f"{_name(loaded)} gave {shown(before[row])} for {TEXTS[row]!r}, and {shown(after[row])} once its "
            f"checkpoint was loaded: wanted the same{KEEP}"
        )


LOAD = """
import importlib, json, sys
module, path, texts, sys.path[:] = json.loads(sys.stdin.read())
importlib.import_module(module)
from textclf.models import TextClassifier
answers = TextClassifier.load_from_checkpoint(path).classify(texts)
print(json.dumps([(each["label"], each["score"]) for each in answers]))
"""


def loaded_in_new_process(run: Run) -> None:
    """Checks that a checkpoint, loaded in a new process that imports the class, says the same.

    Raises:
        NotCheckable: The class cannot be imported there, or does not classify single texts.
        UserError: It cannot be loaded, or says something else.
    """
    model, kind = run.model, type(run.model)
    if _is_local(kind) or kind.__module__ == "__main__" or not _is_importable(kind.__module__):
        raise NotCheckable(
            f"{kind.__module__}.{kind.__qualname__} cannot be imported in another process: put the class into a module "
            "to load its checkpoints elsewhere"
        )
    if model.needs_whole_split:
        raise NotCheckable("it judges a split as a whole, and does not classify single texts")
    given = json.dumps([kind.__module__, str(run.checkpoint), TEXTS, sys.path])
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input=given, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{_name(model)}: its checkpoint cannot be loaded in a new process: {last}")
    expected = [(each["label"], each["score"]) for each in model.classify(TEXTS)]
    found = [tuple(answer) for answer in json.loads(done.stdout.splitlines()[-1])]
    compare_answers(model, "the run", expected, "a new process that loaded its checkpoint", found, KEEP)


def same_seed(subject: Subject, run: Run) -> None:
    """Checks that a second run with the same seed gives the same method.

    Raises:
        UserError: It does not.
    """
    again = subject.run().model
    first, second = scores_of(run.model, TEXTS), scores_of(again, TEXTS)
    if (row := first_difference(first, second, tolerance_of(again))) is not None:
        raise UserError(
            f"{_name(again)} gave {shown(first[row])} and {shown(second[row])} for {TEXTS[row]!r} after two runs "
            "with the same seed: draw random numbers from the global generators or from a seeded one, and keep no "
            "state in the class"
        )


# Comparisons


def encoded_rows(model: TextClassifier) -> dict[str, list[Any]]:
    """Columns of the test rows, with what `encode` gives."""
    return {**deepcopy(TEXT_COLUMNS), **model.encode(deepcopy(TEXT_COLUMNS))}


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal: tensors, arrays, and lists and dictionaries of them; NaN equals NaN."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and bool(((one == other) | (one.isnan() & other.isnan())).all())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def _is_local(kind: type) -> bool:
    return "<locals>" in kind.__qualname__


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _answer(label: str | None, score: float | None) -> str:
    return repr(label) if score is None else f"{label!r} ({score:.4g})"


def _name(model: TextClassifier) -> str:
    return type(model).__name__
