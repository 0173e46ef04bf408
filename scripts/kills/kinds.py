"""The kinds of commands that are killed: what is run, how it is run again, and what its result is."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure_memory import write_rows

from kills.chat_server import asked
from kills.checks import TOLERANCE, read_comparison, read_predictions, read_report, read_weights
from kills.faults import FirstStep
from textclf.run.grid_job import GridRun

SIZES = {"train": 480, "validation": 60, "test": 240}
SCRATCH = """
model:
  class_path: FineTunedClassifier
  init_args:
    pretrained: null
    encoder_config: {vocab_size: 400, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}
    max_length: 32
    learning_rate: 0.01
trainer: {max_epochs: 4, accelerator: cpu, precision: 32-true, logger: textclf.run.MetricsCSV, callbacks: []}
"""
PROBE = """
model: {class_path: LinearProbe, init_args: {pretrained: ENCODER}}
trainer: {max_epochs: 4, accelerator: cpu, precision: 32-true, logger: textclf.run.MetricsCSV, callbacks: []}
"""
CHAT = """
model: {class_path: ChatClassifier, init_args: {model: m, concurrency: 4, base_url: URL/v1}}
trainer: {accelerator: cpu, precision: 32-true, logger: textclf.run.MetricsCSV, callbacks: []}
"""
REPORT = """
trainer:
  logger: textclf.run.MetricsCSV
  callbacks: [textclf.run.ReportPage]
"""
TFIDF = """
model: {class_path: TfidfClassifier, init_args: {min_df: 1}}
trainer: {accelerator: cpu, logger: textclf.run.MetricsCSV, callbacks: []}
"""
CONCURRENCY = 4
SCRIPTS = Path(__file__).parents[1]


@dataclass
class Inputs:
    """What the commands read, away from the folders of the trials.

    Attributes:
        folder: Where it is.
        url: Address of the chat server.
    """

    folder: Path
    url: str

    @property
    def rows(self) -> Path:
        """The folder of the rows."""
        return self.folder / "rows"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of a trained method."""
        return self.folder / "trained" / "checkpoints" / "best.ckpt"

    def config(self, name: str) -> str:
        """A configuration of a method."""
        return str(self.folder / f"{name}.yaml")

    def write(self) -> None:
        """Writes rows and configurations."""
        self.rows.mkdir(parents=True)
        for seed, (split, rows) in enumerate(SIZES.items()):
            write_rows(self.rows / f"{split}.parquet", rows, seed)
        encoder = str(self.folder / "encoder")
        for name, text in {"scratch": SCRATCH, "probe": PROBE, "chat": CHAT, "tfidf": TFIDF, "report": REPORT}.items():
            text = text.replace("ENCODER", encoder).replace("URL", self.url)
            Path(self.config(name)).write_text(text, encoding="utf-8")
        rows_config = {"data": {"class_path": "FilesDataModule", "init_args": {"data_dir": str(self.rows)}}}
        Path(self.config("rows")).write_text(json.dumps(rows_config), encoding="utf-8")

    def train(self) -> list[str]:
        """The command that trains the method of `checkpoint`."""
        run = str(self.checkpoint.parents[1])
        return ["fit", "--config", self.config("rows"), "--config", self.config("scratch"), "--run_dir", run]

    def export(self) -> list[str]:
        """The words after `python` that make an encoder of that checkpoint."""
        return [str(SCRIPTS / "export.py"), str(self.checkpoint), str(self.folder / "encoder")]


class Kind:
    """A kind of command.

    Attributes:
        first_step: What counts as its first step.
        is_forked: Whether it runs in a forked process instead of one that is started anew.
        needs_encoder: Whether it reads the exported encoder.
        tolerance: The largest difference between floats of two results that does not count.
    """

    first_step: FirstStep = "forward pass"
    is_forked = True
    needs_encoder = False
    tolerance = 0.0

    def __init__(self, inputs: Inputs, folder: Path) -> None:
        """Takes what is read, and the folder of the trials."""
        self.inputs = inputs
        self.folder = folder
        self.run_folder = folder / "run"

    def words(self) -> list[str]:
        """The command."""
        raise NotImplementedError

    def again(self) -> list[str]:
        """The command that is given after the fault: it resumes the run, or runs it again."""
        raise NotImplementedError

    def result(self) -> Any:
        """The result that must be that of a run without a fault."""
        raise NotImplementedError

    def early_result(self) -> Any:
        """The result that the killed run has left behind as whole; None if it has left none."""
        return None

    def has_started(self) -> bool:
        """Whether files of the killed process show that it had made its first step."""
        return False

    def after_fault(self) -> None:
        """Called between the fault and the next command."""

    def broken_promise(self) -> str | None:
        """What is wrong besides the result after the command was run again; None if nothing is."""
        return None


