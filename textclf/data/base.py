"""The base class of all data sets: their arguments, and the hooks that the trainer calls."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from textclf.classes.subclassing import GuardedAttributes
from textclf.console import say
from textclf.data.batching import (
    Collator,
    LengthBatchSampler,
    PredictionBatches,
    ResumableLoader,
    RowReader,
    worker_collator,
)
from textclf.data.cleaning import CleaningStep, check_recipe, text_steps
from textclf.data.columns import int_column, without_kept
from textclf.data.contract import ExampleRequest, Method
from textclf.data.examples import FIT_ROWS, rows_to_show, sample_to_fit, with_labels_of
from textclf.data.kept_columns import kept_names
from textclf.data.labels import listed, normalized_names
from textclf.data.ledger import Ledger
from textclf.data.options import (
    BATCH_SIZE,
    EVAL_BATCH_SIZE,
    SEED,
    VAL_SIZE,
    check_options,
    limits_by_split,
    refuse_for_method,
)
from textclf.data.row_cache import CachedEncoding
from textclf.data.rows import SplitRows
from textclf.data.splitting import SPLITS, LimitBy, Split
from textclf.errors import UserError
from textclf.hashing import rows_hash
from textclf.plain_values import plain_arguments, plain_state
from textclf.processes import global_seed, on_first_process, one_process_first
from textclf.types import Dataset

NEEDED: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("test",),
}
"""The splits that each command reads."""


class TextDataModule(GuardedAttributes, SplitRows, LightningDataModule):
    """Rows of one data set: `id`, `text`, `label`, and `text_pair` where there are two texts.

    A subclass names its source in the class attributes of `SplitRows`, or overrides `load_split`. Label names are known
    without a download. It knows no tokenizer and no model: it calls `prepare`, `encode` and `collate` of the method
    that the trainer runs (`textclf.data.contract.Method`).

    A batch has the entries of the method's `collate`, and `id` (list of str), `row` (int64, `(batch,)`, the index of
    the row in its split), `labels` (int64, `(batch,)`), and `filler` (bool: a repeated row that keeps processes in
    step, and is never counted).
    """

    attribute_types = {
        "label_names": ((tuple, list), "the name of each class, in a tuple or a list"),
        "_rows": (dict, "what the package keeps of the rows"),
        "_sources": (dict, "what the package keeps of the source"),
        "_encoded": (dict, "what the package keeps of encoded rows"),
        "ledger": (Ledger, "what became of the rows"),
        "cleaning": ((tuple, list), "the cleaning steps in order"),
        "recipe": ((tuple, list), "the cleaning steps in order"),
        "limit": (dict, "the most rows of each split"),
        "keep_columns": ((tuple, list), "the names of the columns to keep"),
    }
    init_call = "super().__init__(**kwargs)"

    def __init__(
        self,
        data_dir: str | None = None,
        batch_size: int = BATCH_SIZE,
        eval_batch_size: int = EVAL_BATCH_SIZE,
        max_batch_tokens: int | None = None,
        val_size: float = VAL_SIZE,
        seed: int = SEED,
        num_workers: int = 0,
        limit: int | dict[Split, int] | None = None,
        limit_by: LimitBy = "stratified",
        shots_per_class: int | None = None,
        balanced: bool = False,
        cleaning: list[CleaningStep] | None = None,
        folds: int | None = None,
        fold: int | None = None,
        fold_groups: str | None = None,
        keep_columns: list[str] | None = None,
        relabel: str | None = None,
    ) -> None:
        """Takes the arguments that every data set has.

        Args:
            data_dir: Folder with `<split>.parquet`, `.csv`, `.tsv` or `.jsonl`, read instead of the hub.
            batch_size: Rows in a training batch of one process.
            eval_batch_size: Rows in a batch of validation, test and prediction.
            max_batch_tokens: Maximum number of tokens in a padded batch, instead of both batch sizes.
            val_size: Share of the rows of each class of train that become the validation split, where the source has
                none.
            seed: Seed of the validation split, of the choice of shots, of samples of train and validation rows, and of
                the order in training. The sample that `limit` draws from a test split does not depend on it, nor does
                a test split that is made from train; test rows that are reserved for training do.
            num_workers: Number of processes that collate batches.
            limit: Maximum number of rows of the test split, or of each split: `{train: 1000, test: 200}`. They are
                counted after cleaning, and after the validation rows were held out.
            limit_by: `stratified` draws them, each class by its share and at least once; `first` takes the first rows.
            shots_per_class: Train on this many rows of each class only, drawn from train after the validation
                rows are taken out of it; not with a limit of train. Where the source has a test split alone, they
                come from it, and are not scored.
            balanced: Draw the same number of training rows of each class in an epoch: rows of rare classes several
                times, rows of frequent ones not in every epoch.
            cleaning: Cleaning steps in order; by default the data set's own recipe, none with `[]`.
            folds: Cross-validation: the rows of train, or of the only split, are divided into this many folds,
                stratified by class, equal texts together. One of them is tested, the others are trained on; the
                source's test split is not used. The division does not depend on `seed`.
            fold: Number of the fold that is tested, from 0.
            fold_groups: Column of that split whose values are kept in one fold, such as the author.
            keep_columns: Further columns of the source that are carried into the prediction tables, such as the author;
                no method is given them.
            relabel: File with new labels: the CSV file of a report's page, with its column `relabel` filled in.

        Raises:
            UserError: A value is out of range, two options exclude each other, or the cleaning steps are in an order
                that cannot work.
        """
        self._base_begins()
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.data_dir = data_dir
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.max_batch_tokens = max_batch_tokens
        self.val_size = val_size
        self.seed = seed
        self.num_workers = num_workers
        self.limit = limits_by_split(limit)
        self.limit_by = limit_by
        self.shots_per_class = shots_per_class
        self.balanced = balanced
        self.folds = folds
        self.fold = fold
        self.fold_groups = fold_groups
        self.keep_columns = kept_names(keep_columns)
        self.relabel = relabel
        check_options(self)
        self.cleaning = tuple(self.recipe if cleaning is None else cleaning)
        check_recipe(self.cleaning)
        self.hparams["cleaning"] = [step.as_config() for step in self.cleaning]
        names = getattr(type(self), "label_names", None)
        if isinstance(names, list | tuple):
            self.label_names = normalized_names(names)
            if len(self.label_names) < 2:
                raise UserError(f"{type(self).__name__}.label_names is {names!r}: give two or more names")
        self.ledger = Ledger()
        self._rows = {}
        self._sources = {}
        self._encoded: dict[Split, Dataset] = {}
        self._train_loader: ResumableLoader | None = None
        self._resume: dict[str, int] | None = None

    @property
    def num_classes(self) -> int:
        """Number of labels, known without a download."""
        return len(self.label_names)

    # Lightning's hooks

    def prepare_data(self) -> None:
        """Downloads the data set, once per machine; assigns no state, since other processes would lack it."""
        if self.data_dir is None:
            for split in self.source_splits():
                self._load(split)
                self._check_fingerprint(split)

    def _check_fingerprint(self, split: Split) -> None:
        """Reports rows that differ from those of the published figures, where the revision is only a branch."""
        known = self.hub_fingerprints.get(split)
        if known is not None and rows_hash(without_kept(self._in_standard_columns(split, steps=())[0])) != known:
            say(
                f"{self.hub_id!r} has other {split!r} rows at {self.hub_revision!r} than those of the published "
                "figures: compare with figures of your own only"
            )

    def setup(self, stage: str | None = None) -> None:
        """Reads and encodes the splits that `stage` needs; in `fit`, lets the model prepare itself first.

        Without a trainer there is no model, and rows are read but not encoded; `rows` gives them.

        Args:
            stage: `fit`, `validate`, `test` or `predict`, which is of the test split; every split by default.

        Raises:
            UserError: A split that `stage` needs does not exist, or the model has other labels than the data.
        """
        if stage is not None and stage not in NEEDED:
            raise UserError(f"stage {stage!r}: give one of {', '.join(NEEDED)}, or none for all splits")
        if self.trainer is None or stage is None:
            for split in self._needed(stage):
                self.rows(split)
            return
        if self.trainer.world_size > 1 and replaces_samplers(self.trainer):
            raise UserError(
                "the data module shares rows among processes itself: give the Trainer use_distributed_sampler=False"
            )
        model = _method_of(self.trainer)
        refuse_for_method(self, model, stage)
        if stage == "fit":
            self._check_labels(model)
        model.textclf.text_steps = text_steps(self.cleaning)
        self.show_examples(model, stage)
        needed = self._needed(stage)
        for split in needed:
            self._read_once(split)
        if stage == "fit":
            self._prepare(model)
        for split in needed:
            self._encoded[split] = self._encode(model, split)

    def _needed(self, stage: str | None) -> list[Split]:
        """The splits that a stage reads: by default all that exist; in `fit` validation only where it exists."""
        if stage is None:
            return [split for split in SPLITS if self.has_split(split)]
        if stage == "fit" and not self.has_split("validation"):
            return ["train"]
        return list(NEEDED[stage])

    def _check_labels(self, model: Method) -> None:
        """Refuses to train a model whose labels have other indices than the data's: evaluation matches them by name."""
        names = normalized_names(self.label_names)
        if tuple(model.label_names) != names:
            raise UserError(
                f"the model's labels are {listed(model.label_names, names)}, the data's are "
                f"{listed(names, model.label_names)}: make the model with data.num_classes and data.label_names"
            )

    def show_examples(self, model: Method, stage: str) -> None:
        """Gives a method the labelled rows that it requests; they are never rows that are scored.

        Examples are train rows; a method that chooses them itself is given all of these. Numbers are fitted to
        validation rows, those held out of train included. Where the source has a test split alone, both come from a
        slice of it (`val_size` of each class, by `seed`), which is then not scored; for a method that can do without
        there is no slice.

        Args:
            model: What they are for.
            stage: The command: `validate`, `test` or `predict`.

        Raises:
            UserError: There are no such rows, or too few.
        """
        request = model.example_request()
        if request is None:
            return
        if stage == "validate" and request.fit:
            raise UserError("validate: the validation rows are what this rule is fitted to: run `test`")
        test_alone = self.used_splits() == ("test",)
        if test_alone:
            if not (request.shots or request.fit or self.shots_per_class):
                return
            self.reserve_test_rows()
        shown = None
        drawn = np.empty(0, dtype=np.int64)
        if request.shots:
            train = without_kept(self._read_once("train"))
            drawn = rows_to_show(request, int_column(train, "label"), self.label_names, of_slice=test_alone)
            shown = train.select(drawn)
        fit = None
        if request.fit or (stage == "test" and (test_alone or self.has_split("validation"))):
            fit = self._rows_to_fit(request, drawn)
        model.textclf.train_rows = len(drawn)
        if request.fit and fit is not None:
            model.textclf.train_rows += len(fit)
        model.set_examples(
            with_labels_of(shown, self.label_names, model.label_names),
            with_labels_of(fit, self.label_names, model.label_names),
            of_test=self.test_rows_reserved and not request.shots,
        )

    def _rows_to_fit(self, request: ExampleRequest, drawn: np.ndarray) -> Dataset | None:
        """The rows that a few numbers are fitted to, without the examples that were drawn; None where none are left."""
        if self.used_splits() == ("test",):
            rows = self._read_once("train")
            rows = rows.select(np.setdiff1d(np.arange(len(rows)), drawn))
        else:
            rows = self._read_once("validation")
        if not len(rows):
            return None
        rows = without_kept(rows)
        most = FIT_ROWS
        if not request.fit:  # optional rows: scoring them takes no longer than the test itself
            most = min(FIT_ROWS, len(self._read_once("test")))
        return rows.select(sample_to_fit(int_column(rows, "label"), most, self.seed))

    def _read_once(self, split: Split) -> Dataset:
        """The rows of a split; where several processes share a machine, one reads and caches them first."""
        if self.trainer is None:
            return self.rows(split)
        return one_process_first(partial(self.rows, split), self.trainer)

    def _prepare(self, model: Method) -> None:
        """Lets a method that is trained prepare itself with the train rows."""
        assert self.trainer is not None
        rows = without_kept(self.rows("train"))
        present = np.unique(int_column(rows, "label"))
        if len(present) < 2:
            raise UserError(
                f"all {len(rows)} train rows have the label {self.label_names[present[0]]!r}: "
                "learning needs rows of two or more labels"
            )
        plain_arguments(model)  # arguments that a checkpoint cannot hold are refused before training
        # A method that learns from batches continues from its checkpoint. Any other one is fitted to these rows: it may
        # have been fitted to others before, in this process. Where it is resumed, the checkpoint is loaded after this.
        if not (model.textclf.restored and model.trains_by_batches):
            self._prepare_in_one_process(model, rows)
        model.textclf.train_rows = len(rows)
        model.textclf.train_seed = global_seed()

    def _prepare_in_one_process(self, model: Method, rows: Dataset) -> None:
        def fit() -> Any:
            before = model.fitted
            model.prepare(rows)
            # A subclass may use the name for something else, such as a flag of its class.
            if isinstance(model.fitted, dict) or model.fitted is not before:
                model.fitted = _plain_fitted(model)
            return model.fitted

        assert self.trainer is not None
        model.fitted = on_first_process(fit, self.trainer)

    def _encode(self, model: Method, split: Split) -> Dataset:
        """The encoded rows of a split; one process of a machine writes the cache, then the others read it."""
        assert self.trainer is not None
        rows = without_kept(self.rows(split))
        cached = CachedEncoding(model, rows, split)
        has_vectors = model.encodes_by_model and cached.file.exists()
        reused_before = model.textclf.reused_texts
        started = time.perf_counter()
        encoded = one_process_first(cached.read, self.trainer)
        seconds = time.perf_counter() - started
        # A few texts may be in the cache of vectors because they occur in another split as well.
        reused = has_vectors or model.textclf.reused_texts - reused_before > len(rows) / 2
        model.textclf.encoding_seconds[split] = None if reused else seconds
        return encoded

    def train_dataloader(self) -> Any:
        """Batches of the train split, reshuffled each epoch; after a resume, what is left of the epoch."""
        self._train_loader = self._loader("train", shuffle=True)
        if self._resume is not None:
            self._train_loader.load_state_dict(self._resume)
            self._resume = None
        return self._train_loader

    def state_dict(self) -> dict[str, Any]:
        """The position of training in its epoch.

        (Lightning saves the state of a loader itself, but does not restore it if the loader was made before the loops
        were restored, as `trainer.estimated_stepping_batches` does.)
        """
        if self._train_loader is None:
            return {}
        return {"train_loader": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the position for the next train loader."""
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._resume = state_dict.get("train_loader")

    def val_dataloader(self) -> Any:
        """Batches of the validation split; no loader where there is none."""
        if self._encoded and "validation" not in self._encoded:
            return []
        return self._loader("validation")

    def test_dataloader(self) -> Any:
        """Batches of the test split."""
        return self._loader("test")

    def scoring_dataloader(self, split: Split) -> Any:
        """Batches of a split that the running command has encoded, as evaluations get them: each row once.

        Raises:
            UserError: The split is not encoded.
        """
        return self._loader(split)

    def predict_dataloader(self) -> Any:
        """Batches of the test split, for `trainer.predict(model, datamodule=data)`."""
        return PredictionBatches(self._loader("test"))

    def _loader(self, split: Split, shuffle: bool = False) -> ResumableLoader:
        if self.trainer is None or split not in self._encoded:
            raise UserError(
                f"there are no batches of the {split} split: a model encodes the rows, so pass the data module to a "
                f"trainer, as in trainer.fit(model, datamodule=data); data.rows({split!r}) gives the rows"
            )
        encoded = self._encoded[split]
        model = _method_of(self.trainer)
        balance = None
        if shuffle and self.balanced:
            balance = int_column(encoded, "label")
        sampler = LengthBatchSampler(
            int_column(encoded, "length"),
            balance=balance,
            batch_size=self.batch_size if shuffle else self.eval_batch_size,
            max_batch_tokens=self.max_batch_tokens,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return ResumableLoader(
            RowReader(encoded),
            sampler,
            collate_fn=worker_collator(model) if self.num_workers else Collator(model.collate),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def _method_of(trainer: Trainer) -> Method:
    """The method that a trainer runs: Lightning's type is that of any module."""
    return cast("Method", trainer.lightning_module)


def replaces_samplers(trainer: Trainer) -> bool:
    """Whether Lightning replaces the samplers of loaders by its own, which repeat rows.

    Lightning keeps this argument of the `Trainer` in a private object alone; a public attribute would replace this.
    """
    return bool(trainer._accelerator_connector.use_distributed_sampler)


def _plain_fitted(model: Method) -> dict[str, Any]:
    """The fitted state of a method, reduced to values that a checkpoint can hold.

    Raises:
        UserError: It is not a dictionary, or holds an object that a checkpoint cannot hold.
    """
    where = f"{type(model).__name__}.prepare: fitted"
    fitted = plain_state(model.fitted, where)
    if not isinstance(fitted, dict):
        raise UserError(f"{where} is a {type(model.fitted).__name__}: keep a dictionary of what is fitted, by name")
    return fitted


def data_module_of(trainer: Trainer) -> TextDataModule | None:
    """The data module that a trainer runs with; None where it was given dataloaders."""
    data: TextDataModule | None = getattr(trainer, "datamodule", None)  # an attribute that Lightning sets untyped
    return data
