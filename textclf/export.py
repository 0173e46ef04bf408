"""A fine-tuned checkpoint as a folder that `transformers` loads without textclf, with a model card."""

from __future__ import annotations

import inspect
import json
import math
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

import textclf.data  # noqa: F401  # the docstrings of its classes describe the data
from textclf.backbones.compatibility import check_match
from textclf.backbones.tokenizer_files import tokenizer_from_files
from textclf.console import say
from textclf.errors import UserError
from textclf.evaluation.calibration import Temperature, Thresholds
from textclf.evaluation.prediction_table import PredictionTable, read_predictions
from textclf.evaluation.readable_rows import confidences
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
"""Number of rows of a report that are scored again, to check that it belongs to the checkpoint."""

CARD = """\
---
library_name: transformers
pipeline_tag: text-classification
tags: [text-classification, textclf]
---
# {name}

`{pretrained}`, fine-tuned with textclf for the classes: {labels}.

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
    """Writes weights, configuration, tokenizer, and a model card with the results of the run.

    `transformers.pipeline("text-classification", model=folder, truncation=True)` then gives the labels and scores of
    the checkpoint. Before the folder is created, it is loaded in this way and compared with the checkpoint on a few
    texts. It is created completely or not at all.

    Args:
        checkpoint_path: A `.ckpt` in a run folder, from which the results of the model card are read.
        folder: The folder to create; it does not exist, or is empty.

    Raises:
        UserError: The folder is not empty, no space is left, or the checkpoint cannot be used, is of a method that
            `transformers` does not have, or gives other scores there.
    """
    checkpoint_path = Path(checkpoint_path)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{str(folder)!r} exists and is not an empty folder: name another folder")
    model = TextClassifier.load_from_checkpoint(checkpoint_path)
    if not isinstance(model, FineTunedClassifier):
        raise UserError(
            f"{str(checkpoint_path)!r} has a {type(model).__name__}, which transformers alone cannot run: "
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
    tokenizer = tokenizer_from_files(model.fitted["tokenizer"])  # a new one: truncation changes one that is in use
    check_match(tokenizer, network, str(folder))  # a checkpoint may be older than the check
    tokenizer.model_max_length = model.max_length
    # What looks like a special token in a text is text there, too.
    tokenizer.split_special_tokens = True
    tokenizer.init_kwargs["split_special_tokens"] = True
    tokenizer.save_pretrained(folder)


def _divide_logits(network: Any, num_classes: int, temperature: float) -> None:
    """Divides the weights of the last layer of the head by the temperature.

    The last linear layer with one output per class is taken for it; if this is wrong, `_compare` finds other scores.
    """
    heads = [layer for layer in network.modules() if isinstance(layer, nn.Linear) and layer.out_features == num_classes]
    if not heads:
        return
    with torch.no_grad():
        for parameter in heads[-1].parameters():
            parameter.div_(temperature)


def _compare(model: FineTunedClassifier, folder: Path) -> None:
    """Checks that `transformers` alone computes the scores of the model from a folder.

    Raises:
        UserError: A score differs.
    """
    # transformers fails for a text without tokens. (`verbose` would warn of a probe longer than the encoder reads.)
    probes = [text for text in PROBES if model.tokenizer(text, verbose=False)["input_ids"]]
    answers = score_rows(model, ({"text": text} for text in probes), max_batch_tokens=4096)
    for text, answer, exported in zip(probes, answers, scores_of_folder(folder, probes), strict=True):
        own: dict[str, float] = answer["scores"]
        difference = max(abs(score - exported.get(name, math.inf)) for name, score in own.items())
        if not difference <= TOLERANCE:  # NaN is refused, too
            raise UserError(
                f"transformers alone gives other scores for {text[:20]!r} than the checkpoint (by {difference:.2g}): "
                f"{type(model).__name__} computes something that an exported folder cannot: predict with the checkpoint"
            )


def scores_of_folder(folder: str | Path, texts: Sequence[str]) -> list[dict[str, float]]:
    """Scores texts with `transformers` alone, on the CPU: for each text, the probability of each label by name."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(folder), device="cpu", truncation=True, top_k=None)
    answers: Any = classify(list(texts))
    return [{entry["label"]: entry["score"] for entry in answer} for answer in answers]


# The model card


