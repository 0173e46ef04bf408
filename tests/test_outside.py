"""A stranger's data set and method work by `class_path`, with nothing here edited."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.scoring.tiny import save_tiny_lm

pytestmark = pytest.mark.slow
PACKAGE = Path(__file__).with_name("outside")
ROOT = Path(__file__).parents[1]
GUIDE = ROOT / ".github" / "CONTRIBUTING.md"
PARTS = ("loss", "calibrator", "rule", "examples", "logger")


def code_lines(name):
    lines = (PACKAGE / f"{name}.py").read_text(encoding="utf-8").splitlines()
    return len([line for line in lines if line.strip() and not line.startswith(('"""', "import", "from"))])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package installed in it."""
    site, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source")
    for file in PACKAGE.glob("*.*"):
        (source / file.name).write_bytes(file.read_bytes())
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", str(site)]
    # pip vendors libraries that use what is deprecated.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, env=environment)
    return site


@pytest.fixture
def run(site, tmp_path):
    """Runs Python in a folder of its own, where the package is installed; gives what it prints."""

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


def test_package_from_outside(run, tmp_path):
    def textclf(*arguments):
        return run("-m", "textclf", *arguments, "--trainer.logger", "false")

    classes = ("--model", "outside_method.HashedWords", "--data", "outside_data.WeatherDataModule")
    textclf("fit", *classes, "--run_dir", "run")
    accuracy = json.loads((tmp_path / "run/report/metrics.json").read_text())["test/accuracy"]
    assert accuracy > 0.95
    textclf("test", *classes, "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "again")
    assert json.loads((tmp_path / "again/report/metrics.json").read_text())["test/accuracy"] == accuracy
    line = textclf("predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--texts", '["소나기 rain"]')
    assert json.loads(line)["label"] == "wet"

    load = (
        "from textclf.errors import UserError\n"
        "from textclf.models import TextClassifier\n"
        "def load():\n"
        "    return TextClassifier.load_from_checkpoint('run/checkpoints/best.ckpt')\n"
        "try:\n"
        "    load()\n"
        "except UserError as error:\n"
        "    print(error)\n"
        "import outside_method\n"
        "print(load().classify(['햇볕'])[0]['label'])"
    )
    unknown, label = run("-c", load).splitlines()
    assert "`from outside_method import HashedWords`" in unknown
    assert label == "dry"


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.exhaustive
def test_loss_calibrator_and_logger_from_outside(run, tiny_encoder, tmp_path):
    classes = ("--model", "outside_loss.FocalLoss", "--data", "outside_data.WeatherDataModule")
    encoder = ("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--trainer.accelerator", "cpu")
    training = ("--model.gamma", "3.0", "--model.learning_rate", "1e-3", "--trainer.max_epochs", "2")
    calibration = (
        "--trainer.callbacks+=Calibration",
        "--trainer.callbacks.calibrator=outside_calibrator.VectorScaling",
    )
    logger = ("--trainer.logger", "outside_logger.JSONLines")
    run("-m", "textclf", "fit", *classes, *encoder, *training, *calibration, *logger, "--run_dir", "run")
    report = read_json(tmp_path / "run" / "report" / "metrics.json")
    assert report["examples"] == 41
    lines = [json.loads(line) for line in (tmp_path / "run" / "lines.jsonl").read_text().splitlines()]
    (config,) = (line["config"] for line in lines if "config" in line)
    assert config["model"]["class_path"] == "outside_loss.FocalLoss"
    assert config["model"]["init_args"]["gamma"] == 3.0
    (tested,) = (line for line in lines if "test/nll" in line)
    assert tested["test/nll"] == pytest.approx(report["test/nll"], abs=1e-5)
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert all(0 < loss < 0.2 for loss in losses)  # an eighth of the cross-entropy, which begins at log 2

    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    (kept,) = checkpoint["textclf"]["calibrators"]
    assert kept["class_path"] == "outside_calibrator.VectorScaling"
    assert {name: len(values) for name, values in kept["state"].items()} == {"scale": 2, "bias": 2}
    assert "VectorScaling" in (tmp_path / "run" / "report" / "report.txt").read_text(encoding="utf-8")
    again = ("--ckpt_path", "run/checkpoints/best.ckpt", "--trainer.accelerator", "cpu", "--trainer.logger", "false")
    run("-m", "textclf", "test", *again, "--run_dir", "again")
    assert read_json(tmp_path / "again" / "report" / "metrics.json")["test/nll"] == report["test/nll"]


@pytest.mark.exhaustive
def test_score_rule_and_examples_from_outside(run, tmp_path):
    model = save_tiny_lm(tmp_path / "lm", 2048)
    classes = ("--model", "outside_examples.NearestExamples", "--data", "outside_data.WeatherDataModule")
    prompt = ("--model.pretrained", str(model), "--model.prompt", "Day: {text} It is", "--model.shots", "3")
    rule = ("--model.rule", "outside_rule.contextual_mean", "--trainer.logger", "false", "--trainer.accelerator", "cpu")
    run("-m", "textclf", "test", *classes, *prompt, *rule, "--run_dir", "run")
    report = read_json(tmp_path / "run" / "report" / "metrics.json")
    assert (report["examples"], report["train_rows"]) == (41, 180)
    judged = run(str(ROOT / "scripts" / "rescore.py"), "run", "--json", "rules.json")
    assert [line.split()[0] for line in judged.splitlines() if " * " in line] == ["outside_rule.contextual_mean"]
    rules = read_json(tmp_path / "rules.json")
    assert rules["outside_rule.contextual_mean"]["test/nll"] == pytest.approx(report["test/nll"], abs=1e-9)
    assert rules["sum"]["test/nll"] != report["test/nll"]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_short(part):
    assert code_lines(f"outside_{part}") < 25


def test_the_guide_has_the_number_of_lines_of_each():
    text = " ".join(GUIDE.read_text(encoding="utf-8").split())
    assert f"the data set has {code_lines('outside_data')} lines, the method {code_lines('outside_method')}" in text
    lines = [code_lines(f"outside_{part}") for part in PARTS]
    wanted = "a focal loss {}, a calibrator {}, a score rule {}, nearest-neighbour examples {}, a logger {}"
    assert wanted.format(*lines) in text


FIRST_IMPORTS = """
import os
import datasets, lightning.pytorch, sentence_transformers, sklearn.linear_model, transformers

for module in ("textclf.data", "textclf.models", "textclf.scoring", "textclf.embeddings", "textclf.run", "textclf.cli"):
    child = os.fork()  # each has the libraries, which take seconds, and none of the package
    if child == 0:
        __import__(module)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, module
"""


def test_any_part_of_the_package_can_be_imported_first():
    subprocess.run([sys.executable, "-c", FIRST_IMPORTS], check=True)
