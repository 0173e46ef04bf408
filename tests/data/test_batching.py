import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer

from textclf.data.base import TextDataModule
from textclf.data.batching import LengthBatchSampler, ResumableLoader, batch_starts, coarse_lengths
from textclf.models.base import TextClassifier

LENGTHS = st.lists(st.integers(1, 200), max_size=60)
SIZES = st.fixed_dictionaries({"batch_size": st.integers(1, 9), "max_batch_tokens": st.none() | st.integers(1, 400)})
WORLDS = st.integers(1, 4)


def ranks(lengths, world_size, **options):
    return [LengthBatchSampler(lengths, rank=r, world_size=world_size, **options) for r in range(world_size)]


def flat(batches):
    return [row for batch in batches for row in batch]


@given(LENGTHS, SIZES, WORLDS)
def test_evaluation_takes_each_row_once_over_all_processes(lengths, sizes, world_size):
    alone = list(LengthBatchSampler(lengths, **sizes))
    assert sorted(flat(alone)) == list(range(len(lengths)))
    samplers = ranks(lengths, world_size, **sizes)
    shares = [list(sampler) for sampler in samplers]
    steps = -(-len(alone) // world_size)
    assert [len(sampler) for sampler in samplers] == [len(share) for share in shares] == [steps] * world_size
    together = [share[step] for step in range(steps) for share in shares]
    assert together[: len(alone)] == alone
    fillers = together[len(alone) :]
    assert len(fillers) < world_size
    assert all(len(batch) == 1 and 0 <= ~batch[0] < len(lengths) for batch in fillers)


@given(LENGTHS, SIZES, WORLDS, st.integers(0, 5), st.integers(0, 3))
def test_training_keeps_processes_in_step(lengths, sizes, world_size, seed, epoch):
    shares = []
    for sampler in ranks(lengths, world_size, shuffle=True, seed=seed, **sizes):
        first = list(sampler)
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(sampler) == len(first) == len(shares[-1])
        assert list(sampler) == shares[-1]
    assert len({len(share) for share in shares}) == 1
    batches = [batch for share in shares for batch in share]
    assert set(flat(batches)) == set(range(len(lengths)))
    distinct = {tuple(batch) for batch in batches}
    assert sorted(flat(distinct)) == list(range(len(lengths)))
    assert len(batches) - len(distinct) < world_size


def test_each_epoch_and_each_seed_has_its_own_order():
    def order(seed, epoch):
        sampler = LengthBatchSampler([7] * 50 + [8] * 50, batch_size=10, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) == order(0, 0)
    assert order(0, 3) == order(0, 3)
    for other in (order(0, 1), order(1, 0)):
        assert other != order(0, 0)
        assert {frozenset(batch) for batch in other}.isdisjoint({frozenset(batch) for batch in order(0, 0)})


def test_each_epoch_takes_the_batches_in_another_order():
    sampler = LengthBatchSampler(range(1, 40), batch_size=1, shuffle=True)
    first = list(sampler)
    sampler.set_epoch(1)
    assert sorted(first) == sorted(sampler)
    assert first != list(sampler)
    assert first != sorted(first)


@given(LENGTHS, st.integers(1, 400), WORLDS, st.booleans())
def test_budget_bounds_padded_tokens(lengths, budget, world_size, shuffle):
    for sampler in ranks(lengths, world_size, batch_size=1, max_batch_tokens=budget, shuffle=shuffle):
        for batch in sampler:
            rows = [max(row, ~row) for row in batch]
            assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= budget


def test_batch_starts():
    lengths = np.array([300, 9, 5, 5, 5, 2, 0])
    assert batch_starts(lengths, 3) == [0, 3, 6, 7]
    assert batch_starts(lengths, 3, max_batch_tokens=20) == [0, 1, 3, 7]
    assert batch_starts(lengths[:0], 3) == [0]


def test_long_batches_come_first_in_evaluation():
    assert list(LengthBatchSampler([2, 9, 5, 9], batch_size=2)) == [[1, 3], [2, 0]]
    assert list(LengthBatchSampler([5] * 99, batch_size=99)) == [list(range(99))]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_coarse_lengths_are_at_most_a_sixteenth_longer(lengths):
    lengths = np.array(lengths)
    coarse = coarse_lengths(lengths)
    assert (coarse >= lengths).all()
    assert (16 * coarse <= 17 * lengths).all()


def test_rows_of_one_coarse_length_pad_little():
    lengths = np.arange(1, 1025)
    sampler = LengthBatchSampler(lengths, batch_size=16, shuffle=True)
    coarse = coarse_lengths(lengths)
    batches = [batch for batch in sampler if len(set(coarse[batch])) == 1]
    assert len(batches) > 30
    assert all(np.mean(1 - lengths[batch] / lengths[batch].max()) <= 1 / 16 for batch in batches)


class Squares:
    """Rows whose content is their number squared."""

    def __len__(self):
        return 20

    def __getitems__(self, rows):
        return [row**2 for row in rows]


def loader(epoch, workers=0):
    sampler = LengthBatchSampler(range(20, 0, -1), batch_size=3, shuffle=True, seed=5)
    sampler.set_epoch(epoch)
    return ResumableLoader(Squares(), sampler, collate_fn=list, num_workers=workers, persistent_workers=workers > 0)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("served", [0, 4, 7])
def test_resumed_loader_goes_on_where_the_other_stopped(workers, served):
    whole = list(loader(epoch=1))
    assert sorted(flat(whole)) == [i**2 for i in range(20)]
    stopped = loader(1, workers)
    passing = iter(stopped)
    assert [next(passing) for _ in range(served)] == whole[:served]
    state = stopped.state_dict()

    resumed = loader(1, workers)
    resumed.load_state_dict(state)
    assert list(resumed) == whole[served:]
    assert resumed.state_dict() == {"epoch": 1, "steps": 7, "batches": 7}
    assert list(resumed) == whole
    resumed.batch_sampler.set_epoch(2)
    assert list(resumed) == list(loader(epoch=2)) != whole


def test_state_of_a_past_epoch_does_not_shorten_the_next():
    late = loader(epoch=2)
    late.load_state_dict({"epoch": 1, "steps": 7, "batches": 7})
    assert list(late) == list(loader(epoch=2))


@pytest.mark.parametrize("workers", [0, 2])
def test_iterating_leaves_the_global_generator_alone(workers):
    before = torch.get_rng_state()
    assert len(list(loader(0, workers))) == 7
    assert torch.equal(torch.get_rng_state(), before)


class Numbers(TextDataModule):
    label_names = ("odd", "even")
    hub_splits = ("train",)

    def load_split(self, split):
        texts = ["x" * (1 + i % 5) for i in range(22)]
        return Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(22)]})


class Recorder(TextClassifier):
    """Trains one number, notes the rows of each step, and saves a checkpoint after some of them."""

    def __init__(self, num_classes, label_names, folder=None, after=()):
        super().__init__(num_classes, label_names)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.folder, self.after, self.seen = folder, after, []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["row"].tolist())
        return self.weight**2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_batch_end(self, *args):
        if self.global_step in self.after:
            self.trainer.save_checkpoint(self.folder / f"{self.global_step}.ckpt")


def fit(epochs, ckpt_path=None, **options):
    data = Numbers(batch_size=4, val_size=0, seed=3, cleaning=[])
    model = Recorder(data.num_classes, data.label_names, **options)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
    return model.seen


def test_each_epoch_has_another_order_and_resumes_in_the_middle(tmp_path):
    steps = fit(3, folder=tmp_path, after=(4, 6, 9))
    assert len(steps) == 18
    epochs = [steps[:6], steps[6:12], steps[12:]]
    assert all(sorted(flat(epoch)) == list(range(22)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    for done in (4, 6, 9):
        assert fit(3, ckpt_path=tmp_path / f"{done}.ckpt") == steps[done:], f"resumed after step {done}"
