"""Several processes give what one gives; a killed run goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.several_processes import run_on_processes
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.evaluation.prediction_table import read_predictions

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "configs" / "files.yaml"


def arguments(subcommand, encoder, data, run_dir, *more):
    return [
        *(subcommand, "--config", str(CONFIG), "--data.data_dir", str(data)),
        *("--model.pretrained", str(encoder), "--model.max_length", "64", "--model.learning_rate", "0.003"),
        *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.logger", "false"),
        *("--trainer.max_epochs", "2", "--run_dir", str(run_dir), *more),
    ]


def command(*args):
    return [sys.executable, "-m", "textclf", *arguments(*args)]


def run(*args):
    main(arguments(*args))


def write_rows(folder, sizes):
    """Rows whose label follows from their words, of 2 to 21 words, as CSV."""
    folder.mkdir()
    random = np.random.default_rng(0)
    words = {"negative": ["나쁜", "지루한", "dull", "bad"], "positive": ["좋은", "최고", "fine", "great"]}
    for split, size in sizes.items():
        lines = ["text,label"]
        for number in range(size):  # in each text, so that none is a repeat
            label = random.choice(["negative", "positive"])
            filler = random.choice(["영화", "the", "film", "연기", "of"], size=random.integers(1, 20))
            lines.append(" ".join([split, str(number), *filler, random.choice(words[label])]) + f",{label}")
        (folder / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(tiny_encoder, tmp_path_factory):
    """A folder of rows with 333 test rows, and a run trained and tested on them by one process."""
    folder = tmp_path_factory.mktemp("processes")
    data = write_rows(folder / "data", {"train": 120, "validation": 30, "test": 333})
    run("fit", tiny_encoder, data, folder / "run")
    return data, folder / "run"


def assert_same_report(one, other, split="test"):
    reports = [run_dir / "report" / ("" if split == "test" else split) for run_dir in (one, other)]
    a, b = (read_predictions(report / "predictions.parquet") for report in reports)
    assert a.ids == b.ids
    assert a.texts == b.texts
    np.testing.assert_array_equal(a.predictions, b.predictions)
    np.testing.assert_allclose(a.log_scores, b.log_scores, atol=1e-5)
    first, second = (json.loads((report / "metrics.json").read_text()) for report in reports)
    for name in (f"{split}/accuracy", f"{split}/macro_f1", f"{split}/nll", f"{split}/ece", "examples"):
        assert first[name] == pytest.approx(second[name], abs=1e-6), name
    facts = [json.loads((report / "run.json").read_text()) for report in reports]
    for name in ("data_fingerprint", "parameters", "trained_parameters", "machine"):
        assert facts[0][name] == facts[1][name], name


NEW_ENCODER = ("--model.pretrained", "null")  # the last of two values counts
SCALED = ("--trainer.callbacks+=TemperatureScaling", "--model.learning_rate", "1e-9")  # the weights stay alike


@pytest.fixture(scope="module")
def on_two(trained, tiny_encoder, tmp_path_factory):
    """A folder with the runs of two processes."""
    data, single = trained
    folder = tmp_path_factory.mktemp("two")
    best = str(single / "checkpoints" / "best.ckpt")
    from_scratch = ("--config", str(CONFIG.parent / "model" / "from_scratch.yaml"), "--trainer.max_epochs", "1")
    run_on_processes(
        2,
        arguments("test", tiny_encoder, data, folder / "tested", "--ckpt_path", best),
        arguments("fit", tiny_encoder, data, folder / "trained"),
        arguments("fit", tiny_encoder, data, folder / "new", *from_scratch, *NEW_ENCODER),
        arguments("fit", tiny_encoder, data, folder / "scaled", *SCALED),
    )
    return folder


def test_evaluation_is_exact(on_two, trained):
    assert_same_report(trained[1], on_two / "tested")
    one, two = (json.loads((folder / "report" / "run.json").read_text()) for folder in (trained[1], on_two / "tested"))
    assert two["device"] == f"{one['device']}, 2 processes"
    assert two["peak_memory_mib"] > one["peak_memory_mib"]
    assert two["fit_seconds"] == one["fit_seconds"]


def test_three_processes_and_fewer_rows_than_these(trained, tiny_encoder, tmp_path):
    data, single = trained
    best = ("--ckpt_path", str(single / "checkpoints" / "best.ckpt"))
    few = ("--data.limit", "2", "--data.eval_batch_size", "1", *best)
    run("test", tiny_encoder, data, tmp_path / "few", *few)
    run_on_processes(
        3,
        arguments("test", tiny_encoder, data, tmp_path / "all-3", *best),
        arguments("test", tiny_encoder, data, tmp_path / "few-3", *few),
    )
    assert_same_report(single, tmp_path / "all-3")
    assert_same_report(tmp_path / "few", tmp_path / "few-3")


@pytest.mark.parametrize(("command", "split"), [("test", "test"), ("validate", "validation")])
def test_training_on_two_processes_ends_with_the_reports_of_one(
    command, split, on_two, trained, tiny_encoder, tmp_path
):
    data, _ = trained
    best = str(on_two / "trained" / "checkpoints" / "best.ckpt")
    run(command, tiny_encoder, data, tmp_path / "one", "--ckpt_path", best)
    assert_same_report(on_two / "trained", tmp_path / "one", split)


def test_a_new_encoder_is_the_same_on_every_process(on_two, trained, tiny_encoder, tmp_path):
    data, _ = trained
    best = on_two / "new" / "checkpoints" / "best.ckpt"
    config = ("--config", str(on_two / "new" / "config.yaml"), "--trainer.devices", "1", "--trainer.strategy", "auto")
    run("test", tiny_encoder, data, tmp_path / "one", *config, *NEW_ENCODER, "--ckpt_path", str(best))
    assert_same_report(on_two / "new", tmp_path / "one")


def test_one_temperature_over_the_rows_of_all_processes(on_two, trained, tiny_encoder, tmp_path):
    data, _ = trained
    run("fit", tiny_encoder, data, tmp_path / "one", *SCALED)
    found = []
    for folder in (tmp_path / "one", on_two / "scaled"):
        last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        found.append(last["textclf"]["temperature"])
    assert found[0] != 1
    assert found[0] == pytest.approx(found[1], rel=1e-3)


class PlainLoader(FilesDataModule):
    def test_dataloader(self):
        loader = super().test_dataloader()
        return torch.utils.data.DataLoader(loader.dataset, 64, collate_fn=loader.collate_fn)


@pytest.mark.exhaustive
def test_a_plain_loader_is_refused_on_several_processes(trained, tiny_encoder, tmp_path):
    data, single = trained
    plain = ("--data", f"{__name__}.PlainLoader", "--data.data_dir", str(data))
    best = ("--ckpt_path", str(single / "checkpoints" / "best.ckpt"))
    run("test", tiny_encoder, data, tmp_path / "run", *plain, *best)
    several = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    refused = subprocess.run(
        command("test", tiny_encoder, data, tmp_path / "two", *plain, *best, *several),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert refused.returncode != 0
    assert "plain DataLoader" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.exhaustive
def test_a_mistake_on_several_processes_ends_with_its_line(tiny_encoder, trained, tmp_path):
    data, _ = trained
    several = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--model.pretrained", "./nowhere")
    done = subprocess.run(
        command("fit", tiny_encoder, data, tmp_path / "run", *several), capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "'./nowhere'" in done.stderr.strip().splitlines()[-1]


MORE = ("--data.batch_size", "4", "--data.num_workers", "2")


@pytest.fixture(scope="module")
def undisturbed(tiny_encoder, tmp_path_factory):
    """A folder of rows with 250 batches, and a run of two epochs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data = write_rows(folder / "data", {"train": 1000, "validation": 30, "test": 10})
    run("fit", tiny_encoder, data, folder / "run", *MORE)
    return data, folder / "run"


