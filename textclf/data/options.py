"""Checks of a data module's options: an option that cannot take effect is refused, or reported as not used.

An option that belongs to another command is left alone: the configuration of a run, with `shots_per_class` in it, is
used by `test` as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.console import say
from textclf.data.cleaning import CleaningStep, RowStep
from textclf.data.contract import Method
from textclf.data.splitting import SPLITS, LimitBy, Split
from textclf.errors import UserError, check_least, check_range

BATCH_SIZE = 32
EVAL_BATCH_SIZE = 64
VAL_SIZE = 0.1
SEED = 42
"""Defaults: a value that differs from them was given by the user."""


class RowOptions(Protocol):
    """The options of a data module that say which rows there are; see `TextDataModule` for their meaning."""

    val_size: float
    limit: dict[Split, int]
    shots_per_class: int | None
    folds: int | None
    recipe: ClassVar[Sequence[CleaningStep]]
    cleaning: Sequence[CleaningStep]

    def source_splits(self) -> tuple[Split, ...]:
        """The splits that the source itself has."""

    def used_splits(self) -> tuple[Split, ...]:
        """The splits before validation rows are held out; with folds, train and test are of one split."""

    def has_split(self, split: Split) -> bool:
        """Whether there are rows for `split`, those made here included."""


class Options(RowOptions, Protocol):
    """All options that are checked here."""

    batch_size: int
    eval_batch_size: int
    max_batch_tokens: int | None
    num_workers: int
    seed: int
    limit_by: LimitBy
    balanced: bool
    fold: int | None
    fold_groups: str | None


def check_options(data: Options) -> None:
    """Checks the values of options, and that no two of them exclude each other.

    Raises:
        UserError: A value is out of range, or one option leaves another without effect.
    """
    check_range("val_size", data.val_size, 0 <= data.val_size < 1, "a share, 0 or more and less than 1")
    check_least("batch_size", data.batch_size, 1)
    check_least("eval_batch_size", data.eval_batch_size, 1)
    check_least("max_batch_tokens", data.max_batch_tokens, 1)
    check_least("num_workers", data.num_workers, 0)
    check_least("seed", data.seed, 0)
    check_least("shots_per_class", data.shots_per_class, 1)
    if data.balanced and data.max_batch_tokens is not None:
        raise UserError("balanced draws other rows in each epoch: give batch_size instead of max_batch_tokens")
    if data.limit_by != "stratified" and not data.limit:
        raise UserError(f"limit_by {data.limit_by!r} has no effect without a limit: give --data.limit, or leave it out")
    if "train" in data.limit and data.shots_per_class is not None:
        raise UserError(
            f"limit of train {data.limit['train']} and shots_per_class {data.shots_per_class} are two ways to choose "
            "train rows: give one of them"
        )
    _check_folds(data)
    sizes = (data.batch_size, data.eval_batch_size)
    if data.max_batch_tokens is not None and sizes != (BATCH_SIZE, EVAL_BATCH_SIZE):
        say(
            f"max_batch_tokens {data.max_batch_tokens} is used instead of batch_size {data.batch_size} and "
            f"eval_batch_size {data.eval_batch_size}"
        )


def _check_folds(data: Options) -> None:
    check_least("folds", data.folds, 2)
    if data.folds is None:
        for name, value in (("fold", data.fold), ("fold_groups", data.fold_groups)):
            if value is not None:
                raise UserError(f"{name} {value!r} has no effect without folds: give --data.folds, or leave it out")
    elif data.fold is None:
        raise UserError(f"folds {data.folds}: name the one that is tested with --data.fold 0 to {data.folds - 1}")
    else:
        check_range("fold", data.fold, 0 <= data.fold < data.folds, f"a number from 0 to {data.folds - 1}")


def limits_by_split(limit: int | Mapping[Split, int] | None) -> dict[Split, int]:
    """Returns the limit of each split that has one; a single number is that of the test split.

    Raises:
        UserError: A name is not a split, or a number is not a whole one from 1.
    """
    limits: dict[Split, int] = {"test": limit} if isinstance(limit, int) else dict(limit or {})
    if limit == {}:
        raise UserError("limit {} names no split: give a number of test rows, or {train: 1000, test: 200}")
    for split, rows in limits.items():
        if split not in SPLITS:
            raise UserError(f"limit names {split!r}, which is not a split: give a number for {', '.join(SPLITS)}")
        if type(rows) is not int or rows < 1:
            raise UserError(f"limit {rows!r} of {split} is not a number of rows: give a whole number from 1")
    return limits


def refuse_without_effect(data: RowOptions) -> None:
    """Refuses options that have no effect on the splits that the source has.

    Raises:
        UserError: There is such an option; the message names it.
    """
    source = data.source_splits()
    there = f"the source has only {', '.join(source)}"
    if data.folds is not None and "train" not in source and len(source) != 1:
        raise UserError(f"folds {data.folds} divides the train rows, or those of the only split: {there}; leave it out")
    source = data.used_splits()
    for split in data.limit:
        if not data.has_split(split):
            raise UserError(f"limit of {split} has no effect: {there}, so there is no {split} split; leave it out")
    if data.shots_per_class is not None and source == ("validation",):
        raise UserError(f"shots_per_class {data.shots_per_class} has no effect: {there}; leave it out")
    if data.val_size not in (0, VAL_SIZE):
        remedy = "leave it out, or pass --data.val_size 0"
        if "validation" in source:
            raise UserError(f"val_size {data.val_size} has no effect: the source has a validation split; {remedy}")
        if "train" not in source and data.shots_per_class is not None:
            raise UserError(
                f"val_size {data.val_size} has no effect: shots_per_class determines the train rows; {remedy}"
            )
    _refuse_cleaning(data)


def _refuse_cleaning(data: RowOptions) -> None:
    """Refuses cleaning steps whose splits are not cleaned; those of the data set's own recipe may have no effect."""
    source = data.used_splits()
    # Validation rows that are held out of train are cleaned with it.
    cleaned = {split for split in SPLITS if split in source or (split != "validation" and data.has_split(split))}
    own = [step.as_config() for step in data.recipe]
    for step in data.cleaning:
        if not isinstance(step, RowStep) or step.as_config() in own or cleaned & set(step.splits):
            continue
        name = type(step).__name__
        of = ", ".join(step.splits)
        if "train" in step.splits:  # a trained model is evaluated on a source without train rows
            say(f"cleaning: {name} is for {of} rows, and there are none: it drops nothing")
        elif "validation" in step.splits and data.has_split("validation"):
            raise UserError(
                f"cleaning: {name} for {of} has no effect: validation rows are held out of train, and cleaned with it; "
                "put train into its splits"
            )
        else:
            raise UserError(f"cleaning: {name} for {of} has no effect: the source has only {', '.join(source)}")


