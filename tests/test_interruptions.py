"""A run that a full disk or SIGTERM ends goes on, and ends with the weights of one that nothing happened to."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from textclf.cli import main

CONFIG = Path(__file__).parents[1] / "configs" / "files.yaml"


class Terminate(Callback):
    """Sends SIGTERM to its own process, in the middle of the second epoch."""

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == 12:
            os.kill(os.getpid(), signal.SIGTERM)


def arguments(encoder, rows, run_dir):
    """Two epochs of eight steps, with dropout."""
    return [
        *("fit", "--config", str(CONFIG), "--data.data_dir", str(rows), "--run_dir", str(run_dir)),
        *("--model.pretrained", str(encoder), "--model.max_length", "32", "--model.learning_rate", "0.01"),
        *("--data.batch_size", "8", "--trainer.max_epochs", "2", "--trainer.precision", "32-true"),
        *("--trainer.accelerator", "cpu", "--trainer.logger", "textclf.loggers.MetricsCSV"),
    ]


def last(run_dir):
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def whole(tiny_encoder, rows_folder, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    main(arguments(tiny_encoder, rows_folder, run_dir))
    return run_dir


def assert_resumes(run_dir, whole):
    main(["fit", "--config", str(run_dir / "config.yaml"), "--run_dir", str(run_dir), "--ckpt_path", "last"])
    resumed, straight = last(run_dir), last(whole)
    assert resumed["global_step"] == straight["global_step"] == 16
    assert all(torch.equal(weights, resumed["state_dict"][name]) for name, weights in straight["state_dict"].items())
    assert (run_dir / "report" / "metrics.json").is_file()


@pytest.mark.parametrize("saving", [1, 2])
@pytest.mark.slow
def test_a_full_disk(saving, whole, tiny_encoder, rows_folder, tmp_path, monkeypatch, capsys):
    run_dir, save, saved = tmp_path / "run", torch.save, []

    def save_half(checkpoint, file):
        saved.append(file.name)
        if len(saved) > saving:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoint, file)

    monkeypatch.setattr(torch, "save", save_half)
    with pytest.raises(SystemExit) as stop:
        main(arguments(tiny_encoder, rows_folder, run_dir))
    monkeypatch.undo()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("textclf: error: no space left for '")
    assert sum("textclf: error" in line for line in said.splitlines()) == 1
    files = {path.name for path in (run_dir / "checkpoints").iterdir()}
    assert files == ({"best.ckpt"} if saving == 1 else {"best.ckpt", "last.ckpt"})
    for path in (run_dir / "checkpoints").iterdir():
        torch.load(path, weights_only=True)
    if saving > 1:
        assert last(run_dir)["global_step"] == 8
        assert_resumes(run_dir, whole)


@pytest.mark.slow
def test_sigterm(whole, tiny_encoder, rows_folder, tmp_path, capsys):
    run_dir = tmp_path / "run"
    terminate = ("--trainer.callbacks+=tests.test_interruptions.Terminate",)
    with pytest.raises(SystemExit) as stop:
        main([*arguments(tiny_encoder, rows_folder, run_dir), *terminate])
    assert stop.value.code == 128 + signal.SIGTERM
    assert f"--run_dir {run_dir} --ckpt_path last" in capsys.readouterr().err.strip().splitlines()[-1]
    assert last(run_dir)["global_step"] == 8
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("tests.test_interruptions.Terminate", "lightning.pytorch.Callback"))
    assert_resumes(run_dir, whole)
