"""What scores must be: the same each time, in any batch, and one column per label in the order of the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from textclf.conformance.comparison import first_difference, scores_of, shown, tolerance_of
from textclf.conformance.invariance import BASE, many_texts, scores_by_way
from textclf.conformance.subject import BATCH, PAIRS, TEXTS, NotCheckable, Subject, name_of, seeded
from textclf.errors import UserError
from textclf.models.base import TextClassifier

ROWS = 66
"""Texts of the check of batch sizes: a batch of 64, and one of two."""


def scores(model: TextClassifier) -> None:
    """Scores batches of several rows and of one row, through the checks that every run makes.

    Raises:
        UserError: A check fails, or labels are needed, which are unknown in prediction.
    """
    try:
        scores_of(model, TEXTS)
    except KeyError as error:
        if error.args[0] not in ("label", "labels", "id"):
            raise
        raise UserError(
            f"{name_of(model)} needs {error.args[0]!r} to score texts: encode, collate and log_scores are given texts "
            "alone when they are predicted; use labels in prepare and training_step"
        ) from error


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
            f"{name_of(model)}.log_scores gave {shown(first[row])} and then {shown(second[row])} for {TEXTS[row]!r}: "
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
    alone = []
    with model.scored_apart():
        together = scores_of(model, TEXTS, pairs, len(TEXTS))
        backwards = scores_of(model, TEXTS[::-1], None if pairs is None else pairs[::-1], BATCH).flip(0)
        for place, text in enumerate(TEXTS):  # one call for each, so that it is also encoded alone
            pair = None if pairs is None else [pairs[place]]
            alone.append(scores_of(model, [text], pair, 1))
    ways = {"alone": torch.cat(alone), "in smaller batches of another order": backwards}
    for way, found in ways.items():
        if (row := first_difference(found, together, tolerance_of(model))) is not None:
            raise UserError(
                f"{name_of(model)}.log_scores gave {shown(found[row])} for {TEXTS[row]!r} {way}, and "
                f"{shown(together[row])} in a batch of {len(TEXTS)}: wanted the same scores; mask the padding, and "
                "compute nothing over the rows of a batch, in encode and collate too"
            )


def batch_sizes(model: TextClassifier) -> None:
    """Checks that scores do not depend on the batch size, with more rows than a few.

    Raises:
        UserError: They do.
    """
    texts = many_texts(ROWS)
    ways = {way: scores for way, (scores, _) in scores_by_way(model, texts).items()}
    for way, found in ways.items():
        if (row := first_difference(found, ways[BASE], tolerance_of(model))) is not None:
            raise UserError(
                f"{name_of(model)}.log_scores gave {shown(found[row])} for {texts[row]!r} in {way}, and "
                f"{shown(ways[BASE][row])} in {BASE}: wanted the same scores for any batch size"
            )


def pairs(subject: Subject) -> None:
    """Checks text pairs in the same way, after a run with them.

    Raises:
        NotCheckable: The method refuses them.
        UserError: The contract is broken with pairs alone, or a pair's scores depend on other pairs.
    """
    try:
        model = subject.run(pairs=True).model
        scores_of(model, TEXTS, PAIRS)
    except (UserError, ValueError) as error:
        if re.match(rf"{name_of(subject.new())}\.\w+ gave ", str(error)):
            raise
        raise NotCheckable(f"it takes one text: {error}") from error
    batches(model, PAIRS)


def label_order(subject: Subject, model: TextClassifier) -> None:
    """Checks that columns follow `label_names`: a method that sorts its labels, say, would give each score to another.

    Raises:
        NotCheckable: What the method knows of the labels, it learns from rows, or it does not take other labels.
        UserError: The columns stay in place where the labels change theirs.
    """
    prepares = type(model).prepare is not TextClassifier.prepare
    if model.trains_by_batches or prepares or model.example_request() is not None:
        raise NotCheckable("it learns the order of the labels from rows")
    names = subject.label_names
    tolerance = tolerance_of(model)
    try:
        original = scores_of(subject.ready(subject.new()), TEXTS)
        reverse = scores_of(subject.ready(subject.new(names[::-1])), TEXTS)
        renamed = scores_of(subject.ready(subject.new([f"other {name}" for name in names])), TEXTS)
    except UserError as error:
        raise NotCheckable(f"it takes no other labels: {error}") from error
    follows = first_difference(original.flip(1), reverse, tolerance) is None
    stays = first_difference(original, reverse, tolerance) is None
    uses_names = first_difference(original, renamed, tolerance) is not None
    if stays and uses_names and not follows:
        raise UserError(
            f"{name_of(model)}.log_scores gave the same columns for the labels {', '.join(names)} and for the reverse "
            "order: wanted one column per label in the order of self.label_names, which is not sorted"
        )
