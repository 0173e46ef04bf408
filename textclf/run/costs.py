"""The record of what a run cost and how it was made: `report/run.json`."""

from __future__ import annotations

import json
import math
import platform
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.data.base import data_module_of
from textclf.data.text_values import mended
from textclf.files import atomic_path
from textclf.hardware.device import cpu_kernels, device_name, machine_hash
from textclf.hardware.memory import PeakMemory, peak_memory
from textclf.hashing import rows_hash
from textclf.processes import gather, global_seed, run_folder
from textclf.run.folder import parameter_counts
from textclf.run.report import Reported, is_reported, report_folder
from textclf.version import __version__

NAME = "run.json"
PACKAGES = (
    *("torch", "lightning", "transformers", "sentence-transformers", "tokenizers", "datasets", "numpy", "scipy"),
    "scikit-learn",
)
"""Packages whose versions are recorded."""
TOKENS = ("tokens", "tokens_beside", "prompt_tokens", "completion_tokens")
"""Last parts of the names of figures that count tokens, such as `chat/prompt_tokens`."""
COST = "cost"
"""Last part of the name of the figure that is the cost, such as `chat/cost`."""
CLONE = Path(__file__).resolve().parents[2]


class Evaluation(NamedTuple):
    """What a process measured of an evaluation.

    Attributes:
        seconds: From the start of the command to the end of scoring, with reading and encoding.
        started: When scoring started.
        ended: When it ended.
        memory: The peak of the process.
    """

    seconds: float
    started: datetime
    ended: datetime
    memory: PeakMemory


