"""A fine-tuned checkpoint as a folder that `transformers` reads alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from textclf.backbones.compatibility import check_match
from textclf.backbones.tokenizer_files import tokenizer_from_files
from textclf.console import say
from textclf.errors import UserError
from textclf.evaluation.calibration import Temperature
from textclf.files import atomic_folder
from textclf.model_card import differences, model_card
from textclf.models.base import TextClassifier
from textclf.models.encoders import merged
from textclf.models.fine_tuned import FineTunedClassifier

PROBES = ("정말 재밌고 좋았어요.", "진짜 재미없네요 ㅋㅋ", "a joy to watch", "", "영화 film, " * 2000)
TOLERANCE = 1e-5


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
    from textclf.models.streaming import score_rows

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