def model_card(name: str, model: FineTunedClassifier, path: Path) -> str:
    """Writes the model card as Markdown; it names what is missing in the run folder.

    Args:
        name: Name of the exported model.
        model: The method of the checkpoint.
        path: The checkpoint, in its run folder.
    """
    checkpoint = read_checkpoint(path)
    run = path.resolve().parent.parent
    return CARD.format(
        name=name,
        pretrained=model.pretrained or "an encoder with random weights",
        labels=", ".join(model.label_names),
        max_length=model.max_length,
        differences="".join(f"{sentence}\n\n" for sentence in differences(model)),
        data=_data(checkpoint["textclf"].get("data")),
        results=_results(model, path, run / "report"),
        command=_command(run / "config.yaml"),
        versions=_versions(checkpoint["textclf"]["version"], checkpoint["pytorch-lightning_version"]),
    )


def differences(model: FineTunedClassifier) -> list[str]:
    """The functions of the checkpoint that a folder for `transformers` does not have, one sentence each."""
    sentences = []
    if model.textclf.text_steps:
        steps = ", ".join(f"`{type(step).__name__}`" for step in model.textclf.text_steps)
        sentences.append(f"Texts were cleaned first ({steps} of `textclf.data.cleaning`); this folder does not do it.")
    rule = model.textclf.calibrator(decides=True)
    if isinstance(rule, Thresholds):
        pairs = zip(model.label_names, rule.thresholds.tolist(), strict=True)
        limits = ", ".join(f"{name} {limit:.4g}" for name, limit in pairs)
        sentences.append(
            "The checkpoint predicts the label with the highest ratio of probability to threshold "
            f"({limits}), and the results are those of these predictions; the pipeline predicts the most probable "
            "label. The scores are the same."
        )
    elif rule is not None:
        sentences.append(
            f"The predictions of the checkpoint are chosen by a {type(rule).__name__}, and the results are those of "
            "these predictions; the pipeline predicts the most probable label. The scores are the same."
        )
    return sentences


def _data(data: dict[str, Any] | None) -> str:
    if data is None:
        return "Unknown: it was not trained with a data module of textclf."
    module, _, name = data["class_path"].rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    about = inspect.getdoc(kind) if kind is not None else None
    arguments = dump(data["init_args"])
    paragraphs = [f"`{data['class_path']}`", f"```yaml\n{arguments}```"]
    if about is not None:
        paragraphs.insert(1, about)
    return "\n\n".join(paragraphs)


def _results(model: FineTunedClassifier, path: Path, report: Path) -> str:
    if path.name != "best.ckpt" and path.with_name("best.ckpt").is_file():
        return "Not measured: the report of the run is that of its best checkpoint."
    try:
        metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
        first = np.arange(min(CHECKED, metrics["examples"]))
        table = read_predictions(report / "predictions.parquet", first)
    except (OSError, ValueError):
        return "Not measured: the run has no report."
    if not _is_of(model, table):
        return "Not measured: the report of the run is that of another checkpoint."
    lines = [
        f"{metrics['examples']} test rows; accuracy of the majority class: {metrics['test/majority_accuracy']:.4f}.",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name in ("accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "brier", "ece"):
        value = metrics.get(f"test/{name}")
        low, high = (metrics.get(f"test/{name}_{bound}") for bound in ("low", "high"))
        interval = "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
        if value is not None:
            lines.append(f"| {name} | {value:.4f} | {interval} |")
    return "\n".join(lines)


def _is_of(model: FineTunedClassifier, table: PredictionTable) -> bool:
    """Whether the model gives the scores of a report, which may have been computed in another precision."""
    try:
        scores = [answer["score"] for answer in model.classify(table.texts, table.text_pairs)]
    except UserError:
        return False
    return bool(np.allclose(scores, confidences(table), rtol=0, atol=0.05))


def _command(config: Path) -> str:
    if not config.is_file():
        return "Unknown: there is no `config.yaml` in the folder of the run."
    return "`python -m textclf fit --config config.yaml`, with the `config.yaml` of this folder."


def _versions(ours: str, lightning: str) -> str:
    """Versions of the libraries: those of training, as far as the checkpoint has them, else those of the export."""
    now = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return (
        f"Trained by textclf {ours} with lightning {lightning}; "
        f"exported with Python {platform.python_version()}, {now}."
    )
