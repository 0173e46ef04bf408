"""A stranger's data set and method work by `class_path`, with nothing here edited."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PACKAGE = Path(__file__).with_name("outside")
README = Path(__file__).parents[1] / "README.md"


def code_lines(name):
    lines = (PACKAGE / f"{name}.py").read_text(encoding="utf-8").splitlines()
    return len([line for line in lines if line.strip() and not line.startswith(('"""', "import", "from"))])


def test_package_from_outside(tmp_path):
    site, source = tmp_path / "site", tmp_path / "source"
    source.mkdir()
    for file in PACKAGE.glob("*.*"):
        (source / file.name).write_bytes(file.read_bytes())
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def textclf(*arguments):
        command = [sys.executable, "-m", "textclf", *arguments, "--trainer.logger", "false"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    classes = ("--model", "outside_method.HashedWords", "--data", "outside_data.WeatherDataModule")
    textclf("fit", *classes, "--run_dir", "run")
    accuracy = json.loads((tmp_path / "run/report/metrics.json").read_text())["test/accuracy"]
    assert accuracy > 0.95
    textclf("test", *classes, "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "again")
    assert json.loads((tmp_path / "again/report/metrics.json").read_text())["test/accuracy"] == accuracy
    line = textclf("predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--texts", '["소나기 rain"]')
    assert json.loads(line)["label"] == "wet"

    load = (
        "from textclf.models import TextClassifier\n"
        "model = TextClassifier.load_from_checkpoint('run/checkpoints/best.ckpt')\n"
        "print(model.classify(['햇볕'])[0]['label'])"
    )
    reloaded = subprocess.run(
        [sys.executable, "-c", "import outside_method\n" + load],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert reloaded.stdout.strip() == "dry"
    unknown = subprocess.run(
        [sys.executable, "-c", load], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "`from outside_method import HashedWords`" in unknown.stderr.splitlines()[-1]


def test_readme_tells_how_many_lines_each_took():
    text = README.read_text(encoding="utf-8")
    assert f"The data set took {code_lines('outside_data')} lines, the method {code_lines('outside_method')}" in text


@pytest.mark.parametrize("module", ["textclf.data", "textclf.models", "textclf.scoring", "textclf.embeddings"])
def test_any_part_of_the_package_can_be_imported_first(module):
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
