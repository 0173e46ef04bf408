"""Label names and paths of unusual characters, from training to predictions."""

import json
import shutil

import pytest

from textclf.cli import main
from textclf.models import TextClassifier
from textclf.run.yaml_values import load

NAMES = ["😀", "👩‍💻 dev", "1e3", "yes", "null", "0", "007", "2024-01-01", "12:30", "a: b", "- c", "#d", "'e\"", "="]
FOLDER = "리뷰 📁 #1: [a] {b} 'c'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows") / FOLDER
    folder.mkdir()
    for split, repeats in (("train", 8), ("validation", 2), ("test", 2)):
        lines = [
            json.dumps({"text": f"word{place} in {split} number {i}", "label": name})
            for place, name in enumerate(NAMES)
            for i in range(repeats)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def accuracy(run_dir):
    return json.loads((run_dir / "report" / "metrics.json").read_text(encoding="utf-8"))["test/accuracy"]


@pytest.mark.slow
def test_a_run_is_accepted_by_every_later_command(folder, tmp_path, capsys):
    run = tmp_path / FOLDER
    quiet = ["--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    weights = json.dumps(dict.fromkeys(NAMES, 1.5))
    more = ["--model", "TfidfClassifier", "--model.min_df", "1", "--model.class_weights", weights]
    main(["fit", "--data", "FilesDataModule", "--data.data_dir", str(folder), *more, *quiet, "--run_dir", str(run)])
    config = load((run / "config.yaml").read_text(encoding="utf-8"))
    assert config["data"]["init_args"]["data_dir"] == str(folder)
    assert sorted(config["data"]["init_args"]["label_names"]) == sorted(NAMES)
    assert config["model"]["init_args"]["class_weights"] == dict.fromkeys(NAMES, 1.5)
    assert accuracy(run) == 1

    best, own = ["--ckpt_path", str(run / "checkpoints" / "best.ckpt")], ["--config", str(run / "config.yaml")]
    main(["test", *best, *quiet, "--run_dir", str(tmp_path / "alone")])
    main(["test", *own, "--ckpt_path", "best", *quiet, "--run_dir", str(tmp_path / "config")])
    assert accuracy(tmp_path / "alone") == accuracy(tmp_path / "config") == 1
    main(["validate", *best, *quiet, "--run_dir", str(tmp_path / "validated")])
    main(["fit", *own, "--run_dir", str(run), "--ckpt_path", "last"])
    capsys.readouterr()

    texts = [f"word{place} in test number 0" for place in range(len(NAMES))]
    main(["predict", *best, "--texts", json.dumps(texts)])
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == NAMES
    classifier = TextClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt")
    assert [answer["label"] for answer in classifier.classify(texts)] == NAMES


@pytest.mark.slow
def test_a_file_name_that_is_not_utf8(folder, tmp_path):
    name = tmp_path / "caf\udce9"
    try:
        shutil.copytree(folder, name)
    except OSError:
        name = tmp_path / "café"  # a file system that takes UTF-8 alone
        shutil.copytree(folder, name)
    quiet = ["--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    more = ["--model", "TfidfClassifier", "--model.min_df", "1", "--run_dir", str(tmp_path / "run")]
    main(["fit", "--data", "FilesDataModule", "--data.data_dir", str(name), *more, *quiet])
    main(["test", "--ckpt_path", str(tmp_path / "run/checkpoints/best.ckpt"), *quiet, "--run_dir", str(tmp_path / "t")])
    assert accuracy(tmp_path / "t") == 1
