"""From encoded rows on disk to batches: reading, collating, and going on in mid-epoch."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from textclf.data.batching import LengthBatchSampler
from textclf.data.contract import batch_of
from textclf.errors import UserError
from textclf.types import Dataset


class RowReader(torch.utils.data.Dataset[dict[str, Any]]):
    """Reads a batch of encoded rows from Arrow at once, as a dictionary of columns."""

    def __init__(self, encoded: Dataset) -> None:
        """Takes the rows as `datasets` keeps them on disk."""
        self.encoded = encoded

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.encoded)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A batch of one row."""
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        """The columns of the rows at `indices`, with `row` and `filler`; a filler's index is `~row`."""
        filler = indices[0] < 0
        places = [~i for i in indices] if filler else indices
        columns: dict[str, Any] = self.encoded[places]
        return columns | {"row": places, "filler": filler}


class Collator:
    """Adds to the model's batch what every batch carries.

    Workers that are not forked are sent it as plain bytes: torch would hand each tensor on as an open file.
    """

    def __init__(self, collate: Any) -> None:
        """Takes the model's `collate`."""
        self.collate = collate

    def __getstate__(self) -> dict[str, bytes]:
        """Packs the model's `collate`."""
        return {"collate": pickle.dumps(self.collate)}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        """Unpacks it."""
        self.collate = pickle.loads(state["collate"])

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """From columns of rows to a batch."""
        common = {"id": rows["id"], "row": torch.tensor(rows["row"]), "filler": rows["filler"]}
        if "label" in rows:
            common["labels"] = torch.tensor(rows["label"])
        return {**batch_of(self.collate, rows), **common}


def worker_collator(model: Any) -> Collator:
    """Makes what worker processes collate batches with: it knows the model, without its weights.

    Args:
        model: The method, a `TextClassifier`.

    Raises:
        UserError: It has to be sent to them, and cannot be.
    """
    collator = Collator(model.for_workers().collate)
    method = multiprocessing.get_start_method(allow_none=True)  # without that, asking would choose one
    if (method or multiprocessing.get_all_start_methods()[0]) == "fork":
        return collator  # nothing is sent
    try:
        pickle.dumps(collator)
    except Exception as error:  # whatever the objects in it raise
        raise UserError(
            f"num_workers: a {type(model).__name__} cannot be sent to worker processes ({str(error).splitlines()[0]}): "
            "give --data.num_workers 0, or leave the object out in `for_workers`"
        ) from error
    return collator


class ResumableLoader(DataLoader[Any]):
    """A `DataLoader` over a `LengthBatchSampler` that can go on in the middle of an epoch.

    `TextDataModule` keeps its `state_dict` in every checkpoint, and gives it back when training is resumed.
    """

    batch_sampler: LengthBatchSampler

    def __init__(self, dataset: Any, batch_sampler: LengthBatchSampler, **kwargs: Any) -> None:
        """Takes a `DataLoader`'s arguments."""
        # A generator of its own: else each pass would draw from the global one, and dropout would change with it.
        generator = torch.Generator().manual_seed(batch_sampler.seed)
        super().__init__(dataset, batch_sampler=batch_sampler, generator=generator, **kwargs)
        self._served = 0
        self._resume: dict[str, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises its own iterator class
        """Yields the batches of the sampler's epoch; after `load_state_dict`, those that are left of it."""
        resume, self._resume = self._resume, None
        resumed = resume is not None and resume["epoch"] == self.batch_sampler.epoch
        self._served = resume["batches"] if resume is not None and resumed else 0
        self.batch_sampler.skip = self._served
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except UserError as error:
                raise _in_one_line(error) from error
            self._served += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, its number of batches, and how many of them were handed out."""
        return {"epoch": self.batch_sampler.epoch, "steps": len(self.batch_sampler), "batches": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next pass over that epoch begin behind the batches handed out before.

        Raises:
            UserError: The epoch has another number of batches now: its batches are others.
        """
        if state["steps"] != len(self.batch_sampler):
            raise UserError(
                f"the interrupted epoch had {state['steps']} batches, now it would have {len(self.batch_sampler)}: "
                "resume with the same rows, batch size and number of processes"
            )
        self._resume = dict(state)


class PredictionBatches:
    """The batches of a loader, for prediction: there Lightning replaces the sampler of any `DataLoader`."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        """Takes the loader."""
        self.loader = loader

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Yields the batches."""
        return iter(self.loader)


def _in_one_line(error: UserError) -> UserError:
    """The message of an error alone: torch puts the traceback of a worker process into it."""
    text = str(error)
    return UserError(text.rpartition("UserError: ")[2].strip()) if text.startswith("Caught UserError") else error