class Fit(Kind):
    """Training from scratch with checkpoints every 100 steps and after each epoch; then resumed, or begun anew."""

    first_step: FirstStep = "optimizer step"
    config = "scratch"

    def words(self) -> list[str]:
        """Trains."""
        configs = ["--config", self.inputs.config("rows"), "--config", self.inputs.config(self.config)]
        return ["fit", *configs, "--data.batch_size", "16", "--run_dir", str(self.run_folder)]

    def again(self) -> list[str]:
        """Resumes from the last checkpoint; a run that has none yet is removed, and begun anew."""
        if self.has_started():
            config = str(self.run_folder / "config.yaml")
            return ["fit", "--config", config, "--run_dir", str(self.run_folder), "--ckpt_path", "last"]
        shutil.rmtree(self.run_folder, ignore_errors=True)
        return self.words()

    def has_started(self) -> bool:
        """Whether there is a checkpoint."""
        return (self.run_folder / "checkpoints" / "last.ckpt").is_file()

    def result(self) -> Any:
        """Predictions, metrics, and the weights of both checkpoints."""
        return {**read_report(self.run_folder), **read_weights(self.run_folder)}

    def early_result(self) -> Any:
        """The result of a run that counts as complete in a grid."""
        if GridRun(self.run_folder, ("fit",)).is_complete:
            return self.result()
        return None


class FitInOwnProcess(Fit):
    """The same as a process that is started anew."""

    is_forked = False

    def words(self) -> list[str]:
        """Trains."""
        return ["-m", "textclf", *super().words()]

    def again(self) -> list[str]:
        """Resumes, or begins anew."""
        words = super().again()
        return words if words[0] == "-m" else ["-m", "textclf", *words]


class Probe(Fit):
    """A linear probe on embeddings, which are cached on disk."""

    first_step: FirstStep = "forward pass"
    config = "probe"
    needs_encoder = True
    tolerance = TOLERANCE  # an embedding depends by rounding on the texts that are embedded with it

    def result(self) -> Any:
        """Predictions and metrics."""
        return read_report(self.run_folder)


class Test(Kind):
    """A test with the page of the report; then again, into another run folder."""

    def words(self) -> list[str]:
        """Tests a trained method."""
        checkpoint = ["--ckpt_path", str(self.inputs.checkpoint)]
        configs = ["--config", self.inputs.config("rows"), "--config", self.inputs.config("report")]
        return ["test", *configs, *checkpoint, "--run_dir", str(self.current)]

    @property
    def current(self) -> Path:
        """The first of two run folders that does not exist."""
        again = self.run_folder.with_name("again")
        return again if self.run_folder.exists() else self.run_folder

    again = words

    def result(self) -> Any:
        """Predictions and metrics."""
        again = self.run_folder.with_name("again")
        return read_report(again if again.exists() else self.run_folder)

    def early_result(self) -> Any:
        """The result of a run that counts as complete in a grid."""
        if GridRun(self.run_folder, ("test",)).is_complete:
            return read_report(self.run_folder)
        return None


class Predict(Kind):
    """Predictions of the texts of a file, into another file; then the rest of them, with `--resume`."""

    @property
    def output(self) -> Path:
        """The file of predictions."""
        return self.folder / "out.parquet"

    def words(self) -> list[str]:
        """Predicts."""
        files = ["--input", str(self.inputs.rows / "train.parquet"), "--output", str(self.output)]
        batches = ["--data.eval_batch_size", "16", "--trainer.accelerator", "cpu"]
        return ["predict", "--ckpt_path", str(self.inputs.checkpoint), *files, *batches]

    def again(self) -> list[str]:
        """Predicts the rest."""
        return [*self.words(), "--resume"]

    def result(self) -> Any:
        """The predictions."""
        return read_predictions(self.output)

    def early_result(self) -> Any:
        """The predictions, if the file exists."""
        return self.result() if self.output.exists() else None


