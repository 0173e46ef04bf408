import os
import runpy
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from textclf.cli import main

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "plain_loop.py"
RECIPE = {"max_length": "32", "learning_rate": "0.01"}


def test_both_end_with_the_same_weights(tiny_encoder, rows_folder, tmp_path, monkeypatch):
    main(
        [
            *("fit", "--config", str(ROOT / "configs" / "files.yaml"), "--data.data_dir", str(rows_folder)),
            *("--model.pretrained", str(tiny_encoder), "--data.batch_size", "8", "--trainer.max_epochs", "2"),
            *(f"--model.{name}={value}" for name, value in RECIPE.items()),
            *("--trainer.precision", "32-true", "--trainer.accelerator", "cpu", "--trainer.logger", "false"),
            *("--test_after_fit", "false", "--run_dir", str(tmp_path / "run")),
        ]
    )
    places = [str(path) for path in (tiny_encoder, rows_folder / "train.csv", tmp_path / "plain")]
    recipe = {**RECIPE, "epochs": "2", "batch_size": "8"}
    monkeypatch.setattr(sys, "argv", ["plain_loop", *places, *(f"--{name}={value}" for name, value in recipe.items())])
    runpy.run_path(os.fspath(SCRIPT))
    ours = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    plain = load_file(tmp_path / "plain" / "model.safetensors")
    assert len(plain) > 30
    assert all(torch.equal(weights, ours[f"network.{name}"]) for name, weights in plain.items())
    start = load_file(tiny_encoder / "model.safetensors")
    assert any(not torch.equal(weights, plain[f"bert.{name}"]) for name, weights in start.items())


def test_it_is_short_and_has_no_lightning():
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert not any("lightning" in line.lower() for line in lines)