def refuse_for_method(data: Options, model: Method, stage: str) -> None:
    """Refuses options that have no effect on a method.

    Args:
        data: The data module.
        model: The method.
        stage: The command: `fit`, `validate` or `test`.

    Raises:
        UserError: There is such an option; the message names it.
    """
    name = type(model).__name__
    if stage == "fit":
        if data.balanced and not model.trains_by_batches:
            raise UserError(
                f"balanced has no effect: {name} is not trained by batches; leave it out, or weigh the classes by "
                "--model.class_weights balanced where the method has it"
            )
        return
    if is_overridden("training_step", model):  # the options took effect in `fit`
        return
    if data.balanced:
        raise UserError(f"balanced has no effect: {name} is not trained; leave it out")
    test_alone = data.used_splits() == ("test",)
    request = model.example_request()
    if not test_alone and not (request and request.shots):
        if data.shots_per_class is not None:
            raise UserError(
                f"shots_per_class {data.shots_per_class} has no effect: {name} reads no train rows; leave it out"
            )
        if "train" in data.limit:
            say(f"limit of train is not used: {name} reads no train rows")
    if test_alone and request is None and data.shots_per_class is None:
        if data.val_size not in (0, VAL_SIZE):
            raise UserError(
                f"val_size {data.val_size} has no effect: there is a test split only, and {name} needs no rows of it; "
                "leave it out"
            )
        if data.seed != SEED:
            say(f"seed {data.seed} of the data is not used: nothing is drawn from the test split alone")
