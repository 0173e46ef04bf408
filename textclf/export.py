"""A fine-tuned checkpoint as a folder that `transformers` loads without textclf, with a model card."""

from __future__ import annotations

import inspect
import json
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import textclf.data  # noqa: F401  # its classes say what their rows are
from textclf.backbones.compatibility import check_match
from textclf.backbones.tokenizer_files import tokenizer_from_files
from textclf.console import say
from textclf.errors import UserError
from textclf.evaluation.calibration import Temperature, Thresholds
from textclf.evaluation.prediction_table import PredictionTable, confidences, read_predictions
from textclf.files import atomic_folder
from textclf.models.base import TextClassifier
from textclf.models.checkpoint import read_checkpoint
from textclf.models.encoders import merged
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.models.streaming import score_rows
from textclf.run.yaml_values import dump

PROBES = ("정말 재밌고 좋았어요.", "진짜 재미없네요 ㅋㅋ", "a joy to watch", "", "영화 film, " * 2000)
TOLERANCE = 1e-5
CHECKED = 32
"""Rows of a report that are scored again, to see whether it is of the checkpoint."""

CARD = """\
---
library_name: transformers
pipeline_tag: text-classification
tags: [text-classification, textclf]
---
# {name}

`{pretrained}`, fine-tuned with textclf to tell {labels} apart.

```python
from transformers import pipeline

classifier = pipeline("text-classification", model="{name}", truncation=True)
classifier(["..."])  # [{{"label": ..., "score": ...}}]; top_k=None gives the score of every label
```

A text is cut at {max_length} tokens, as in training; without `truncation=True` a longer one may fail.

{differences}
## Data

{data}

## Results

{results}

## Made with

{command}

{versions}
"""


def export_checkpoint(checkpoint_path: str | Path, folder: str | Path) -> None:
    """Writes weights, configuration, tokenizer, and a model card filled from the run.

    `transformers.pipeline("text-classification", model=folder, truncation=True)` then gives the checkpoint's labels and
    scores; before the folder appears, it is loaded so, and compared on a few texts. It appears whole or not at all.

    Args:
        checkpoint_path: A `.ckpt` of a run; what else the card tells is read from that run's folder.
        folder: The folder to make; it is not there, or empty.

    Raises:
        UserError: The folder holds something, no space is left, or the checkpoint cannot be used, is of a method that
            `transformers` does not have, or gives other scores there.
    """
    checkpoint_path, folder = Path(checkpoint_path), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{str(folder)!r} is there already and not empty: name another folder")
    model = TextClassifier.load_from_checkpoint(checkpoint_path)
    if not isinstance(model, FineTunedClassifier):
        raise UserError(
            f"{str(checkpoint_path)!r} holds a {type(model).__name__}, which transformers alone cannot run: "
            "give the checkpoint of a FineTunedClassifier"
        )
    with atomic_folder(folder) as temporary:
        _write_model(model, temporary)
        card = model_card(folder.resolve().name, model, checkpoint_path)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        config = checkpoint_path.resolve().parent.parent / "config.yaml"
        if config.is_file():
            shutil.copy(config, temporary)
        _compare(model, temporary)
    for sentence in differences(model):
        say(sentence)


def _write_model(model: FineTunedClassifier, folder: Path) -> None:
    assert model.network is not None
    network = merged(model.network)
    calibrator = model.textclf.calibrator(decides=False)
    if isinstance(calibrator, Temperature):
        _divide_logits(network, model.num_classes, calibrator.temperature)
    network.save_pretrained(folder)
    tokenizer = tokenizer_from_files(model.fitted["tokenizer"])  # unused: truncation leaves traces in one
    check_match(tokenizer, network, str(folder))  # a checkpoint may be older than the check
    tokenizer.model_max_length = model.max_length
    tokenizer.save_pretrained(folder)


def _divide_logits(network: Any, num_classes: int, temperature: float) -> None:
    """Lets the last layer of the head divide by the temperature; `_compare` sees whether it was the last."""
    linear = [m for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == num_classes]
    with torch.no_grad():
        for parameter in linear[-1].parameters() if linear else ():
            parameter.div_(temperature)


def _compare(model: FineTunedClassifier, folder: Path) -> None:
    """Refuses a folder whose scores are not the model's."""
    # Without a token, transformers fails. (`verbose` would warn of a probe that is longer than the encoder reads.)
    probes = [text for text in PROBES if model.tokenizer(text, verbose=False)["input_ids"]]
    ours = [
        answer["scores"] for answer in score_rows(model, ({"text": text} for text in probes), max_batch_tokens=4096)
    ]
    for text, one, other in zip(probes, ours, scores_of_folder(folder, probes), strict=True):
        difference = max(abs(one[name] - other.get(name, 2.0)) for name in one)
        if not difference <= TOLERANCE:
            raise UserError(
                f"transformers alone scores {text[:20]!r} otherwise than the checkpoint (by {difference:.2g}): "
                f"{type(model).__name__} does more than an exported folder can: predict with the checkpoint itself"
            )


