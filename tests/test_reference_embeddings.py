"""The reference systems on frozen embeddings: what their configurations say, and that they run with a stand-in."""

import json
from pathlib import Path

import pytest
import yaml

from textclf.cli import main

REFERENCE = Path(__file__).parents[1] / "configs" / "reference"
ENCODER = "sentence-transformers/all-mpnet-base-v2"
LABELS = {
    "R4a": {"negative": "negative review", "positive": "positive review"},
    "R4b": {"negative": "A negative review", "positive": "A positive review"},
    "R4c": {"negative": "A very negative movie review", "positive": "A very positive movie review"},
}


@pytest.mark.parametrize("name", LABELS)
def test_label_texts_are_as_published(name):
    arguments = yaml.safe_load((REFERENCE / f"{name}.yaml").read_text(encoding="utf-8"))["model"]["init_args"]
    assert arguments == {
        "pretrained": ENCODER,
        "embedding": {"dtype": "float32"},
        "label_texts": LABELS[name],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["R3", "R4a", "R4b", "R4c", "R5"])
def test_a_reference_runs(name, tiny_encoder, rows_folder, tmp_path):
    config = REFERENCE / f"{name}.yaml"
    command = "test" if name in LABELS else "fit"
    assert f"python -m textclf {command} --config configs/reference/{name}.yaml" in config.read_text(encoding="utf-8")
    rows = ["--data.data_dir", str(rows_folder)]
    more = ["--model.pretrained", str(tiny_encoder), "--trainer.logger", "false", "--run_dir", str(tmp_path / "run")]
    main([command, "--config", str(config), *rows, *more])
    assert json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())["examples"] == 21
