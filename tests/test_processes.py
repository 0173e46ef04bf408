"""Several processes of one run: what one of them gives or raises reaches all."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from textclf.errors import UserError
from textclf.processes import global_seed, on_first_process, one_process_first, raise_on_all, share


def trainer(rank=0, processes=1):
    def broadcast(value):
        objects = [value]
        if processes > 1:
            torch.distributed.broadcast_object_list(objects)
        return objects[0]

    strategy = SimpleNamespace(broadcast=broadcast)
    return SimpleNamespace(world_size=processes, local_rank=rank, is_global_zero=rank == 0, strategy=strategy)


def refuse():
    raise UserError("give another")


@pytest.mark.parametrize("run", [on_first_process, one_process_first])
def test_one_process_runs_work_itself(run):
    done = []
    assert run(lambda: done.append(1) or 5, trainer()) == 5
    assert done == [1]
    with pytest.raises(UserError, match="give another"):
        run(refuse, trainer())


def test_without_an_error_nothing_is_raised():
    raise_on_all(None, 1)
    with pytest.raises(UserError, match="give another"):
        raise_on_all(UserError("give another"), 1)


def test_the_seed_is_the_one_that_was_set(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert global_seed() == 7
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert global_seed() is None


def one_of_two(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mine, cache = trainer(rank, 2), folder / "cache"

    def fill():
        assert rank == 0 or cache.exists()
        cache.touch()
        return rank

    found = {
        "shared": share(rank, 2),
        "result of the first": on_first_process(lambda: f"of {rank}", mine),
        "one first": one_process_first(fill, mine),
    }
    for name, run in {
        "error of the first": lambda: on_first_process(refuse, mine),
        "error of the one that goes first": lambda: one_process_first(refuse if rank == 0 else fill, mine),
        "error of the second": lambda: raise_on_all(UserError("mine") if rank == 1 else None, 2),
    }.items():
        try:
            found[name] = run()
        except UserError as error:
            found[name] = str(error)
    torch.distributed.destroy_process_group()  # otherwise its threads may abort the process at its end
    (folder / f"{rank}.txt").write_text(repr(found))


@pytest.mark.slow
def test_two_processes(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    for rank in range(2):
        assert (tmp_path / f"{rank}.txt").read_text() == repr(
            {
                "shared": [0, 1],
                "result of the first": "of 0",
                "one first": rank,
                "error of the first": "give another",
                "error of the one that goes first": "give another",
                "error of the second": "mine",
            }
        )
