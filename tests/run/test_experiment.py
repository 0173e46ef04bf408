"""`run_experiment`, and Lightning's own trainer, as a notebook uses them: several runs in one process."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

import textclf
from tests.conftest import invented_rows
from tests.run_files import WEIGHTS, run_files
from textclf import run_experiment
from textclf.cli import main
from textclf.data import FilesDataModule, TextDataModule
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import FineTunedClassifier, LinearProbe, TextClassifier, TfidfClassifier
from textclf.run.defaults import default_callbacks

ROOT = Path(__file__).parents[2]
NAMES = ("negative", "positive")
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Unlabelled(TextClassifier):
    """Needs no training: the first label always has three quarters."""

    def log_scores(self, batch):
        return torch.tensor([[0.75, 0.25]]).log().expand(len(batch["text"]), 2)


class FirstWord(TfidfClassifier):
    """A method of one's own that takes fewer arguments than its base."""

    def __init__(self, num_classes, label_names, min_df: int = 1):
        super().__init__(num_classes, label_names, min_df=min_df)


class Narrow(FilesDataModule):
    """A data set of one's own that takes one argument alone."""

    def __init__(self, folder: str):
        super().__init__(folder, label_names=list(NAMES))


@pytest.fixture
def data(rows_folder):
    return FilesDataModule(str(rows_folder), batch_size=8)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tfidf():
    return TfidfClassifier(2, NAMES, min_df=1)


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


# What it gives and leaves behind


def test_a_run_gives_what_its_folder_holds(data, tmp_path):
    result = run_experiment(tfidf(), data, run_name="mine", accelerator="cpu", logger=CSVLogger(tmp_path / "own"))
    assert result.run_dir == Path("runs", "mine", "0")
    assert written(result.run_dir) == run_files(WEIGHTS)
    assert result.metrics == json.loads((result.run_dir / "report" / "metrics.json").read_text())
    assert (result.split, result.checkpoint) == ("test", result.run_dir / "checkpoints" / "best.ckpt")
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["lightning_logs"]


def test_the_predictions_are_a_data_frame(data, tmp_path):
    result = run_experiment(tfidf(), data, logger=False, accelerator="cpu")
    table = read_predictions(result.run_dir / "report" / "predictions.parquet")
    frame = result.predictions
    assert list(frame) == ["id", "text", "label_name", "prediction_name", "score_negative", "score_positive"]
    assert list(frame["text"]) == list(data.rows("test")["text"]) == table.texts
    assert list(frame["prediction_name"]) == [NAMES[i] for i in table.predictions]
    assert frame["score_negative"].tolist() == pytest.approx(
        [float(row[0].exp()) for row in torch.tensor(table.log_scores)]
    )
    correct = (frame["label_name"] == frame["prediction_name"]).mean()
    assert correct == pytest.approx(result.metrics["test/accuracy"])


@pytest.mark.slow
def test_the_command_line_gives_the_same_figures(data, rows_folder, tmp_path):
    result = run_experiment(tfidf(), data, run_dir="mine", logger=False, accelerator="cpu", precision="32-true")
    main(["test", "--config", "mine/config.yaml", "--ckpt_path", "best", "--run_dir", "again"])
    again = json.loads(Path("again", "report", "metrics.json").read_text())
    main(
        [
            *("fit", "--data", "FilesDataModule", "--data.data_dir", str(rows_folder), "--data.batch_size", "8"),
            *("--model", "TfidfClassifier", "--model.min_df", "1", "--trainer.accelerator", "cpu"),
            *("--trainer.precision", "32-true", "--trainer.logger", "false", "--run_dir", "other"),
        ]
    )
    other = json.loads(Path("other", "report", "metrics.json").read_text())
    scores = {key: value for key, value in result.metrics.items() if key.startswith("test/")}
    assert {key: again[key] for key in scores} == scores == {key: other[key] for key in scores}
    assert yaml.safe_load(Path("mine", "config.yaml").read_text())["seed_everything"] == 42


