"""The card of an exported model: what it is, what it was trained on, how well it does, and how it was made."""

from __future__ import annotations

import inspect
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import textclf.data  # noqa: F401  # its classes say what their rows are
from textclf.errors import UserError
from textclf.evaluation.calibration import Thresholds
from textclf.evaluation.examples import confidences
from textclf.evaluation.prediction_table import PredictionTable, read_predictions
from textclf.models.checkpoint import read_checkpoint
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.run.yaml_values import dump

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


def model_card(name: str, model: FineTunedClassifier, path: Path) -> str:
    """Writes the card as Markdown; what the run folder does not hold is said to be missing.

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
    """What the checkpoint does with texts and answers, and a folder for `transformers` cannot: a sentence each."""
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
        return "The run's `config.yaml` did not stand beside its checkpoint."
    return "`python -m textclf fit --config config.yaml`, with the `config.yaml` of this folder."


def _versions(ours: str, lightning: str) -> str:
    """Those of training where the checkpoint tells them, else those of the export."""
    now = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return (
        f"Trained by textclf {ours} with lightning {lightning}; "
        f"exported with Python {platform.python_version()}, {now}."
    )
