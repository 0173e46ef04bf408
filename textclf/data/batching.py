"""Batches of similar length: how rows are grouped, shuffled, shared among processes, and resumed."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from torch.utils.data import Sampler


def batch_starts(descending_lengths: np.ndarray, batch_size: int, max_batch_tokens: int | None = None) -> list[int]:
    """Cuts rows that are sorted from long to short into batches.

    Args:
        descending_lengths: Length of each row in tokens, longest first, shape `(rows,)`.
        batch_size: Rows in a batch, where there is no token budget.
        max_batch_tokens: Tokens in a padded batch (rows times the longest of them); replaces `batch_size`. A row
            that is longer than the budget is a batch of its own.

    Returns:
        Where each batch starts, and the number of rows as the last entry.
    """
    starts, total = [0], len(descending_lengths)
    while starts[-1] < total:
        longest = max(1, int(descending_lengths[starts[-1]]))
        size = batch_size if max_batch_tokens is None else max(1, max_batch_tokens // longest)
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
    """Draws as many rows as there are, the same number of each class (one more of some, where it does not divide).

    No row of a class comes again before all others of it have come.

    Args:
        labels: Class of each row, shape `(rows,)`.
        generator: Of the draw.

    Returns:
        Row numbers, shape `(rows,)`.
    """
    classes = np.unique(labels)
    quotas = np.full(len(classes), len(labels) // len(classes))
    quotas[generator.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    drawn = []
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = -(-quota // len(members))
        drawn.append(np.concatenate([generator.permutation(members) for _ in range(rounds)])[:quota])
    return np.concatenate(drawn)


class LengthBatchSampler(Sampler[list[int]]):
    """Yields row numbers, a batch at a time, for one of several processes.

    Shuffled (training): the order within a length and the order of the batches are drawn anew from `seed` and the
    epoch; every process takes the same number of steps, so the first batches may be seen twice in an epoch where the
    number of batches does not divide. The number of batches is the same in every epoch.

    Not shuffled (evaluation): each row appears once over all processes, whatever their number, and the batches
    are those that one process would form. A process with fewer batches than others repeats a row as a *filler*, written
    as its complement `~row`: it keeps collective forward passes in step, and is never counted.

    Balanced (training): an epoch has as many rows as ever, and the same number of each class: rows of a rare class come
    several times, those of a frequent one not in every epoch.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows in a batch.
        max_batch_tokens: Tokens in a padded batch, instead of `batch_size`.
        shuffle: Whether this is for training.
        balance: Class of each row, where classes are to be balanced; not with a token budget, whose number of batches
            would differ from epoch to epoch.
        seed: Of the shuffling.
        rank: Number of this process.
        world_size: How many processes there are.
    """

    def __init__(  # noqa: D107  # the class says it
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
        self.shuffle, self.seed, self.balance = shuffle, seed, balance
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.skip = 0

    @property
    def sampler(self) -> Self:
        """Itself: of a batch sampler, Lightning tells the epoch only to what it calls `sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next; Lightning calls it."""
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
        return mine + [~order[-1:]] * (len(self) - len(mine))

    def _shuffled(self) -> list[np.ndarray]:
        generator = np.random.default_rng((self.seed, self.epoch))
        rows = np.arange(len(self.lengths)) if self.balance is None else balanced_draw(self.balance, generator)
        shuffled = generator.permutation(rows)
        batches = self._batches(shuffled[np.argsort(-self.lengths[shuffled], kind="stable")])
        # Neighbours have similar lengths: the processes that take them together wait little for each other.
        steps = np.resize(np.arange(len(batches)), (len(self), self.world_size))
        return [batches[step[self.rank]] for step in steps[generator.permutation(len(steps))]]
