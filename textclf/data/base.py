"""The data axis: rows, splits and label names, and their side of the contract with the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn

from textclf.data.batching import LengthBatchSampler
from textclf.data.loading import Collator, ResumableLoader, RowReader
from textclf.data.splitting import stratified_split
from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.types import Dataset

Split = Literal["train", "validation", "test"]
NEEDED: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
}


class TextDataModule(LightningDataModule):
    """Rows of one data set: `id`, `text`, `label`, and `text_pair` where there are two texts.

    A subclass names its source in class attributes, or overrides `load_split`. Label names are known without a
    download. It knows no tokenizer and no model: it takes `encode`, `prepare` and `collate` from the model that
    the trainer runs.

    Batches are what the model's `collate` gives, and `id` (list of str), `row` (int64, `(batch,)`, the row's place in
    its split), `labels` (int64, `(batch,)`), and `filler` (bool: a repeated row that keeps processes in step, and is
    never counted).

    Attributes:
        label_names: Name of each class; the place is the label's index.
        hub_id: Repository on the hub.
        hub_revision: Branch or commit of it.
        hub_splits: The splits that it has.
        text_column: The source's column of texts.
        text_pair_column: The source's column of second texts.
        label_column: The source's column of labels: indices, or names.
        id_column: The source's column of ids; the row number where it has none.
    """

    label_names: Sequence[str]
    hub_id: ClassVar[str]
    hub_revision: ClassVar[str | None] = None
    hub_splits: ClassVar[tuple[Split, ...]] = ("train", "test")
    text_column: str = "text"
    text_pair_column: str | None = None
    label_column: str = "label"
    id_column: str | None = None

    def __init__(
        self,
        data_dir: str | None = None,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        max_batch_tokens: int | None = None,
        val_size: float = 0.1,
        seed: int = 42,
        num_workers: int = 0,
        limit: int | None = None,
    ) -> None:
        """Takes what every data set takes.

        Args:
            data_dir: Folder with `<split>.parquet`, `.csv`, `.tsv` or `.jsonl`, read instead of the hub.
            batch_size: Training rows in a batch, of one process.
            eval_batch_size: Rows in a batch of validation and test.
            max_batch_tokens: Tokens in a padded batch, instead of both sizes.
            val_size: Share of the train split held out, by stratum, where the source has no validation split.
            seed: Of the hold-out and of the order in training.
            num_workers: Processes that collate batches.
            limit: Take the first rows of the test split only.

        Raises:
            UserError: A value is out of range.
        """
        super().__init__()
        self.save_hyperparameters(logger=False)
        if not 0 <= val_size < 1:
            raise UserError(f"val_size {val_size} is not a share: give a number from 0 up to, not including, 1")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("max_batch_tokens", max_batch_tokens, 1),
            ("num_workers", num_workers, 0),
            ("limit", limit, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"{name} {value} is too small: give {least} or more")
        self.data_dir = data_dir
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.max_batch_tokens = max_batch_tokens
        self.val_size, self.seed, self.num_workers, self.limit = val_size, seed, num_workers, limit
        self._rows: dict[Split, Dataset] = {}
        self._encoded: dict[Split, Dataset] = {}
        self._train_loader: ResumableLoader | None = None
        self._resume: dict[str, int] | None = None

    @property
    def num_classes(self) -> int:
        """Number of labels, known without a download."""
        return len(self.label_names)

    # Rows

    def source_splits(self) -> tuple[Split, ...]:
        """The splits that the source itself has.

        Raises:
            UserError: `data_dir` does not exist. (It need not for `predict`, whose checkpoint knows the labels.)
        """
        if self.data_dir is None:
            return self.hub_splits
        if not Path(self.data_dir).is_dir():
            raise UserError(
                f"data_dir {self.data_dir!r} is not a folder: give one that holds train.parquet, test.csv, ..."
            )
        from textclf.data.reading import split_file

        return tuple(s for s in ("train", "validation", "test") if split_file(self.data_dir, s))

    def load_split(self, split: Split) -> Dataset:
        """Reads one split of the source, in the source's columns; override it for a source of another kind.

        Raises:
            UserError: It cannot be read; the message says what to pass.
        """
        from textclf.data.reading import read_hub, read_split

        if self.data_dir is not None:
            return read_split(self.data_dir, split)
        return read_hub(self.hub_id, self.hub_revision, split)

    def has_split(self, split: Split) -> bool:
        """Whether there are rows for `split`, held-out ones included."""
        source = self.source_splits()
        return split in source or (split == "validation" and "train" in source and self.val_size > 0)

    def rows(self, split: Split) -> Dataset:
        """Rows of a split in order: `id` (str), `text` (str), `text_pair` (str, where there is one), `label` (int64).

        Raises:
            UserError: There is no such split, or the source's columns or labels are not as expected.
        """
        if split not in self._rows:
            if not self.has_split(split):
                where = f"{self.data_dir!r} has" if self.data_dir else "the source has"
                raise UserError(
                    f"{type(self).__name__} has no {split!r} split: {where} only "
                    f"{', '.join(self.source_splits()) or 'none'}: add {split}.parquet, .csv, .tsv or .jsonl to it"
                )
            self._read(split)
        if not len(self._rows[split]):
            raise UserError(self._why_empty(split))
        return self._rows[split]

    def _read(self, split: Split) -> None:
        held_out = split != "test" and "validation" not in self.source_splits() and self.val_size > 0
        rows = self._standard_columns(self.load_split("train" if held_out else split))
        if held_out:
            kept, held = stratified_split(np.asarray(rows["label"]), self.val_size, self.seed)
            self._rows["train"], self._rows["validation"] = rows.select(kept), rows.select(held)
        else:
            self._rows[split] = (
                rows.select(range(min(self.limit, len(rows)))) if self.limit and split == "test" else rows
            )

    def _why_empty(self, split: Split) -> str:
        if split == "validation" and split not in self.source_splits():
            return (
                f"val_size {self.val_size} holds out none of the {len(self._rows['train'])} train rows: "
                "give a larger share, or 0 to train without validation"
            )
        return f"the {split!r} split is empty: {self.data_dir or type(self).__name__} gives no rows for it"

    def _standard_columns(self, source: Dataset) -> Dataset:
        from textclf.data.reading import standard_columns

        return standard_columns(
            source,
            text=self.text_column,
            text_pair=self.text_pair_column,
            label=self.label_column,
            id_=self.id_column,
            label_names=self.label_names,
        )

    # Lightning's hooks

    def prepare_data(self) -> None:
        """Downloads what the hub has, once per machine, and keeps no state."""
        if self.data_dir is None:
            for split in self.source_splits():
                self.load_split(split)

    def setup(self, stage: str) -> None:
        """Reads and encodes the splits that `stage` needs; in `fit`, lets the model prepare itself first.

        Raises:
            UserError: A split that `stage` needs is not there.
        """
        if self.trainer is None or stage not in NEEDED:
            return
        model: TextClassifier = self.trainer.lightning_module  # type: ignore[assignment]  # theirs is the base class
        if stage == "fit":
            self._prepare(model)
        for split in NEEDED[stage]:
            if stage != "fit" or self.has_split(split):
                self._encoded[split] = self._encode(model, split)

    def _prepare(self, model: TextClassifier) -> None:
        assert self.trainer is not None
        rows = self.rows("train")
        if model.restored:
            return
        error = None
        if self.trainer.is_global_zero:
            try:
                model.prepare(rows)
            except UserError as mistake:
                error = mistake
        # The others would wait for ever for one that has failed.
        model.fitted, error = self.trainer.strategy.broadcast((model.fitted, error))
        if error is not None:
            raise error

    def _encode(self, model: TextClassifier, split: Split) -> Dataset:
        """Runs `model.encode` over a split, or takes its result from the cache; one process of a machine goes first."""
        from textclf.data.reading import cache_folder, fingerprint

        assert self.trainer is not None
        rows = self.rows(split)
        key = hashlib.sha256(f"{fingerprint(rows)} {model.encoding_key()}".encode()).hexdigest()[:32]

        def encode() -> Dataset:
            return rows.map(
                model.encode,
                batched=True,
                cache_file_name=str(cache_folder() / f"{key}.arrow"),
                new_fingerprint=key,
                desc=f"encoding {split}",
            )

        return self._one_goes_first(encode)

    def _one_goes_first(self, work: Callable[[], Dataset]) -> Dataset:
        """Does what can be cached on one process of a machine, then on the others; a mistake is everybody's."""
        assert self.trainer is not None
        if self.trainer.world_size == 1:
            return work()
        result, error = None, None
        if self.trainer.local_rank == 0:
            try:
                result = work()
            except UserError as mistake:
                error = mistake
        errors: list[UserError | None] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(errors, error)
        for error in errors:
            if error is not None:
                raise error
        return work() if result is None else result

    def train_dataloader(self) -> Any:
        """Batches of the train split, reshuffled each epoch; after a resume, what is left of the epoch."""
        self._train_loader = self._loader("train", shuffle=True)
        if self._resume is not None:
            self._train_loader.load_state_dict(self._resume)
            self._resume = None
        return self._train_loader

    def state_dict(self) -> dict[str, Any]:
        """Where training stands in its epoch.

        (Lightning keeps a loader's state itself, but does not give it back where the loader was made before the loops
        were restored, as `trainer.estimated_stepping_batches` does.)
        """
        return {} if self._train_loader is None else {"train_loader": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps it for the next train loader."""
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._resume = state_dict.get("train_loader")

    def val_dataloader(self) -> Any:
        """Batches of the validation split; nothing where there is none."""
        return self._loader("validation") if "validation" in self._encoded else []

    def test_dataloader(self) -> Any:
        """Batches of the test split."""
        return self._loader("test")

    def _loader(self, split: Split, shuffle: bool = False) -> ResumableLoader:
        assert self.trainer is not None
        encoded = self._encoded[split]
        sampler = LengthBatchSampler(
            np.asarray(encoded["length"]),
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
            collate_fn=Collator(self.trainer.lightning_module.collate),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
