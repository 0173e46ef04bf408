"""What a run says and reports: after each validation, on data without a test split, and in another process."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import textclf.run.progress
from tests.run_files import REPORT, WEIGHTS
from textclf.cli import main
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.run.checkpoints import validation_line
from textclf.run.progress import ProgressLines
from textclf.run.report import figures_of

CONFIGS = Path(__file__).parents[2] / "configs"


def options(rows, run_dir, *more):
    """TF-IDF on the files of a folder: fitted in no time."""
    return [
        *("--config", str(CONFIGS / "files.yaml"), "--config", str(CONFIGS / "model" / "tfidf.yaml")),
        *("--data.data_dir", str(rows), "--run_dir", str(run_dir), "--model.min_df", "1"),
        *("--trainer.logger", "textclf.run.MetricsCSV", *more),
    ]


def copied(rows, folder, *splits):
    folder.mkdir()
    for split in splits:
        (folder / f"{split}.csv").write_bytes((rows / f"{split}.csv").read_bytes())
    return folder


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def files_of(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.fixture(scope="module")
def trained(rows_folder, tmp_path_factory):
    """The folder of a run on 60 train rows, with the seed 7."""
    run_dir = tmp_path_factory.mktemp("reporting") / "run"
    main(["fit", *options(rows_folder, run_dir), "--seed_everything", "7"])
    return run_dir


# After each validation


@pytest.mark.parametrize(
    ("logged", "monitor", "best", "line"),
    [
        (
            {"val/nll": 0.43125, "val/accuracy": 0.8012, "val/macro_f1": 0.79926, "val/ece": 0.1},
            *("val/macro_f1", 0.8, "loss 0.4313, accuracy 0.8012, macro-F1 0.7993 (best macro-F1 so far: 0.8000)"),
        ),
        ({"val/accuracy": 0.5, "val/macro_f1": 0.25}, "val/macro_f1", None, "accuracy 0.5000, macro-F1 0.2500"),
        ({"val/nll": 0.3}, "val/nll", 0.25, "loss 0.3000 (best loss so far: 0.2500)"),
        ({"val/nll": 0.3}, "val/mcc", 0.25, "loss 0.3000 (best val/mcc so far: 0.2500)"),
    ],
)
def test_the_line_of_a_validation(logged, monitor, best, line):
    values = {name: torch.tensor(value) for name, value in logged.items()}
    trainer = SimpleNamespace(callback_metrics=values, current_epoch=1, global_step=240)
    best = None if best is None else torch.tensor(best)
    assert validation_line(trainer, monitor, best) == f"validation at epoch 2, step 240: {line}"


@pytest.mark.slow
def test_each_validation_of_fit_is_printed(rows_folder, tiny_encoder, tmp_path, capsys):
    main(
        [
            *("fit", "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)),
            *("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--data.batch_size", "8"),
            *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "2", "--trainer.val_check_interval", "4"),
            *("--trainer.logger", "textclf.run.MetricsCSV", "--run_dir", str(tmp_path / "run")),
        ]
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if "validation at" in line]
    form = r"textclf: validation at epoch (\d), step (\d+): loss [\d.]+, accuracy ([\d.]+), macro-F1 ([\d.]+) "
    found = [re.fullmatch(form + r"\(best macro-F1 so far: ([\d.]+)\)", line).groups() for line in lines]
    assert [(epoch, step) for epoch, step, *_ in found] == [("1", "4"), ("1", "8"), ("2", "12"), ("2", "16")]
    scores, best = ([float(row[place]) for row in found] for place in (3, 4))
    assert best == [max(scores[: i + 1]) for i in range(4)]


@pytest.mark.slow
def test_the_probe_names_each_C(rows_folder, tiny_encoder, tmp_path, capsys):
    main(
        [
            *("fit", "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)),
            *("--config", str(CONFIGS / "model" / "linear_probe.yaml"), "--model.C", "[0.01, 1.0]"),
            *("--model.pretrained", str(tiny_encoder), "--trainer.accelerator", "cpu", "--test_after_fit", "false"),
            *("--trainer.logger", "textclf.run.MetricsCSV", "--run_dir", str(tmp_path / "run")),
        ]
    )
    found = re.findall(r"^textclf: (C [\d.]+): val/nll [\d.]+$", capsys.readouterr().err, re.MULTILINE)
    assert found == ["C 0.01", "C 1"]


def test_early_stopping_is_printed(rows_folder, tiny_encoder, tmp_path, capsys):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/macro_f1"]
    main(
        [
            *("fit", "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder), *stop),
            *("--trainer.callbacks.patience=1", "--trainer.callbacks.min_delta=1", "--trainer.max_epochs", "4"),
            *("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--trainer.accelerator", "cpu"),
            *("--trainer.logger", "false", "--test_after_fit", "false", "--run_dir", str(tmp_path / "run")),
        ]
    )
    said = capsys.readouterr().err
    assert "training stopped early: val/macro_f1 did not improve in 1 validations" in said
    assert said.count("validation at") == 2


# What is reported


@pytest.mark.slow
@pytest.mark.parametrize(
    ("splits", "val_size", "reported", "said"),
    [
        (("train", "validation", "test"), "0.1", ["report", "report/validation"], ""),
        (("train", "test"), "0.25", ["report", "report/validation"], ""),
        (("train", "test"), "0", ["report"], "there is no validation split: the last checkpoint is tested"),
        (
            ("train", "validation"),
            "0.1",
            ["report/validation"],
            "no test split: the report is of the validation split",
        ),
        (("train",), "0.25", ["report/validation"], "no test split: the report is of the validation split"),
        (("train",), "0", [], "no test split and no validation split: nothing is measured"),
    ],
)
def test_fit_reports_on_the_best_split_that_there_is(splits, val_size, reported, said, rows_folder, tmp_path, capsys):
    run_dir = tmp_path / "run"
    data = copied(rows_folder, tmp_path / "data", *splits)
    main(["fit", *options(data, run_dir, "--data.val_size", val_size)])
    output = capsys.readouterr()
    assert said in output.err
    assert ("there is no" in output.err) == bool(said)
    folders = sorted(str(path.parent.relative_to(run_dir)) for path in run_dir.rglob("metrics.json"))
    assert folders == reported
    for folder in reported:
        assert files_of(run_dir / folder) == [*REPORT, WEIGHTS]
    if reported:  # the test, where there is one
        assert output.out.strip() == (run_dir / reported[0] / "report.txt").read_text().strip()


def test_fit_reports_on_validation_as_validate_does(rows_folder, tiny_encoder, tmp_path, capsys):
    def run(command, run_dir, *more):
        main(
            [
                *(command, "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)),
                *("--model.pretrained", str(tiny_encoder), "--model.max_length", "32", "--model.learning_rate", "0.01"),
                *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--run_dir", str(run_dir), *more),
            ]
        )

    logged = ["--trainer.logger", "textclf.run.MetricsCSV"]
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/macro_f1"]
    calibrated = [*stop, "--trainer.callbacks+=TemperatureScaling", "--trainer.callbacks+=TunedThresholds"]
    run("fit", tmp_path / "fit", *logged, *calibrated, "--trainer.max_epochs", "2")
    said = capsys.readouterr()
    best = ["--ckpt_path", str(tmp_path / "fit" / "checkpoints" / "best.ckpt"), "--trainer.logger", "false"]
    run("validate", tmp_path / "validate", *best)
    tables = []
    metrics = []
    for folder in ("fit", "validate"):
        report = tmp_path / folder / "report" / "validation"
        assert files_of(report) == REPORT
        tables.append(read_predictions(report / "predictions.parquet"))
        metrics.append({name: value for name, value in metrics_of(report).items() if "validation/" in name})
    assert metrics[0] == metrics[1]
    assert tables[0].ids == tables[1].ids
    assert tables[0].temperature == tables[1].temperature != 1
    assert tables[0].thresholds == tables[1].thresholds is not None
    np.testing.assert_array_equal(tables[0].log_scores, tables[1].log_scores)
    # One line of it is printed, and loggers and rules get no validation more than training has made.
    (line,) = [line for line in said.err.splitlines() if "report/validation" in line]
    assert line.startswith(f"textclf: validation: loss {metrics[0]['validation/nll']:.4f}, accuracy ")
    assert said.out.strip() == (tmp_path / "fit" / "report" / "report.txt").read_text().strip()
    assert said.err.count("textclf: thresholds: ") == said.err.count("validation at") == 2
    names, *rows = [row.split(",") for row in (tmp_path / "fit" / "metrics.csv").read_text().splitlines()]
    assert sum(bool(row[names.index("val/accuracy")]) for row in rows) == 2
    assert sum(bool(row[names.index("test/accuracy")]) for row in rows) == 1


@pytest.mark.slow
@pytest.mark.parametrize("off", [["--test_after_fit", "false"], ["--trainer.limit_val_batches", "0"]])
def test_validation_rows_are_not_scored_where_that_is_switched_off(off, rows_folder, tmp_path):
    main(["fit", *options(rows_folder, tmp_path / "run", *off)])
    assert not (tmp_path / "run" / "report" / "validation").exists()


@pytest.mark.slow
def test_a_report_of_validation_is_that_of_the_logged_validation(rows_folder, tmp_path):
    data = copied(rows_folder, tmp_path / "data", "train", "validation")
    main(["fit", *options(data, tmp_path / "run")])
    folder = tmp_path / "run" / "report" / "validation"
    metrics, table = metrics_of(folder), read_predictions(folder / "predictions.parquet")
    assert metrics["examples"] == len(table.ids) == 20
    assert metrics["validation/accuracy"] == pytest.approx((table.labels == table.predictions).mean())
    assert metrics["examples_per_second"] > 0
    assert not any(name.startswith(("test/", "val/")) for name in metrics)
    names, *rows = [row.split(",") for row in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    logged = [dict(zip(names, row, strict=True)) for row in rows]
    for name in ("accuracy", "macro_f1", "nll", "ece"):
        value = metrics[f"validation/{name}"]
        assert [float(row[f"val/{name}"]) for row in logged if row[f"val/{name}"]] == pytest.approx([value] * 2)


@pytest.mark.slow
def test_validate_writes_and_prints_the_report(trained, tmp_path, capsys):
    checkpoint = str(trained / "checkpoints" / "best.ckpt")
    main(["validate", "--ckpt_path", checkpoint, "--run_dir", str(tmp_path / "run"), "--trainer.logger", "false"])
    assert files_of(tmp_path / "run" / "report" / "validation") == [*REPORT, WEIGHTS]
    assert not (tmp_path / "run" / "report" / "metrics.json").exists()
    assert capsys.readouterr().out.strip() == (tmp_path / "run/report/validation/report.txt").read_text().strip()


# What a report is of


def test_a_report_names_data_method_checkpoint_rows_and_seed(trained, rows_folder, tmp_path, monkeypatch):
    checkpoint = str(trained / "checkpoints" / "best.ckpt")
    known = {
        "data": f"FilesDataModule ({rows_folder})",
        "method": "TfidfClassifier",
        "checkpoint": checkpoint,
        "seed": 7,
        "train_rows": 60,
    }
    test = {"split": "test", **known}
    assert test.items() <= metrics_of(trained / "report").items()
    monkeypatch.chdir(tmp_path)
    main(["test", "--ckpt_path", checkpoint, "--trainer.logger", "false"])  # whose own seed is 42
    again = metrics_of(Path("runs/run/0/report"))
    assert test.items() <= again.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", again["time"])
    main(["validate", "--ckpt_path", checkpoint, "--trainer.logger", "false"])
    assert {**known, "split": "validation"}.items() <= metrics_of(Path("runs/run/1/report/validation")).items()


@pytest.mark.slow
def test_a_checkpoint_that_does_not_tell_its_rows(trained, tmp_path):
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    for name in ("train_rows", "seed"):
        del checkpoint["textclf"][name]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    arguments = ["--ckpt_path", str(tmp_path / "old.ckpt"), "--trainer.logger", "false"]
    main(["test", *arguments, "--run_dir", str(tmp_path / "run")])
    metrics = metrics_of(tmp_path / "run" / "report")
    assert metrics["train_rows"] is None
    assert metrics["seed"] is None


@pytest.mark.slow
def test_a_method_without_training_has_no_checkpoint_and_the_seed_of_the_command(rows_folder, tmp_path):
    rule = ["--model", "tests.models.test_base.LengthRule", "--trainer.logger", "false", "--seed_everything", "5"]
    config = ["--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)]
    main(["test", *config, *rule, "--run_dir", str(tmp_path / "run")])
    metrics = metrics_of(tmp_path / "run" / "report")
    assert (metrics["checkpoint"], metrics["train_rows"], metrics["seed"]) == (None, 0, 5)


def test_the_rows_that_shots_leave(rows_folder, tmp_path):
    main(["fit", *options(rows_folder, tmp_path / "run", "--data.shots_per_class", "3")])
    assert metrics_of(tmp_path / "run" / "report")["train_rows"] == 6


@pytest.mark.slow
def test_the_name_of_a_run_without_a_configuration(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy = Path("runs/shows/2/checkpoints/best.ckpt")
    copy.parent.mkdir(parents=True)
    copy.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    main(["test", "--ckpt_path", str(copy), "--trainer.logger", "false"])
    assert (tmp_path / "runs/shows/0/report/metrics.json").is_file()


# What a failed command leaves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "splits", "more"),
    [
        ("fit", ("test",), []),
        ("fit", ("train", "test"), ["--data.label_column", "kind"]),
        ("fit", ("train", "test"), ["--trainer.strategy", "nonsense"]),
        ("fit", ("train", "test"), ["--model.min_df", "1000"]),
        ("test", ("train",), []),
        ("validate", ("test",), []),
        ("fit", (), []),
    ],
)
def test_a_failed_command_leaves_no_folder(command, splits, more, rows_folder, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = copied(rows_folder, tmp_path / "data", *splits)
    arguments = options(data, "nowhere", *more)
    start = arguments.index("--run_dir")
    del arguments[start : start + 2]
    checkpoint = [] if command == "fit" else ["--ckpt_path", str(trained / "checkpoints" / "best.ckpt")]
    with pytest.raises(SystemExit) as stop:
        main([command, *arguments, *checkpoint])
    assert stop.value.code == 2
    assert not Path("runs").exists(), capsys.readouterr().err


def test_a_failed_command_leaves_no_record_of_wandb(rows_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = options(rows_folder, "run", "--model.min_df", "1000")
    arguments[arguments.index("--trainer.logger") + 1] = "textclf.run.WandbRunLogger"
    with pytest.raises(SystemExit):
        main(["fit", *arguments])
    assert not Path("run").exists()


# What is printed


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(textclf.run.progress.time, "monotonic", lambda: clock.now)
    return clock


def test_progress_is_printed_less_and_less_often(clock, capsys):
    trainer = SimpleNamespace(current_epoch=0, num_training_batches=10_000, max_epochs=1, is_global_zero=True)
    trainer.progress_bar_metrics = {"train/loss": 0.5}
    lines = ProgressLines()
    lines.setup(trainer, None, "fit")
    lines.on_train_start(trainer, None)
    said = []
    for batch in range(10_000):
        clock.now += 1
        lines.on_train_batch_end(trainer, None, None, None, batch)
        if text := capsys.readouterr().err:
            said.append((clock.now, text))
    assert said[0] == (60.0, "textclf: training, epoch 1: batch 60 of 10,000, loss 0.5000\n")
    times = [time for time, _ in said]
    assert all(later - time >= max(60, 0.1 * time) for time, later in pairwise(times))
    assert len(said) < 50


def test_a_short_test_prints_no_progress(clock, capsys):
    lines, trainer = ProgressLines(), SimpleNamespace(num_test_batches=[7], is_global_zero=True)
    lines.setup(trainer, None, "test")
    lines.on_test_start(trainer, None)
    for batch in range(7):
        clock.now += 5
        lines.on_test_batch_end(trainer, None, None, None, batch)
    assert capsys.readouterr().err == ""
    clock.now += 30
    lines.on_test_batch_end(trainer, None, None, None, 6)
    assert capsys.readouterr().err == "textclf: test: batch 7 of 7\n"


@pytest.mark.exhaustive
def test_a_fit_and_a_test_say_little_without_a_terminal(tmp_path):
    def lines(*arguments):
        command = [sys.executable, "-m", "textclf", *arguments]
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout.splitlines()

    configs = ("--config", str(CONFIGS / "bbc_news.yaml"), "--config", str(CONFIGS / "model" / "tfidf.yaml"))
    fit = lines("fit", *configs)
    test = lines("test", "--ckpt_path", "runs/bbc_news-tfidf/0/checkpoints/best.ckpt")
    for said, command in ((fit, "fit"), (test, "test")):
        assert len(said) <= 45, "\n".join(said)
        assert said[0].startswith(f"textclf: {command}: TfidfClassifier on BBCNewsDataModule, run folder runs/")
        assert sum(line.startswith("rows read") for line in said) == 1
        assert said.index("data:       BBCNewsDataModule") > said.index(next(x for x in said if "rows used" in x))
        assert said.index("invalid answers:         0") > len(said) - 5
    assert sum("validation at epoch 1" in line for line in fit) == 1


@pytest.mark.parametrize("value", [3, 0.5, np.float32(0.5), np.array([0.5]), torch.tensor(0.5), None])
def test_further_numbers_of_a_method_are_plain(value):
    found = figures_of(SimpleNamespace(figures=lambda split: {"test/own": value}), "test")["test/own"]
    assert found is value or (isinstance(found, float) and found == 0.5)


def test_what_is_no_number_is_refused():
    class Own:
        def figures(self, split):
            return {"test/own": [1, 2]}

    with pytest.raises(UserError, match=r"Own\.figures gave \[1, 2\] for 'test/own': wanted a number"):
        figures_of(Own(), "test")
