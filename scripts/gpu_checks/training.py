"""Parts of `check_gpu.py`: fine-tuning compared with transformers' Trainer, and training that is resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from benchmarks.rows import data_module
from benchmarks.training import counted, matmul_rate, ours, trainer
from lightning.pytorch import Callback, Trainer, seed_everything

from gpu_checks import models
from gpu_checks.frame import Case, Row, Sizes, timed
from textclf.models import FineTunedClassifier
from textclf.run.checkpoints import RandomStates

EPOCHS, BATCH = 2, 32


def training(sizes: Sizes) -> Iterator[Case]:
    """An epoch of each shape in each precision: transformers' Trainer (`group_by_length`), then textclf."""
    texts, rate = models.texts(sizes.train_texts, sizes.words), cache(matmul_rate)
    for shape in sizes.encoders:
        folder = models.encoder(sizes, shape)
        for precision in sizes.precisions:
            for by, way in {"transformers.Trainer": trainer, "textclf": ours}.items():
                name = f"{shape}, {precision}, {by}"
                yield name, partial(epoch, name, way, texts, folder, precision, rate, sizes)


def epoch(name: str, way: Any, texts: Sequence[str], folder: str, precision: str, rate: Any, sizes: Sizes) -> Row:
    """Times an epoch; the weights are checked after each."""
    work = way(texts, models.invented_classes(texts), True, folder, precision)
    # One long round each: starting a training takes a fixed time, which should be a small part of it.
    return timed(name, counted(work, rate(), True), 1, "weights are finite", warm=way is ours)


def resume(sizes: Sizes) -> Iterator[Case]:
    """Training that goes on from a checkpoint in the middle of an epoch, against training in one go."""
    folder = models.encoder(sizes, next(iter(sizes.encoders)))
    texts = models.texts(sizes.resumed_texts, sizes.words, seed=5)
    for precision in sizes.precisions:
        name = f"deterministic kernels, {precision}"
        yield name, partial(resumed, name, folder, texts, precision, True)
    name = f"default kernels, {sizes.precisions[0]}"
    yield name, partial(resumed, name, folder, texts, sizes.precisions[0], False)


class SaveAt(Callback):
    """Saves a checkpoint after a step."""

    def __init__(self, step: int, path: Path) -> None:
        """Takes the step, and the file."""
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Saves it when the step is done."""
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path, weights_only=False)


def resumed(name: str, folder: str, texts: Sequence[str], precision: str, deterministic: bool) -> Row:
    """Compares the weights of three trainings: twice in one go, and resumed with other seeds."""
    steps = EPOCHS * (len(texts) // BATCH)
    middle = steps * 5 // 8  # in the second epoch
    checkpoint = Path(mkdtemp(prefix="check-gpu-"), "middle.ckpt")
    fit = partial(fitted, folder, texts, precision, deterministic)
    started = time.perf_counter()
    try:
        whole = fit(seed=42, callbacks=[SaveAt(middle, checkpoint)])
        again = fit(seed=42)
        rest = fit(seed=7, checkpoint=str(checkpoint))
    finally:
        torch.use_deterministic_algorithms(False)
    seconds = time.perf_counter() - started
    report = f"step {middle} of {steps} to the end: {equality(whole, rest)}; twice in one go: {equality(whole, again)}"
    # The default kernels add in any order: if two runs in one go differ, a resumed run cannot be equal either.
    same = not differing(whole, rest) or (not deterministic and bool(differing(whole, again)))
    return Row(name, report, same, seconds, {"rows": 3 * EPOCHS * len(texts), "off": largest(whole, rest)})


Weights = dict[str, torch.Tensor]


def fitted(
    folder: str,
    texts: Sequence[str],
    precision: str,
    deterministic: bool,
    seed: int,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | None = None,
) -> Weights:
    """The weights after training, with dropout, and with warm-up and decay of the learning rate."""
    seed_everything(seed, verbose=False)
    names = ("0", "1")
    model = FineTunedClassifier(2, names, pretrained=folder, max_length=128, warmup=0.1, schedule="linear")
    options: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {"enable_checkpointing": False, "use_distributed_sampler": False, "gradient_clip_val": 1.0}
    runner = Trainer(
        max_epochs=EPOCHS,
        precision=precision,  # type: ignore[arg-type]  # one of its own names
        deterministic=deterministic,
        callbacks=[RandomStates(), *callbacks],
        **options,
    )
    runner.fit(
        model,
        datamodule=data_module(texts, models.invented_classes(texts), names, batch_size=BATCH),
        ckpt_path=checkpoint,
        weights_only=True,
    )
    return {name: weight.cpu().clone() for name, weight in model.state_dict().items()}


def differing(a: Weights, b: Weights) -> list[str]:
    """Names of weights that are not bitwise identical."""
    return [name for name in a if not torch.equal(a[name], b[name])]


def equality(a: Weights, b: Weights) -> str:
    """Whether weights are bitwise identical, in words."""
    other = differing(a, b)
    return f"{len(other)} of {len(a)} tensors differ, by up to {largest(a, b):.2g}" if other else "bitwise identical"


def largest(a: Weights, b: Weights) -> float:
    """The largest difference of a weight."""
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)
