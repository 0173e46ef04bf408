import json

import numpy as np
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from textclf.data import FilesDataModule
from textclf.embeddings import Embedder, EmbeddingSettings


@pytest.fixture
def config(tiny_encoder, rows_folder, tmp_path):
    whole = {
        "model": {
            "class_path": "LinearProbe",
            "init_args": {"pretrained": str(tiny_encoder), "embedding": {"dtype": "float32"}},
        },
        "data": {"class_path": "FilesDataModule", "init_args": {"data_dir": str(rows_folder)}},
    }
    (tmp_path / "probe.yaml").write_text(yaml.safe_dump(whole))
    return [str(tmp_path / "results"), "--config", str(tmp_path / "probe.yaml")]


@pytest.mark.slow
def test_the_protocol_on_rows_of_this_project(script, config, tiny_encoder, rows_folder, tmp_path):
    assert script.main([*config, "--rows"]) == 0
    encoder = Embedder(str(tiny_encoder), None, EmbeddingSettings(dtype="float32"))
    name = f"{tiny_encoder.name}-{encoder.key[:8]}"
    result = json.loads((tmp_path / "results" / name / "Files.json").read_text())
    (scores,) = result["scores"]["test"]
    experiments = [e["accuracy"] for e in scores["scores_per_experiment"]]
    assert len(experiments) == 10
    assert scores["main_score"] == scores["accuracy"] == pytest.approx(np.mean(experiments))
    # Eight rows of each of two classes: an experiment is worth what a regression on some such draw is worth.
    data = FilesDataModule(str(rows_folder))
    rows = {split: data.rows(split)[:] for split in ("train", "test")}
    vectors = {split: encoder.matrix(rows[split]["text"]) for split in rows}
    labels = {split: np.array(rows[split]["label"]) for split in rows}
    draws = np.random.default_rng(0)
    found = []
    for _ in range(300):
        chosen = np.concatenate([draws.permutation(np.flatnonzero(labels["train"] == k))[:8] for k in (0, 1)])
        regression = LogisticRegression().fit(vectors["train"][chosen], labels["train"][chosen])
        found.append(regression.score(vectors["test"], labels["test"]))
    assert abs(np.mean(experiments) - np.mean(found)) < 4 * np.std(found) / np.sqrt(10)


@pytest.mark.slow
def test_a_task_that_cannot_be_fetched_is_one_line(script, config, capsys):
    assert script.main([*config, "--tasks", "STSBenchmark"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("run_mteb: error: MTEB cannot load")


@pytest.mark.slow
def test_an_unknown_task_is_one_line(script, config, capsys):
    assert script.main([*config, "--tasks", "STSBenchmarc"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("run_mteb: error: --tasks: 'STSBenchmarc' not found. Did you mean: 'STSBenchmark'")


@pytest.mark.parametrize("more", [[], ["--rows", "--tasks", "STSBenchmark"]])
def test_tasks_or_rows(script, config, more, capsys):
    assert script.main([*config, *more]) == 2
    assert "give one of --tasks" in capsys.readouterr().err


@pytest.mark.slow
def test_a_method_that_embeds_nothing(script, config, capsys):
    assert script.main([*config, "--rows", "--model", "TfidfClassifier"]) == 2
    assert "TfidfClassifier does not embed texts" in capsys.readouterr().err
