import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from textclf.data import FilesDataModule
from textclf.models import FineTunedClassifier
from textclf.models.checkpoint import read_checkpoint
from textclf.run.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, RandomStates


class Interrupted(Exception):
    pass


class Interrupt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Interrupted


def train(encoder, rows, folder, every, interrupt=None, resume=None, **options):
    """Three epochs of 8 steps with dropout; gives the final weights."""
    seed_everything(1)
    model = FineTunedClassifier(2, ("negative", "positive"), str(encoder), max_length=32, learning_rate=0.01)
    trainer = Trainer(
        callbacks=[RandomStates(), BestCheckpoint(), LastCheckpoint(every), Interrupt(interrupt)],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    if resume:
        model.restore(read_checkpoint(resume))
    trainer.fit(model, datamodule=FilesDataModule(str(rows), batch_size=8), ckpt_path=resume)
    return model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "interrupt", "saved_at", "options"),
    [
        (5, 13, 10, {}),  # in the middle of the second epoch
        pytest.param(1000, 13, 8, {}, marks=pytest.mark.slow),  # after an epoch's validation
        pytest.param(1000, 13, 12, {"val_check_interval": 4}, marks=pytest.mark.slow),  # in the middle of an epoch
        pytest.param(1000, 4, 3, {"val_check_interval": 0.75, "accumulate_grad_batches": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(
    every, interrupt, saved_at, options, tiny_encoder, rows_folder, tmp_path
):
    whole = train(tiny_encoder, rows_folder, tmp_path / "whole", every, **options)
    with pytest.raises(Interrupted):
        train(tiny_encoder, rows_folder, tmp_path / "cut", every, interrupt, **options)
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(last)["global_step"] == saved_at
    resumed = train(tiny_encoder, rows_folder, tmp_path / "cut", every, resume=str(last), **options)
    assert all(torch.equal(weights, resumed[name]) for name, weights in whole.items())


def test_random_states_are_plain_values(tmp_path):
    states = RandomStates()
    torch.save(states.state_dict(), tmp_path / "states.pt")
    first = torch.rand(3)
    states.load_state_dict(torch.load(tmp_path / "states.pt", weights_only=True))
    states.on_train_batch_start(None, None, None, 0)
    assert torch.equal(torch.rand(3), first)
    states.on_train_batch_start(None, None, None, 1)  # once only
    assert not torch.equal(torch.rand(3), first)