def test_a_method_without_training_is_tested(data):
    result = run_experiment(Unlabelled(2, NAMES), data, logger=False)
    assert result.metrics["test/accuracy"] == pytest.approx(11 / 21)
    assert result.checkpoint is None


def test_without_a_test_the_newest_checkpoint_is_named(data):
    result = run_experiment(tfidf(), data, logger=False, test_after_fit=False)
    assert (result.metrics, result.split, result.checkpoint.name) == ({}, None, "last.ckpt")
    with pytest.raises(UserError, match="measured no split"):
        _ = result.predictions


def test_validation_is_reported_where_it_is_asked_for(data):
    run_experiment(tfidf(), data, run_dir="mine", logger=False)
    result = run_experiment(tfidf(), data, command="validate", ckpt_path="mine/checkpoints/best.ckpt", logger=False)
    assert (result.split, len(result.predictions)) == ("validation", 20)
    assert result.run_dir == Path("runs", "mine", "0")


# Several runs in one process


@pytest.mark.slow
def test_runs_after_each_other_do_not_depend_on_each_other(data, tiny_encoder):
    def run():
        model = FineTunedClassifier(2, NAMES, str(tiny_encoder), max_length=32, learning_rate=0.01)
        return run_experiment(model, data, logger=False, max_epochs=2, precision="32-true", accelerator="cpu")

    first = run()
    run_experiment(tfidf(), data, logger=False, seed=7)
    second = run()
    assert first.predictions.equals(second.predictions)
    assert [str(result.run_dir) for result in (first, second)] == ["runs/run/0", "runs/run/2"]
    assert json.loads((second.run_dir / "report" / "metrics.json").read_text())["seed"] == 42


def test_a_trained_method_is_not_trained_again_unasked(data):
    model = tfidf()
    first = run_experiment(model, data, logger=False)
    with pytest.raises(UserError, match="is trained already: make a new one to train it, or pass command='test'"):
        run_experiment(model, data, logger=False)
    second = run_experiment(model, data, command="test", logger=False)
    assert second.predictions.equals(first.predictions)


@pytest.mark.parametrize("method", ["tfidf", pytest.param("probe", marks=pytest.mark.slow)])
def test_a_fitted_method_is_fitted_again_to_other_rows(data, rows_folder, tiny_encoder, tmp_path, method):
    (tmp_path / "flipped").mkdir()
    flipped = {"negative": "positive", "positive": "negative"}
    for file in rows_folder.iterdir():
        text = re.sub("negative$|positive$", lambda found: flipped[found[0]], file.read_text(), flags=re.MULTILINE)
        (tmp_path / "flipped" / file.name).write_text(text)
    model = tfidf() if method == "tfidf" else LinearProbe(2, NAMES, str(tiny_encoder), C=1000.0)
    first = run_experiment(model, data, logger=False, max_epochs=1)
    second = run_experiment(model, FilesDataModule("flipped"), command="fit", logger=False, max_epochs=1)
    assert second.metrics["test/nll"] == pytest.approx(first.metrics["test/nll"], rel=0.01)


