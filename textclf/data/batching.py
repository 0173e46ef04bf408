"""Batches of rows of similar length: how rows are grouped, shuffled, shared among processes, read and resumed."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from textclf.data.contract import Method, batch_of
from textclf.errors import UserError
from textclf.types import Dataset

# Which rows are in a batch


def batch_starts(descending_lengths: np.ndarray, batch_size: int, max_batch_tokens: int | None = None) -> list[int]:
    """Cuts rows that are sorted from long to short into batches.

    Args:
        descending_lengths: Length of each row in tokens, longest first, shape `(rows,)`.
        batch_size: Rows in a batch, where there is no token budget.
        max_batch_tokens: Tokens in a padded batch (rows times the longest of them); replaces `batch_size`. A row
            that is longer than the budget is a batch of its own.

    Returns:
        The index of the first row of each batch, and the number of rows as the last entry.
    """
    starts = [0]
    total = len(descending_lengths)
    while starts[-1] < total:
        longest = max(1, int(descending_lengths[starts[-1]]))
        size = batch_size
        if max_batch_tokens is not None:
            size = max(1, max_batch_tokens // longest)
        starts.append(min(starts[-1] + size, total))
    return starts


def coarse_lengths(lengths: np.ndarray) -> np.ndarray:
    """Rounds lengths up to a grid with steps of about a sixteenth, so that many rows share one length.

    Rows of one coarse length are interchangeable: shuffling among them makes new batches each epoch, at a cost of at
    most 1/16 in padding.
    """
    step = 2 ** np.maximum(0, np.floor(np.log2(np.maximum(lengths, 1))).astype(np.int64) - 4)
    coarse: np.ndarray = np.ceil(lengths / step).astype(np.int64) * step
    return coarse


def balanced_draw(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws as many rows as there are, evenly over the classes; their numbers differ by at most one.

    No row of a class is drawn again before all others of that class were drawn.

    Args:
        labels: Class of each row, shape `(rows,)`.
        generator: Source of the random numbers.

    Returns:
        Row numbers, shape `(rows,)`.
    """
    classes = np.unique(labels)
    quotas = np.full(len(classes), len(labels) // len(classes))
    quotas[generator.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    drawn = []
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = -(-quota // len(members))  # rounded up
        order = np.concatenate([generator.permutation(members) for _ in range(rounds)])
        drawn.append(order[:quota])
    return np.concatenate(drawn)


class LengthBatchSampler(Sampler[list[int]]):
    """Yields row numbers, a batch at a time, for one of several processes.

    Shuffled (training): the order of rows of one length and the order of the batches are drawn from `seed` and the
    epoch. Every process takes the same number of steps: where the number of batches is not divisible by the number of
    processes, the first batches are used twice in an epoch. The number of batches is the same in every epoch.

    Not shuffled (evaluation): each row appears once over all processes, for any number of them, and the batches are
    those that one process would form. A process with fewer batches than others repeats a row as a *filler*, written
    as its complement `~row`: it keeps collective forward passes in step, and is never counted.

    Balanced (training): an epoch has its usual number of rows, evenly over the classes: rows of a rare class are drawn
    several times, those of a frequent one not in every epoch.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows in a batch.
        max_batch_tokens: Tokens in a padded batch, instead of `batch_size`.
        shuffle: Whether the rows of equal length and the batches are shuffled, as in training.
        balance: Class of each row, where classes are to be balanced; not with a token budget, whose number of batches
            would differ from epoch to epoch.
        seed: Seed of the shuffling.
        rank: Index of this process.
        world_size: Number of processes.

    Attributes:
        epoch: The epoch whose order is used next.
        skip: Number of batches to leave out at the beginning of the next pass, which were yielded before an
            interruption.
    """

    def __init__(  # noqa: D107  # the class describes it
        self,
        lengths: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        max_batch_tokens: int | None = None,
        shuffle: bool = False,
        balance: np.ndarray | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        lengths = np.asarray(lengths)
        self.lengths = coarse_lengths(lengths) if shuffle else lengths
        self.starts = batch_starts(np.sort(self.lengths)[::-1], batch_size, max_batch_tokens)
        self.shuffle = shuffle
        self.seed = seed
        self.balance = balance
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.skip = 0

    @property
    def sampler(self) -> Self:
        """Itself: Lightning calls `set_epoch` of the `sampler` of a batch sampler, not of the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch whose order is used next; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Steps of this process in a whole epoch; the same on every process."""
        return -(-(len(self.starts) - 1) // self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yields this process's batches of the epoch, without the first `skip`."""
        batches = self._shuffled() if self.shuffle else self._in_order()
        for batch in batches[self.skip :]:
            yield batch.tolist()

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        return [order[a:b] for a, b in zip(self.starts, self.starts[1:], strict=False)]

    def _in_order(self) -> list[np.ndarray]:
        order = np.argsort(-self.lengths, kind="stable")
        mine = self._batches(order)[self.rank :: self.world_size]
        filler = ~order[-1:]
        return mine + [filler] * (len(self) - len(mine))

    def _shuffled(self) -> list[np.ndarray]:
        generator = np.random.default_rng((self.seed, self.epoch))
        rows = np.arange(len(self.lengths))
        if self.balance is not None:
            rows = balanced_draw(self.balance, generator)
        shuffled = generator.permutation(rows)
        # A stable sort keeps the shuffled order among rows of one length.
        by_length = shuffled[np.argsort(-self.lengths[shuffled], kind="stable")]
        batches = self._batches(by_length)
        # The processes take neighbouring batches in one step: these have similar lengths, so that none waits for long.
        # `resize` repeats the first batches where the last step is not full.
        steps = np.resize(np.arange(len(batches)), (len(self), self.world_size))
        return [batches[step[self.rank]] for step in steps[generator.permutation(len(steps))]]


# From rows to batches


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
        if filler:
            indices = [~i for i in indices]
        columns: dict[str, Any] = self.encoded[indices]
        return columns | {"row": indices, "filler": filler}


class Collator:
    """Collates rows by the method's `collate`, and adds the entries that every batch has.

    Worker processes that are not forked receive it as plain bytes: torch's pickler would pass each tensor on as an open
    file.
    """

    def __init__(self, collate: Callable[[dict[str, Any]], Any]) -> None:
        """Takes the method's `collate`."""
        self.collate = collate

    def __getstate__(self) -> dict[str, bytes]:
        """Pickles `collate` by Python's own pickler."""
        return {"collate": pickle.dumps(self.collate)}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        """Restores `collate`."""
        self.collate = pickle.loads(state["collate"])

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """From columns of rows to a batch."""
        batch = batch_of(self.collate, rows)
        batch["id"] = rows["id"]
        batch["row"] = torch.tensor(rows["row"])
        batch["filler"] = rows["filler"]
        if "label" in rows:
            batch["labels"] = torch.tensor(rows["label"])
        return batch


def worker_collator(model: Method) -> Collator:
    """Makes the collator of worker processes, which holds the method without its weights.

    Args:
        model: The method.

    Raises:
        UserError: Workers are not forked, and the method cannot be pickled for them.
    """
    collator = Collator(model.for_workers().collate)
    start_method = multiprocessing.get_start_method(allow_none=True)  # by default this would set the start method
    if start_method is None:
        start_method = multiprocessing.get_all_start_methods()[0]
    if start_method == "fork":
        return collator  # nothing is pickled
    try:
        pickle.dumps(collator)
    except Exception as error:  # the objects in it may raise anything
        raise UserError(
            f"num_workers: a {type(model).__name__} cannot be sent to worker processes ({str(error).splitlines()[0]}): "
            "give --data.num_workers 0, or leave the object out in `for_workers`"
        ) from error
    return collator


class ResumableLoader(DataLoader[Any]):
    """A `DataLoader` over a `LengthBatchSampler` that can resume in the middle of an epoch.

    `TextDataModule` saves its `state_dict` in every checkpoint, and loads it when training is resumed.
    """

    batch_sampler: LengthBatchSampler

    def __init__(self, dataset: Any, batch_sampler: LengthBatchSampler, **kwargs: Any) -> None:
        """Takes a `DataLoader`'s arguments."""
        # With the global generator, each pass would draw a number from it, and dropout would change with that.
        generator = torch.Generator().manual_seed(batch_sampler.seed)
        super().__init__(dataset, batch_sampler=batch_sampler, generator=generator, **kwargs)
        self._served = 0
        self._resume: dict[str, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch promises its own iterator class
        """Yields the batches of the sampler's epoch; after `load_state_dict`, those that are left of it."""
        self._served = 0
        if self._resume is not None and self._resume["epoch"] == self.batch_sampler.epoch:
            self._served = self._resume["batches"]
        self._resume = None  # it applies to one pass
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
        """The epoch, its number of batches, and the number of those that were yielded."""
        return {"epoch": self.batch_sampler.epoch, "steps": len(self.batch_sampler), "batches": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Lets the next pass over that epoch skip the batches that were yielded before.

        Raises:
            UserError: The epoch has another number of batches now, so that they are not the same batches.
        """
        if state["steps"] != len(self.batch_sampler):
            raise UserError(
                f"the interrupted epoch had {state['steps']} batches, now it would have {len(self.batch_sampler)}: "
                "resume with the same rows, batch size and number of processes"
            )
        self._resume = dict(state)


class PredictionBatches:
    """The batches of a loader, for prediction, in which Lightning replaces the sampler of any `DataLoader`."""

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
    """The error without the traceback that torch adds to the message of an error in a worker process."""
    text = str(error)
    if not text.startswith("Caught UserError"):
        return error
    # torch makes a `UserError` of the traceback, which escapes the line break at its end.
    return UserError(text.rpartition("UserError: ")[2].removesuffix(r"\n"))
