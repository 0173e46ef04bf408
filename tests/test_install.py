"""An editable install, used in the folder above a clone that has the package's own name."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive
ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
CONFIGS = ("--config", "textclf/configs/files.yaml", "--config", "textclf/configs/model/tfidf.yaml")
OPTIONS = ("--model.min_df", "1", "--trainer.logger", "false")


@pytest.fixture
def installed(tmp_path):
    """A clone called textclf, with folders of a user's own, and the Python of an environment that has it installed."""
    clone = tmp_path / "textclf"
    clone.mkdir()
    for name in ("textclf", "configs"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    for name in ("runs/files/0", "data", "models", "tests"):
        (clone / name).mkdir(parents=True)
        (clone / name / "mine.py").write_text("raise ImportError('not a module of the package')\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth files are not read
    subprocess.run([sys.executable, "-c", BUILD, tmp_path], cwd=clone, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def python(*arguments):
        command = [tmp_path / "venv" / "bin" / "python", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    return tmp_path, python


def test_the_folder_above_a_clone(installed, rows_folder):
    above, python = installed
    code = (
        "import textclf, textclf.run.folder, textclf.data; "
        "print(textclf.__version__, textclf.__file__, textclf.run.folder.ROOT)"
    )
    assert python("-c", code).split()[1:] == [str(above / "textclf" / "textclf" / "__init__.py"), "runs"]
    for run in ("0", "1"):
        python("-m", "textclf", "fit", *CONFIGS, *OPTIONS, "--data.data_dir", str(rows_folder))
        metrics = above / "runs" / "files-tfidf" / run / "report" / "metrics.json"
        assert json.loads(metrics.read_text())["test/accuracy"] > 0.9