@pytest.mark.slow
def test_training_is_resumed(data, tiny_encoder):
    def model():
        return FineTunedClassifier(2, NAMES, str(tiny_encoder), max_length=32, learning_rate=0.01)

    class Stop(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 9:
                raise KeyboardInterrupt

    options = {"logger": False, "max_epochs": 2, "precision": "32-true", "accelerator": "cpu"}
    whole = run_experiment(model(), data, **options)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(model(), data, run_dir="cut", callbacks=Stop(), **options)
    resumed = run_experiment(model(), data, run_dir="cut", command="fit", ckpt_path="last", **options)
    assert resumed.predictions.equals(whole.predictions)


SCRIPT = """
import os
import sys
from textclf import run_experiment
from textclf.data import FilesDataModule
from textclf.models import FineTunedClassifier, TfidfClassifier

def say(line):
    # One write for the whole line: print makes several where Python does not buffer, and those of two processes mix.
    os.write(1, (line + chr(10)).encode())

data = FilesDataModule(sys.argv[1], batch_size=4)
options = {"logger": False, "accelerator": "cpu", "precision": "32-true", "max_epochs": 1, "devices": 2}
for _ in range(2):
    model = FineTunedClassifier(2, data.label_names, sys.argv[2], max_length=32, learning_rate=0.01)
    result = run_experiment(model, data, **options)
    say(f"result {result.run_dir} {result.metrics['test/nll']} {len(result.predictions)}")
try:
    run_experiment(TfidfClassifier(2, data.label_names), data, **options)
except ValueError as error:
    say(f"refused {error}")
"""


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        [],
        pytest.param(
            ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"], marks=pytest.mark.exhaustive
        ),
    ],
)
def test_a_script_in_two_processes(rows_folder, tiny_encoder, tmp_path, launcher):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, *launcher, "script.py", str(rows_folder), str(tiny_encoder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    # Two processes write to one pipe: a line may begin behind what the other has written.
    results = sorted(re.findall(r"result (\S+) (\S+) (\d+)", done.stdout))
    assert [result[0] for result in results] == ["runs/run/0"] * 2 + ["runs/run/1"] * 2
    assert len({tuple(result[1:]) for result in results}) == 1
    assert done.stdout.count("refused fit: TfidfClassifier is fitted in one process") == 2
    assert sorted(path.name for path in Path("runs", "run").iterdir()) == ["0", "1"]


# Ctrl-C


def test_ctrl_c_is_one_line_and_works_again(data, capsys):
    class Stop(Callback):
        def on_train_batch_start(self, *args):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(tfidf(), data, callbacks=[Stop()], logger=False, run_dir="mine")
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == "textclf: stopped by Ctrl-C: no checkpoint is saved yet, so start again, with a new model"


@pytest.mark.slow
def test_in_a_thread(data):
    results = []
    thread = threading.Thread(target=lambda: results.append(run_experiment(tfidf(), data, logger=False)))
    thread.start()
    thread.join()
    assert results[0].split == "test"


def test_filters_of_warnings_are_given_back(data):
    before = list(warnings.filters)
    run_experiment(Unlabelled(2, NAMES), data, logger=False)
    assert warnings.filters == before


# What is refused leaves no folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": TfidfClassifier}, r"model is the class TfidfClassifier: give an object of a TextClassifier"),
        ({"model": "data"}, r"model is of type str: give an object of a TextClassifier"),
        ({"data": None}, r"data is of type NoneType: give an object of a TextDataModule"),
        (
            {"model": TfidfClassifier(2, ("positive", "negative"))},
            r"the model's labels are positive, negative, the data",
        ),
        ({"model": TfidfClassifier(2, ("bad", "good"))}, r"make the model with data.num_classes and data.label_names"),
        ({"max_epoch": 3}, r"run_experiment has no argument 'max_epoch': did you mean 'max_epochs'\?"),
        ({"run_folder": "x"}, r"run_experiment has no argument 'run_folder'"),
        ({"default_root_dir": "x"}, r"the run folder is given as run_dir"),
        ({"command": "predict"}, r"command 'predict': give one of fit, validate, test"),
        ({"command": "test"}, r"test: TfidfClassifier must be trained first"),
        ({"logger": "wandb"}, r"logger 'wandb': give an object of a lightning.pytorch.loggers.Logger, True or False"),
        ({"callbacks": ["early"]}, r"callbacks 'early': give objects of lightning.pytorch.Callback"),
        ({"ckpt_path": "last"}, r"no checkpoints/last.ckpt in mine"),
        ({"ckpt_path": "nowhere.ckpt"}, r"'nowhere.ckpt' does not exist"),
        ({"max_epochs": -7}, r"max_epochs"),
        ({"precision": "fp99"}, r"trainer: Precision 'fp99' is invalid"),
        ({"enable_checkpointing": False}, r"enable_checkpointing=False"),
        ({"strategy": "ddp_spawn", "devices": 2}, r"this strategy trains in forked or spawned processes"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_folder(data, tmp_path, arguments, message):
    given = {"model": tfidf(), "data": data, "run_dir": "mine", "logger": False, "accelerator": "cpu", **arguments}
    with pytest.raises(UserError, match=message) as raised:
        run_experiment(given.pop("model"), given.pop("data"), **given)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "mine").exists()


def test_a_method_that_has_nothing_to_train(data):
    with pytest.raises(UserError, match="fit: Unlabelled has nothing to train"):
        run_experiment(Unlabelled(2, NAMES), data, command="fit", logger=False)


def test_an_error_of_ones_own_stays_as_it_is(data, tmp_path):
    class Broken(Unlabelled):
        def log_scores(self, batch):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run_experiment(Broken(2, NAMES), data, logger=False)


def test_a_run_folder_that_is_taken(data):
    run_experiment(Unlabelled(2, NAMES), data, run_dir="mine", logger=False)
    with pytest.raises(UserError, match="holds a run already"):
        run_experiment(Unlabelled(2, NAMES), data, run_dir="mine", logger=False)


# config.yaml


def test_a_line_names_what_config_yaml_cannot_hold(data, capsys):
    class Local(FirstWord):
        pass

    options = {"callbacks": [Callback()], "max_time": timedelta(hours=1), "logger": False}
    run_experiment(Local(2, NAMES), data, run_dir="mine", **options)
    said = capsys.readouterr().err
    assert "config.yaml leaves out trainer.max_time, trainer.callbacks: objects cannot be written to it" in said
    assert "Local cannot be imported by the command line" in said
    config = yaml.safe_load(Path("mine", "config.yaml").read_text())
    assert not {"callbacks", "max_time"} & set(config["trainer"])


class InMemory(TextDataModule):
    """Rows that are in memory already."""

    label_names = NAMES

    def __init__(self, splits):
        super().__init__(batch_size=8)
        self.splits = splits

    def source_splits(self):
        return tuple(self.splits)

    def load_split(self, split):
        return self.splits[split]


def test_rows_in_memory(capsys):
    splits = {}
    for seed, split in enumerate(("train", "test")):
        rows = [{"text": text, "label": NAMES.index(label)} for text, label in invented_rows(40, seed)]
        splits[split] = Dataset.from_list(rows)
    run_experiment(tfidf(), InMemory(splits), run_dir="mine", logger=False)
    assert "config.yaml leaves out data.splits: objects cannot be written to it" in capsys.readouterr().err
    assert yaml.safe_load(Path("mine", "config.yaml").read_text())["data"]["init_args"] == {}
    assert TextClassifier.load_from_checkpoint("mine/checkpoints/last.ckpt").classify(["great"])


def test_paths_and_numbers_of_numpy(rows_folder):
    model = TfidfClassifier(2, NAMES, min_df=np.int64(1), C=np.float64(2.0))
    run_experiment(model, FilesDataModule(rows_folder), run_dir=Path("mine"), logger=False)
    config = yaml.safe_load(Path("mine", "config.yaml").read_text())
    assert config["data"]["init_args"]["data_dir"] == str(rows_folder)
    assert config["model"]["init_args"]["min_df"] == 1
    assert TextClassifier.load_from_checkpoint("mine/checkpoints/best.ckpt").classify(["great"])


@pytest.mark.slow
def test_a_subclass_that_takes_fewer_arguments_than_its_base(rows_folder):
    run_experiment(FirstWord(2, NAMES), Narrow(str(rows_folder)), run_dir="mine", logger=False)
    config = yaml.safe_load(Path("mine", "config.yaml").read_text())
    assert config["model"]["init_args"] == {"num_classes": 2, "label_names": list(NAMES), "min_df": 1}
    assert config["data"]["init_args"] == {"folder": str(rows_folder)}
    loaded = TextClassifier.load_from_checkpoint("mine/checkpoints/best.ckpt")
    assert loaded.classify(["wonderful", "dull"])[0]["label"] == "positive"
    main(["test", "--ckpt_path", "mine/checkpoints/best.ckpt", "--run_dir", "again"])
    main(["test", "--config", "again/config.yaml", "--ckpt_path", "mine/checkpoints/best.ckpt"])


# Lightning's own trainer


def test_a_plain_trainer_gives_the_same_figures(data):
    result = run_experiment(tfidf(), data, logger=False, accelerator="cpu")
    model, trainer = tfidf(), Trainer(**QUIET, max_epochs=1)
    trainer.fit(model, data)
    tested = trainer.test(model, data, verbose=False)[0]
    assert tested["test/nll"] == pytest.approx(result.metrics["test/nll"], abs=1e-6)
    batches = trainer.predict(model, data)
    scores = {
        int(row): scores for batch in batches for row, scores in zip(batch["row"], batch["log_scores"], strict=True)
    }
    probabilities = [scores[row].exp()[1].item() for row in range(len(scores))]
    assert probabilities == pytest.approx(result.predictions["score_positive"].tolist())


def test_a_trainer_of_ones_own_writes_the_run_folder(data, tmp_path):
    options = {**QUIET, "callbacks": default_callbacks(), "default_root_dir": "own", "max_epochs": 1}
    trainer, model = Trainer(**options), tfidf()
    trainer.fit(model, data)
    trainer.test(model, data, ckpt_path="best", verbose=False)
    assert {"checkpoints/best.ckpt", "report/metrics.json", "cleaning.csv"} <= set(written("own"))


def loader_of(model, data, more):
    """A DataLoader of one's own over the test rows."""

    def collate(rows):
        columns = {"text": [row["text"] for row in rows]}
        batch = model.collate({**columns, **model.encode(columns)})
        return {**batch, **{name: torch.tensor([row[key] for row in rows]) for name, key in more.items()}}

    rows = [{**row, "row": place} for place, row in enumerate(data.rows("test"))]
    return DataLoader(rows, batch_size=4, collate_fn=collate)


def test_a_loader_of_ones_own(data):
    model = tfidf()
    with pytest.raises(UserError, match=r"TfidfClassifier must see the train rows before the first batch"):
        Trainer(**QUIET).fit(model, loader_of(model, data, {"labels": "label"}))
    model.prepare(data.rows("train"))
    with pytest.raises(UserError, match=r"a batch of a DataLoader has no 'row'"):
        Trainer(**QUIET).test(model, loader_of(model, data, {"labels": "label"}), verbose=False)
    tested = Trainer(**QUIET).test(model, loader_of(model, data, {"labels": "label", "row": "row"}), verbose=False)[0]
    assert tested["test/nll"] == pytest.approx(
        run_experiment(tfidf(), data, logger=False).metrics["test/nll"], abs=1e-6
    )
    with pytest.raises(UserError, match="a report needs the rows of a data module"):
        trainer = Trainer(**QUIET, callbacks=default_callbacks())
        trainer.test(model, loader_of(model, data, {"labels": "label", "row": "row"}), verbose=False)


@pytest.mark.parametrize(("stage", "read"), [("fit", 2), ("test", 1), ("predict", 1), (None, 3)])
def test_setup_without_a_trainer_reads_rows(data, stage, read):
    data.setup(stage)
    assert len({entry.split for entry in data.ledger.entries}) >= read
    assert data.rows("test" if stage in ("test", "predict") else "train")[0]["id"] == "0"
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader, data.predict_dataloader):
        with pytest.raises(UserError, match=r"pass the data module to a trainer"):
            loader()


def test_a_stage_that_is_none(data):
    with pytest.raises(UserError, match="stage 'training': give one of fit, validate, test, predict"):
        data.setup("training")


def test_names_of_the_package_are_imported_on_first_use():
    assert "run_experiment" in dir(textclf)
    with pytest.raises(AttributeError, match="no attribute 'run_experiments'"):
        textclf.run_experiments  # noqa: B018


# The README


def test_the_example_of_the_readme(tmp_path):
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python")[2]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    (tmp_path / "reviews").mkdir()
    for seed, split in enumerate(("train", "test")):
        lines = ["text,label", *(f'"{text}",{label}' for text, label in invented_rows(40, seed))]
        (tmp_path / "reviews" / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    variables = {}
    exec(example, variables)
    assert variables["result"].metrics["test/macro_f1"] > 0.8
    assert len(variables["answers"]) == 40
    assert (tmp_path / "runs" / "reviews" / "0" / "report" / "report.txt").is_file()