class CostRecord(Callback):
    """Writes `run.json`: at the end of `fit`, and beside the report of each evaluation.

    It must come before `ReportWriter`, so that writing the report is not timed.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """Stores the command.

        Args:
            command: The words of the command line; None for a run from Python.
        """
        self.command = None if command is None else typed_command(command)
        self._seconds_before = 0.0  # of the run that is resumed
        self._counts_memory = False
        self._module: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run folder, and starts to count the memory of a GPU."""
        self.run = run_folder(trainer)
        self._module = pl_module
        device = trainer.strategy.root_device
        if device.type == "cuda" and not self._counts_memory:
            torch.cuda.reset_peak_memory_stats(device)
        self._counts_memory = True  # a test after `fit` belongs to it

    # Training

    def state_dict(self) -> dict[str, Any]:
        """The seconds of training so far, so that those of a resumed run include them."""
        return {"fit_seconds": self._fit_seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the seconds before a resume."""
        self._seconds_before = state_dict["fit_seconds"]

    def _fit_seconds(self) -> float:
        started = None if self._module is None else self._module.textclf.started
        return self._seconds_before if started is None else self._seconds_before + time.perf_counter() - started

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what is known before an evaluation."""
        fit_seconds = self._fit_seconds()
        self._seconds_before = 0.0
        memory = gather(peak_memory(trainer.strategy.root_device), trainer)
        if trainer.is_global_zero:
            facts = {**self._facts(trainer, pl_module), **joint_memory(memory), "fit_seconds": fit_seconds}
            write_facts(self.run / "report" / NAME, facts)

    # Evaluation

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the time."""
        self._started = datetime.now(UTC)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Notes the time, before the report is written."""
        if is_reported(trainer) or trainer.state.fn == TrainerFn.TESTING:
            seconds = time.perf_counter() - pl_module.textclf.started
            memory = peak_memory(trainer.strategy.root_device)
            self._measured = Evaluation(seconds, self._started, datetime.now(UTC), memory)

    on_test_start = on_validation_start
    on_test_epoch_end = on_validation_epoch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the record of the command `validate`."""
        if is_reported(trainer):
            self._write(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the record of a test."""
        self._write(trainer, pl_module, "test")

    def _write(self, trainer: Trainer, model: Any, split: Reported) -> None:
        """Reads what `ReportWriter` has written, and adds what was measured."""
        processes: list[Evaluation] = gather(self._measured, trainer)
        if not trainer.is_global_zero:
            return
        folder = report_folder(self.run, split)
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        facts = {
            **self._facts(trainer, model),
            **joint_memory([each.memory for each in processes]),
            "fit_seconds": stored_fit_seconds(self.run, metrics["checkpoint"]),
            "test_seconds": max(each.seconds for each in processes),
            "encoding_seconds": model.textclf.encoding_seconds.get(split),
            "examples_per_second": metrics["examples_per_second"],
            "tokens": counted_tokens(metrics),
            "cost": found_cost(metrics),
            "data_fingerprint": table_fingerprint(folder / "predictions.parquet"),
            "seed": metrics["seed"],
            "started": min(each.started for each in processes).isoformat(),
            "ended": max(each.ended for each in processes).isoformat(),
        }
        write_facts(folder / NAME, facts)

    def _facts(self, trainer: Trainer, model: Any) -> dict[str, Any]:
        """What is known of any run; the other entries are None."""
        commit, changed = clone_state()
        data = data_module_of(trainer)
        counts = None if isinstance(trainer.strategy, FSDPStrategy) else counted_parameters(model)
        return {
            "fit_seconds": None,
            "test_seconds": None,
            "encoding_seconds": None,
            "examples_per_second": None,
            "peak_memory_mib": None,
            "peak_gpu_memory_mib": None,
            "parameters": None if counts is None else counts["total"],
            "trained_parameters": None if counts is None else counts["trained"],
            "tokens": None,
            "cost": None,
            "device": device_name(trainer.strategy.root_device, trainer.world_size),
            "versions": versions(),
            "commit": commit,
            "uncommitted_changes": changed,
            "data_fingerprint": None,
            "fingerprints": None if data is None else data.fingerprints(),
            "seed": global_seed(),
            "started": None,
            "ended": None,
            "machine": machine_hash(),
            "cpu": cpu_kernels(),
            "threads": torch.get_num_threads(),
            "working_directory": mended(str(Path.cwd())),
            "command": self.command,
        }


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes the record, as strict JSON."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def stored_fit_seconds(run: Path, checkpoint: str | None) -> float | None:
    """The seconds of training, from the run in which it ended; None where that run has no record.

    Args:
        run: The folder of this run.
        checkpoint: The checkpoint that is evaluated, in `RUN/checkpoints`; None for a method that is not loaded.
    """
    folder = run if checkpoint is None else Path(checkpoint).parent.parent
    try:
        record = json.loads((folder / "report" / NAME).read_text(encoding="utf-8"))
        seconds: float | None = record["fit_seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds


def joint_memory(processes: Sequence[PeakMemory]) -> dict[str, float | None]:
    """The peak memory of a run: of all processes together, and of the GPU that needed most."""
    resident = [each.resident for each in processes if each.resident is not None]
    gpu = [each.gpu for each in processes if each.gpu is not None]
    return {
        "peak_memory_mib": round(sum(resident), 1) if resident else None,
        "peak_gpu_memory_mib": round(max(gpu), 1) if gpu else None,
    }


def counted_parameters(model: Any) -> dict[str, int]:
    """The numbers of parameters of a method: `total`, and `trained`.

    Floating-point tensors in `fitted` count as trained, such as the head of `TfidfClassifier`: they were fitted to the
    train rows. A method without training has none.
    """
    own = parameter_counts(model)
    fitted = sum(tensor.numel() for tensor in tensors_in(model.fitted) if tensor.is_floating_point())
    trains = is_overridden("training_step", model)
    total = own["total"] + fitted + model.frozen_parameters()
    return {"total": total, "trained": own["trainable"] + fitted if trains else 0}


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested dictionaries and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from tensors_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)


def counted_tokens(metrics: Mapping[str, Any]) -> int | None:
    """The tokens that a method counted among its figures; None where it counts none."""
    found = [value for name, value in metrics.items() if name.rpartition("/")[2] in TOKENS and value is not None]
    return int(sum(found)) if found else None


def found_cost(metrics: Mapping[str, Any]) -> float | None:
    """The cost among the figures of a method; None where there is none."""
    found = [value for name, value in metrics.items() if name.rpartition("/")[2] == COST and value is not None]
    return math.fsum(found) if found else None


def table_fingerprint(path: Path) -> str:
    """The hash of the scored rows: of ids, texts and labels, without columns that are kept besides."""
    import pyarrow.parquet as pq
    from datasets import Dataset

    names = pq.read_schema(path).names
    columns = [name for name in ("id", "text", "text_pair", "label") if name in names]
    return rows_hash(Dataset(pq.read_table(path, columns=columns, memory_map=True)))


def typed_command(words: Sequence[str]) -> str:
    """The command that repeats a run: as it was typed, without `--run_dir`, in which a repetition must differ.

    `fit` is also repeated without `--ckpt_path`: a resumed run has the result of one that was not interrupted.
    """
    left_out = ("--run_dir", "--ckpt_path") if list(words[:1]) == ["fit"] else ("--run_dir",)
    kept = []
    skip = False
    for word in words:
        if not skip and word.partition("=")[0] not in left_out:
            kept.append(mended(word))
        skip = not skip and word in left_out
    return shlex.join(kept)


def versions() -> dict[str, str]:
    """The versions of Python, of this package, and of those that it computes with."""
    found = {"python": platform.python_version(), "textclf": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def clone_state() -> tuple[str | None, bool | None]:
    """The commit of the clone that the package is in, and whether its files were changed since; None elsewhere."""
    if not (CLONE / ".git").exists():
        return None, None
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return commit or None, None if changes is None else bool(changes)


def _git(*words: str) -> str | None:
    """What git prints; None where it fails or is not installed."""
    command = ["git", "--no-optional-locks", "-C", str(CLONE), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