class PredictFolder(Kind):
    """Predictions of the texts of a file, into a folder of shards; then the rest of them, with `--resume`."""

    @property
    def shards(self) -> Path:
        """The folder."""
        return self.folder / "out"

    def words(self) -> list[str]:
        """Predicts."""
        files = ["--input", str(self.inputs.rows / "train.parquet"), "--output", str(self.shards)]
        batches = ["--shard_rows", "40", "--data.eval_batch_size", "16", "--trainer.accelerator", "cpu"]
        return ["predict", "--ckpt_path", str(self.inputs.checkpoint), *files, *batches]

    def again(self) -> list[str]:
        """Predicts the rows that no shard has."""
        return [*self.words(), "--resume"]

    def result(self) -> Any:
        """The predictions of each shard, and whether they are all there."""
        manifest = json.loads((self.shards / "_manifest.json").read_text(encoding="utf-8"))
        shards = {path.name: read_predictions(path) for path in sorted(self.shards.glob("part-*.parquet"))}
        return {"complete": manifest["complete"], **shards}

    def early_result(self) -> Any:
        """The predictions, if the manifest says that they are complete."""
        if (self.shards / "_manifest.json").exists():
            result = self.result()
            return result if result["complete"] else None
        return None


class Chat(Test):
    """Questions to a chat server; no answer that is stored is asked for again."""

    first_step: FirstStep = "request"

    @property
    def store(self) -> Path:
        """The file of answers."""
        return self.folder / "cache" / "textclf" / "chat.sqlite"

    def words(self) -> list[str]:
        """Asks."""
        configs = ["--config", self.inputs.config("rows"), "--config", self.inputs.config("chat")]
        return ["test", *configs, "--run_dir", str(self.current)]

    again = words

    def after_fault(self) -> None:
        """Notes what was asked, and what was stored."""
        self.asked = asked(self.inputs.url)
        self.stored = stored_questions(self.store)

    def broken_promise(self) -> str | None:
        """Compares how often each question was asked.

        An answer that was under way when the process was killed is not stored: it is asked for again.
        """
        now = asked(self.inputs.url, reset=True)
        for question in self.stored:
            if now[question] > self.asked[question]:
                return f"a stored answer was asked for again: {question!r}"
        repeated = sum(now.values()) - len(now)
        if repeated > CONCURRENCY:
            return f"{repeated} questions were asked again, more than were under way"
        return None


def stored_questions(store: Path) -> list[str]:
    """The questions whose answers are stored; the file itself is left as it is."""
    if not store.exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        for file in store.parent.glob(f"{store.name}*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder, store.name))) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = connection.execute("SELECT request FROM answers").fetchall() if "answers" in tables else []
    return [json.loads(request)["messages"][-1]["content"] for (request,) in rows]


class RunAll(Kind):
    """A grid of two methods, whose runs are processes of their own; then the same command again."""

    is_forked = False

    @property
    def root(self) -> Path:
        """The folder of the grid."""
        return self.folder / "grid"

    def words(self) -> list[str]:
        """Runs the grid."""
        methods = [self.inputs.config("tfidf"), self.inputs.config("scratch")]
        return [
            str(SCRIPTS / "run_all.py"),
            str(self.root),
            "--data",
            self.inputs.config("rows"),
            "--methods",
            *methods,
        ]

    again = words

    def has_started(self) -> bool:
        """Whether there is a checkpoint."""
        return any(self.root.glob("*/seed-*/checkpoints/*.ckpt"))

    def result(self) -> Any:
        """The comparison."""
        return read_comparison(self.root / "comparison.json")


KINDS: dict[str, type[Kind]] = {
    "fit": Fit,
    "test": Test,
    "predict": Predict,
    "predict_folder": PredictFolder,
    "embedding": Probe,
    "chat": Chat,
    "fit_process": FitInOwnProcess,
    "run_all": RunAll,
}
