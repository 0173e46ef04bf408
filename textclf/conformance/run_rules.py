"""What a run must give: the same answers by every command, and the same method for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from textclf.conformance.comparison import (
    Answer,
    answers_of,
    compare_answers,
    first_difference,
    scores_of,
    shown,
    tolerance_of,
)
from textclf.conformance.subject import TEXTS, NotCheckable, Run, Subject, name_of
from textclf.errors import UserError
from textclf.evaluation.prediction_table import PredictionTable
from textclf.models.streaming import StreamedBatches, text_rows


def predictions(run: Run) -> None:
    """Checks that the report of a test, `classify` and `predict` have the same answer for each text.

    Raises:
        NotCheckable: The method scores a split as a whole.
        UserError: They do not.
    """
    model, table = run.model, run.table
    if len(table.predictions) != len(TEXTS):
        raise UserError(f"{name_of(model)}: the report has {len(table.predictions)} of {len(TEXTS)} test rows")
    if model.needs_whole_split:
        raise NotCheckable("it scores a split as a whole, and does not predict")
    compare_answers(model, "test", _answers_in(table), "classify", answers_of(model))
    outputs: list[Any] = model.trainer.predict(model, dataloaders=StreamedBatches(model, text_rows(TEXTS))) or []
    predicted: dict[int, int] = {}
    for output in outputs:
        predicted.update(zip(output["row"].tolist(), output["prediction"].tolist(), strict=True))
    for row, text in enumerate(TEXTS):
        if predicted.get(row) != table.predictions[row]:
            raise UserError(
                f"{name_of(model)}.predict_step gave class {predicted.get(row)} for {text!r}, and the test "
                f"{table.predictions[row]}: wanted the same"
            )


def _answers_in(table: PredictionTable) -> list[Answer]:
    """The answers of a report."""
    probabilities = np.exp(table.log_scores).max(axis=1)
    answers = []
    for prediction, probability in zip(table.predictions.tolist(), probabilities.tolist(), strict=True):
        if prediction < 0:
            answers.append(Answer(None, None))
        else:
            answers.append(Answer(table.label_names[prediction], probability if table.has_probabilities else None))
    return answers


def same_seed(subject: Subject, run: Run) -> None:
    """Checks that a second run with the same seed gives the same method.

    Raises:
        UserError: It does not.
    """
    again = subject.run().model
    first, second = scores_of(run.model, TEXTS), scores_of(again, TEXTS)
    if (row := first_difference(first, second, tolerance_of(again))) is not None:
        raise UserError(
            f"{name_of(again)} gave {shown(first[row])} and {shown(second[row])} for {TEXTS[row]!r} after two runs "
            "with the same seed: draw random numbers from the global generators or from a seeded one, and keep no "
            "state in the class"
        )
