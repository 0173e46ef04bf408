"""Worker processes that are not forked are sent what collates batches, without the weights."""

import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from torch import nn

from tests.models.contract import TINY, tiny_model
from tests.models.test_batch_independence import NAMES
from textclf.data.batching import Collator, worker_collator
from textclf.errors import UserError
from textclf.models import (
    ChatClassifier,
    FineTunedClassifier,
    LinearProbe,
    NearestCentroid,
    TextClassifier,
    TfidfClassifier,
)

METHODS = (*TINY, TfidfClassifier, ChatClassifier)
ROWS = {
    "text": ["a film", "지루한 영화, and so long"],
    "id": ["0", "1"],
    "row": [0, 1],
    "label": [0, 1],
    "filler": False,
}
SCRIPT = """
import multiprocessing, sys
from textclf.cli import main
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    main(sys.argv[2:])
"""


def built(method, folder):
    return method(2, NAMES, tiny_model(method, folder)) if method in TINY else method(2, NAMES)


def same(one, other):
    """Whether two batches are equal, tensors and arrays in lists and dictionaries included."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.fixture
def spawned(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_a_collator_is_sent_without_weights(method, tmp_path, spawned):
    model = built(method, tmp_path)
    rows = ROWS | model.encode({"text": ROWS["text"]})
    if method not in (LinearProbe, NearestCentroid, ChatClassifier):
        model.configure_model()
    model.big = nn.Linear(500, 2000)
    model.register_buffer("numbers", torch.zeros(2000, 500))
    collator = worker_collator(model)
    sent = pickle.dumps(collator)
    assert len(sent) < 100_000, "a million weights of four bytes, and none of them"
    assert same(pickle.loads(sent)(rows), Collator(model.collate)(rows))
    assert model.big is not None, "the model keeps its weights"
    assert model.numbers is not None, "the model keeps its buffers"


class Stranger(TextClassifier):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.words = nn.Embedding(10, 2)
        self.scale = torch.arange(6.0)[::2]
        self.fitted = {"scale": self.scale, "again": self.scale}

    def collate(self, rows):
        return {"lengths": torch.tensor(rows["length"]) * self.scale[1] * self.fitted["again"][1]}


class Locked(Stranger):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.lock = Lock()


def test_a_strangers_collate_has_all_but_the_weights(spawned):
    model = Stranger(2, NAMES)
    rows = ROWS | model.encode({"text": ROWS["text"]})
    assert same(pickle.loads(pickle.dumps(worker_collator(model)))(rows), Collator(model.collate)(rows))
    assert model.for_workers().words is None


def test_what_cannot_be_sent_is_refused_in_one_line(spawned):
    with pytest.raises(UserError, match=r"num_workers: a Locked cannot be sent .*lock.*: give --data.num_workers 0"):
        worker_collator(Locked(2, NAMES))


def test_nothing_is_sent_to_forked_workers(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "fork")
    assert worker_collator(Locked(2, NAMES)).collate.__self__.lock is not None


@pytest.mark.exhaustive  # each takes half a minute or more
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
@pytest.mark.parametrize("method", [method for method in METHODS if method not in (ChatClassifier, TfidfClassifier)])
def test_workers_that_are_not_forked(method, start, rows_folder, tmp_path):
    model = built(method, tmp_path / "model")
    command = "fit" if method in (FineTunedClassifier, LinearProbe, NearestCentroid) else "test"
    (tmp_path / "main.py").write_text(SCRIPT)
    done = subprocess.run(
        [
            *(sys.executable, str(tmp_path / "main.py"), start, command, "--data", "FilesDataModule"),
            *("--model", method.__name__, "--model.pretrained", model.pretrained, "--data.data_dir", str(rows_folder)),
            *("--data.num_workers", "1", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"),
            *("--trainer.logger", "false", "--run_dir", str(tmp_path / "run")),
            *(("--trainer.max_epochs", "1") if command == "fit" else ()),
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run" / "report" / "metrics.json").is_file()