def scores_of_folder(folder: str | Path, texts: Sequence[str]) -> list[dict[str, float]]:
    """Scores texts with `transformers` alone, on the CPU: for each text, the probability of each label by name."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder), device="cpu", truncation=True, top_k=None)
    answers: Any = classify(list(texts))
    return [{entry["label"]: entry["score"] for entry in answer} for answer in answers]


# The model card


def model_card(name: str, model: FineTunedClassifier, path: Path) -> str:
    """Writes the model card as Markdown; what the run folder does not hold is named as missing.

    Args:
        name: Of the exported model.
        model: The checkpoint's.
        path: The checkpoint, in its run folder.
    """
    checkpoint, run = read_checkpoint(path), path.resolve().parent.parent
    return CARD.format(
        name=name,
        pretrained=model.pretrained or "an encoder with random weights",
        labels=" and ".join(filter(None, (", ".join(model.label_names[:-1]), model.label_names[-1]))),
        max_length=model.max_length,
        differences="".join(f"{sentence}\n\n" for sentence in differences(model)),
        data=_data(checkpoint["textclf"].get("data")),
        results=_results(model, path, run / "report"),
        command=_command(run / "config.yaml"),
        versions=_versions(checkpoint["textclf"]["version"], checkpoint["pytorch-lightning_version"]),
    )


def differences(model: FineTunedClassifier) -> list[str]:
    """What the checkpoint does and a folder for `transformers` cannot, one sentence each."""
    sentences = []
    if model.textclf.text_steps:
        steps = ", ".join(f"`{type(step).__name__}`" for step in model.textclf.text_steps)
        sentences.append(f"Texts were tidied first ({steps} of `textclf.data.cleaning`); this folder does not do that.")
    rule = model.textclf.calibrator(decides=True)
    if isinstance(rule, Thresholds):
        pairs = zip(model.label_names, rule.thresholds.tolist(), strict=True)
        limits = ", ".join(f"{name} {limit:.4g}" for name, limit in pairs)
        sentences.append(
            "The checkpoint answers the label whose probability, divided by its threshold, is the highest "
            f"({limits}), and its results are of those answers; the pipeline answers the most probable label. "
            "The scores are the same."
        )
    elif rule is not None:
        sentences.append(
            f"The checkpoint's answers are chosen by a {type(rule).__name__}, and its results are of those answers; "
            "the pipeline answers the most probable label. The scores are the same."
        )
    return sentences


def _data(data: dict[str, Any] | None) -> str:
    if data is None:
        return "Not known: it was not trained on one of textclf's data modules."
    module, _, name = data["class_path"].rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    about = inspect.getdoc(kind) if kind is not None else None
    arguments = dump(data["init_args"])
    return "\n\n".join(filter(None, (f"`{data['class_path']}`", about, f"```yaml\n{arguments}```")))


def _results(model: FineTunedClassifier, path: Path, report: Path) -> str:
    if path.name != "best.ckpt" and path.with_name("best.ckpt").is_file():
        return "Not measured: the run's report is of its best checkpoint."
    try:
        metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
        first = np.arange(min(CHECKED, metrics["examples"]))
        table = read_predictions(report / "predictions.parquet", first)
    except (OSError, ValueError):
        return "Not measured: the run has no report."
    if not _is_of(model, table):
        return "Not measured: the run's report is of another checkpoint."
    names = ("accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece")
    rows = [f"| {name} | {metrics[f'test/{name}']:.4f} |" for name in names if metrics.get(f"test/{name}") is not None]
    base = f"{metrics['examples']} test rows; always the most frequent label: {metrics['test/majority_accuracy']:.4f}."
    return "\n".join([base, "", "| metric | value |", "|---|---|", *rows])


def _is_of(model: FineTunedClassifier, table: PredictionTable) -> bool:
    """Whether rows of a report, perhaps of another precision, are scored as the model scores them."""
    try:
        scores = [answer["score"] for answer in model.classify(table.texts, table.text_pairs)]
    except UserError:
        return False
    return bool(np.allclose(scores, confidences(table), rtol=0, atol=0.05))


def _command(config: Path) -> str:
    if not config.is_file():
        return "Not known: the run's `config.yaml` was not found next to its checkpoint."
    return "`python -m textclf fit --config config.yaml`, with the `config.yaml` of this folder."


def _versions(ours: str, lightning: str) -> str:
    """The versions of the libraries: of training where the checkpoint has them, else of the export."""
    now = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return (
        f"Trained by textclf {ours} with lightning {lightning}; "
        f"exported with Python {platform.python_version()}, {now}."
    )
