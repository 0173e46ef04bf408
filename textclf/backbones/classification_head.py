"""Logits of networks with a classification head: those of a row do not depend on the other rows of its batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from textclf.backbones.compatibility import padding_id, takes
from textclf.types import PreTrainedModel

FIELDS = ("input_ids", "attention_mask", "token_type_ids")
READ_PADDING = {"canine", "convbert", "fnet", "funnel", "mobilebert", "nystromformer", "xlnet", "yoso"}
"""Architectures whose scores depend on padding in spite of the attention mask: they mix, pool or convolve it in, or
read the last position."""

SHORTEST = {"funnel": 8}
"""Fewest tokens that an architecture can read: shorter rows are padded to as many, in a batch or alone."""


def class_logits(network: PreTrainedModel, batch: Mapping[str, Any]) -> Tensor:
    """Logits that are the same as if each row ran alone.

    Heads on the last token find it by comparing `input_ids` with the `pad_token_id` of the network's configuration.
    Therefore padding is replaced by that token, even if the tokenizer uses another. If rows cannot be padded, those of
    equal length run together.

    Args:
        network: Any that `AutoModelForSequenceClassification` loads.
        batch: `input_ids` and `attention_mask`, padded on the right, and maybe `token_type_ids`, int64 `(batch, seq)`.

    Returns:
        Logits, `(batch, labels)`.
    """
    fields: dict[str, Tensor] = {name: batch[name] for name in FIELDS if name in batch}
    groups = _groups(network, fields)
    if groups is None:
        return _run(network, fields)
    parts = []
    for rows in groups:
        longest = int(fields["attention_mask"][rows].sum(1).max())
        width = max(longest, SHORTEST.get(network.config.model_type, 1))
        missing = max(0, width - fields["attention_mask"].shape[1])
        group = {}
        for name, field in fields.items():
            group[name] = nn.functional.pad(field[rows][:, :width], (0, missing))
        parts.append(_run(network, group))
    original_order = torch.cat(groups).argsort()
    return torch.cat(parts)[original_order]


def _groups(network: PreTrainedModel, fields: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Indices of the rows that may run together; None if all of them may."""
    config = network.config
    mask = fields["attention_mask"]
    lengths = mask.sum(1)
    if config.model_type in READ_PADDING:
        key = lengths.clamp(min=SHORTEST.get(config.model_type, 1))
    elif getattr(config, "is_encoder_decoder", False):
        # The head reads the last end token, and requires the same number in each row. A text may contain one.
        if padding_id(network) == config.eos_token_id:
            key = lengths
        else:
            key = ((fields["input_ids"] == config.eos_token_id) & mask.bool()).sum(1)
    else:
        return None
    return [(key == value).nonzero()[:, 0] for value in sorted(set(key.tolist()))]


def _run(network: PreTrainedModel, fields: Mapping[str, Tensor]) -> Tensor:
    ids = fields["input_ids"]
    mask = fields["attention_mask"]
    with _configured_padding(network, ids, mask) as padding:
        inputs = {**fields, "input_ids": ids.masked_fill(mask == 0, padding)}
        accepted = {name: field for name, field in inputs.items() if takes(network, name)}
        logits: Tensor = network(**accepted).logits
    return logits


@contextmanager
def _configured_padding(network: PreTrainedModel, ids: Tensor, mask: Tensor) -> Iterator[int]:
    """Yields the padding token; a configuration without one is given one for the time of the call."""
    padding = padding_id(network)
    if padding is not None:
        yield padding
        return
    # The head finds each row's last token with any padding id that is not the last token of a row.
    last_places = mask.sum(1, keepdim=True) - 1
    last_ids = set(ids.gather(1, last_places)[:, 0].tolist())
    padding = next(i for i in count() if i not in last_ids)
    config: Any = network.config.get_text_config()
    original = config.pad_token_id
    config.pad_token_id = padding
    try:
        yield padding
    finally:
        config.pad_token_id = original
