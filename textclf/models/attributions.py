"""Which tokens a fine-tuned encoder's answer is due to, by integrated gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from textclf.backbones.classification_head import FIELDS, class_logits
from textclf.backbones.compatibility import padding_id
from textclf.errors import UserError
from textclf.models.base import TextClassifier
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.models.modes import evaluation_mode
from textclf.scoring.look_alikes import look_alikes

STEPS = 64
"""Points between baseline and text at which gradients are taken."""
TOGETHER = 16
"""Points in a batch."""


class Attribution(NamedTuple):
    """The weights of the tokens of a row for one class.

    Attributes:
        tokens: Pieces of the text (and the second text) in order, with the white space before them.
        weights: Share of each in the difference between the logit of the class and that without the text.
    """

    tokens: list[str]
    weights: list[float]


def explainable(model: TextClassifier) -> FineTunedClassifier:
    """The model, if its answers can be explained.

    Raises:
        UserError: It is no fine-tuned encoder, or a compiled one, or captum is not installed.
    """
    if not isinstance(model, FineTunedClassifier):
        raise UserError(
            f"integrated gradients need a fine-tuned encoder, not {type(model).__name__}: leave TokenAttributions out"
        )
    if model.compiled:
        raise UserError("integrated gradients cannot look into a compiled network: pass --model.compile false")
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise UserError("TokenAttributions needs captum: pip install 'textclf[explain]'") from error
    return model


def integrated_gradients(
    model: FineTunedClassifier, text: str, pair: str | None, label: int, steps: int = STEPS
) -> Attribution:
    """Integrated gradients of the logit of a class, by captum.

    The baseline has padding in the place of each token; special tokens stay, so that their weight is 0 and they are
    left out. The weights sum to the difference of the logits of the text and of the baseline.

    Source: Sundararajan et al., 2017, https://arxiv.org/abs/1703.01365.

    Args:
        model: On any device.
        text: The text.
        pair: The second text, where the task has pairs.
        label: Class index.
        steps: Points between baseline and text at which gradients are taken.

    Raises:
        UserError: The network is an encoder with a decoder, which reads the text twice, or its tokenizer is a slow one.
    """
    from captum.attr import LayerIntegratedGradients

    network = model.network
    assert network is not None, "configure_model comes first"
    if network.config.is_encoder_decoder or not model.tokenizer.is_fast:
        raise UserError(f"integrated gradients do not support {model.pretrained!r}: leave TokenAttributions out")
    batch, pieces = _tokenized(model, text, pair)
    special = torch.tensor([[piece is None for piece in pieces]], device=model.device)
    baseline = batch["input_ids"].masked_fill(~special, padding_id(network) or 0)
    names = [name for name in FIELDS if name in batch]

    def logits(*fields: Tensor) -> Tensor:
        return class_logits(network, dict(zip(names, fields, strict=True))).float()

    method = LayerIntegratedGradients(logits, network.get_input_embeddings())
    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        of_features = method.attribute(
            inputs=batch["input_ids"],
            baselines=baseline,
            target=label,
            additional_forward_args=tuple(batch[name] for name in names if name != "input_ids"),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=TOGETHER,
        )
    weights = of_features.sum(dim=-1)[0].double().tolist()
    return _of_pieces(pieces, weights)


def _tokenized(model: FineTunedClassifier, text: str, pair: str | None) -> tuple[dict[str, Tensor], list[str | None]]:
    """A batch of one row, and the piece of the text that each of its tokens stands for; None for a special token."""
    rows = {"text": [text]} if pair is None else {"text": [text], "text_pair": [pair]}
    batch = {name: field.to(model.device) for name, field in model.collate(model.encode(rows)).items()}
    special = look_alikes(model.tokenizer)
    texts = (special.as_text(text), special.as_text(pair or ""))
    found = model.tokenizer(
        texts[0],
        None if pair is None else texts[1],
        split_special_tokens=True,
        truncation=True,
        max_length=model.max_length,
        return_offsets_mapping=True,
    )
    pieces: list[str | None] = []
    ends = [0, 0]
    for number, (_, end) in zip(found.sequence_ids(), found["offset_mapping"], strict=True):
        if number is None:
            pieces.append(None)
        else:
            # From the end of the token before it, so that white space is not lost; empty for the further tokens of a
            # character that has several.
            pieces.append(texts[number][ends[number] : end])
            ends[number] = max(ends[number], end)
    return batch, pieces


def _of_pieces(pieces: Sequence[str | None], weights: Sequence[float]) -> Attribution:
    """Leaves special tokens out, and adds the weights of tokens without characters of their own to the one before."""
    tokens: list[str] = []
    of_tokens: list[float] = []
    for piece, weight in zip(pieces, weights, strict=True):
        if piece is None:
            continue
        if piece == "" and tokens:
            of_tokens[-1] += weight
        else:
            tokens.append(piece)
            of_tokens.append(weight)
    return Attribution(tokens, of_tokens)
