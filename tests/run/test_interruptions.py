"""A run that a full disk, SIGTERM or Ctrl-C ends goes on, and ends with the weights of one that nothing happened to."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from textclf.cli import main

CONFIG = Path(__file__).parents[2] / "configs" / "files.yaml"


class Stop(Callback):
    """Sends a signal to its own process: after that many steps of training, or in the first batch of a test."""

    def __init__(self, number: int = signal.SIGTERM, after: int = 12):
        self.number, self.after = number, after

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == self.after:
            os.kill(os.getpid(), self.number)

    def on_test_batch_start(self, *args):
        os.kill(os.getpid(), self.number)

    on_predict_batch_start = on_test_batch_start


def stop(number, after=12):
    return [
        f"--trainer.callbacks+={__name__}.Stop",
        f"--trainer.callbacks.number={int(number)}",
        f"--trainer.callbacks.after={after}",
    ]


@pytest.fixture
def interruptible():
    """Lightning ignores SIGINT once it came: a process is then over, a test is not."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def arguments(encoder, rows, run_dir):
    """Two epochs of eight steps, with dropout."""
    return [
        *("fit", "--config", str(CONFIG), "--data.data_dir", str(rows), "--run_dir", str(run_dir)),
        *("--model.pretrained", str(encoder), "--model.max_length", "32", "--model.learning_rate", "0.01"),
        *("--data.batch_size", "8", "--trainer.max_epochs", "2", "--trainer.precision", "32-true"),
        *("--trainer.accelerator", "cpu", "--trainer.logger", "textclf.run.MetricsCSV"),
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
        if not hasattr(file, "name"):  # in memory
            save(checkpoint, file)
            return
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


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
@pytest.mark.slow
def test_a_signal(number, name, whole, tiny_encoder, rows_folder, tmp_path, capsys, interruptible):
    run_dir = tmp_path / "a run"
    with pytest.raises(SystemExit) as end:
        main([*arguments(tiny_encoder, rows_folder, run_dir), *stop(number)])
    assert end.value.code == 128 + number
    said = capsys.readouterr().err
    line = said.strip().splitlines()[-1]
    assert line.startswith(f"textclf: stopped by {name}: resume with `fit --config '{run_dir}/config.yaml'")
    assert line.endswith(f"--run_dir '{run_dir}' --ckpt_path last`")
    assert "Traceback" not in said
    assert last(run_dir)["global_step"] == 8
    config = run_dir / "config.yaml"
    lines = config.read_text().splitlines()
    start = next(i for i, each in enumerate(lines) if "test_interruptions.Stop" in each)
    config.write_text("\n".join(lines[:start] + lines[start + 4 :]))
    assert_resumes(run_dir, whole)


@pytest.mark.slow
def test_ctrl_c_before_the_first_checkpoint(tiny_encoder, rows_folder, tmp_path, capsys, interruptible):
    with pytest.raises(SystemExit) as end:
        main([*arguments(tiny_encoder, rows_folder, tmp_path / "run"), *stop(signal.SIGINT, after=2)])
    assert end.value.code == 130
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith("so start again, with another --run_dir")


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.slow
def test_ctrl_c_leaves_no_half_of_an_output(command, whole, tmp_path, capsys, interruptible):
    checkpoint = ["--ckpt_path", str(whole / "checkpoints" / "best.ckpt"), "--trainer.accelerator", "cpu"]
    output = tmp_path / "out.jsonl"
    more = (
        ["--texts", "a film", "--output", str(output)] if command == "predict" else ["--run_dir", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as end:
        main([command, *checkpoint, *more, *stop(signal.SIGINT)])
    assert end.value.code == 130
    said = capsys.readouterr().err
    assert said.strip().splitlines()[-1] == "textclf: stopped by Ctrl-C"
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*out.jsonl*"))
    assert not (tmp_path / "run" / "report").exists()


def test_ctrl_c_outside_of_the_trainer(monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("textclf.cli.app.check_home", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["fit"])
    assert end.value.code == 130
    assert capsys.readouterr().err == "textclf: stopped by Ctrl-C\n"
