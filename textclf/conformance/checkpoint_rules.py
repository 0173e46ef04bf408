"""What a checkpoint must hold: all arguments of a method, and all that its scores depend on."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

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
from textclf.conformance.subject import TEXTS, NotCheckable, Run, Subject, is_local, name_of, seeded
from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.models.read_back import REMEDY
from textclf.run.execution import check_overrides

PLAIN = (bool, int, float, str, list, tuple, dict, os.PathLike, np.generic, type(None))
KEEP = f"; {REMEDY}"


def constructed(subject: Subject) -> TextClassifier:
    """Makes the method, and checks that what it overrides is called, and that a checkpoint can keep its arguments.

    Raises:
        UserError: It cannot.
    """
    model = subject.new()
    check_overrides(model)
    for name, value in model.hparams.items():
        if not isinstance(value, PLAIN):
            raise UserError(
                f"{name_of(model)}.__init__ takes a {name_of(value)} as {name}, which a checkpoint cannot keep: "
                "take its settings, and make the object inside"
            )
    return model


def checkpoint(run: Run) -> None:
    """Checks that a checkpoint gives the same scores when it is loaded in this process.

    Raises:
        NotCheckable: There is none, or the class is not at the top of a module.
        UserError: It cannot be loaded, or gives other scores.
    """
    if run.checkpoint is None:
        raise NotCheckable("it is not trained, so no run saves it")
    kind = type(run.model)
    if is_local(kind):
        raise NotCheckable(f"{kind.__qualname__} is defined inside a function: at the top of a module it can be loaded")
    with seeded(3):  # random numbers that are not kept must be others than in the run
        loaded = kind.load_from_checkpoint(run.checkpoint)
    before, after = scores_of(run.model, TEXTS), scores_of(loaded, TEXTS)
    if (row := first_difference(before, after, tolerance_of(loaded))) is not None:
        raise UserError(
            f"{name_of(loaded)} gave {shown(before[row])} for {TEXTS[row]!r}, and {shown(after[row])} once its "
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
    """Checks that a checkpoint gives the same answers when it is loaded in a new process that imports the class.

    Raises:
        NotCheckable: The class cannot be imported there, or does not classify single texts.
        UserError: It cannot be loaded, or gives other answers.
    """
    model, kind = run.model, type(run.model)
    if is_local(kind) or kind.__module__ == "__main__" or not _is_importable(kind.__module__):
        raise NotCheckable(
            f"{kind.__module__}.{kind.__qualname__} cannot be imported in another process: put the class into a module "
            "to load its checkpoints elsewhere"
        )
    if model.needs_whole_split:
        raise NotCheckable("it scores a split as a whole, and does not classify single texts")
    given = json.dumps([kind.__module__, str(run.checkpoint), TEXTS, sys.path])
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input=given, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{name_of(model)}: its checkpoint cannot be loaded in a new process: {last}")
    found = [Answer(*answer) for answer in json.loads(done.stdout.splitlines()[-1])]
    compare_answers(model, "the run", answers_of(model), "a new process that loaded its checkpoint", found, KEEP)


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