@pytest.mark.parametrize(
    ("send", "number", "exit_codes"),
    [
        (os.killpg, signal.SIGKILL, [-signal.SIGKILL]),
        pytest.param(os.kill, signal.SIGTERM, [128 + signal.SIGTERM], marks=pytest.mark.exhaustive),
        # 1: its workers are gone before it stops itself
        pytest.param(os.killpg, signal.SIGTERM, [128 + signal.SIGTERM, 1], marks=pytest.mark.exhaustive),
    ],
    ids=["kill -9", "SIGTERM", "SIGTERM to all"],
)
def test_stop_in_mid_epoch_then_resume_is_bit_exact(send, number, exit_codes, undisturbed, tiny_encoder, tmp_path):
    data, whole = undisturbed
    stopped = tmp_path / "stopped"
    process = subprocess.Popen(
        command("fit", tiny_encoder, data, stopped, *MORE),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    last = stopped / "checkpoints" / "last.ckpt"
    try:
        for _ in range(6000):
            if last.is_file() or process.poll() is not None:
                break
            time.sleep(0.01)
        assert last.is_file(), "no checkpoint was written while it trained"
        assert process.poll() is None, "the process ended before it was killed"
        send(process.pid, number)
        assert process.wait(timeout=60) in exit_codes
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    checkpoint = torch.load(last, weights_only=True)
    assert 0 < checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["completed"] < 250

    config = ("--config", str(stopped / "config.yaml"), "--ckpt_path", "last")
    run("fit", tiny_encoder, data, stopped, *MORE, *config)
    ends = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (whole, stopped)]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 500
    for name, weights in ends[0]["state_dict"].items():
        assert torch.equal(weights, ends[1]["state_dict"][name]), name
