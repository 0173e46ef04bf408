"""Calls of networks with a classification head: a row's logits do not depend on the other rows of its batch."""

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
"""Architectures whose scores depend on padding whatever the attention mask says: they mix, pool or convolve it in, or
read the last position."""

SHORTEST = {"funnel": 8}
"""Tokens below which an architecture cannot run: shorter rows are padded to as many, in a batch or alone."""


def class_logits(network: PreTrainedModel, batch: Mapping[str, Any]) -> Tensor:
    """Logits as of one row at a time.

    Heads on the last token find it by comparing `input_ids` with the `pad_token_id` of the network's configuration. So
    the padding is made of that token here, whatever the tokenizer calls its own. Where rows cannot be padded, those of
    one length run together.

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
        width = max(int(fields["attention_mask"][rows].sum(1).max()), SHORTEST.get(network.config.model_type, 1))
        missing = max(0, width - fields["attention_mask"].shape[1])
        parts.append(
            _run(
                network,
                {name: nn.functional.pad(field[rows][:, :width], (0, missing)) for name, field in fields.items()},
            )
        )
    return torch.cat(parts)[torch.cat(groups).argsort()]


def _groups(network: PreTrainedModel, fields: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Indices of the rows that may run together; None where all of them may."""
    config, mask = network.config, fields["attention_mask"]
    lengths = mask.sum(1)
    if config.model_type in READ_PADDING:
        key = lengths.clamp(min=SHORTEST.get(config.model_type, 1))
    elif getattr(config, "is_encoder_decoder", False):
        # Such a head reads the last of the end tokens, and wants as many in each row. A text may have one inside.
        key = ((fields["input_ids"] == config.eos_token_id) & mask.bool()).sum(1)
        if padding_id(network) == config.eos_token_id:
            key = lengths
    else:
        return None
    return [(key == value).nonzero()[:, 0] for value in sorted(set(key.tolist()))]


def _run(network: PreTrainedModel, fields: Mapping[str, Tensor]) -> Tensor:
    ids, mask = fields["input_ids"], fields["attention_mask"]
    with _named_padding(network, ids, mask) as padding:
        given = {**fields, "input_ids": ids.masked_fill(mask == 0, padding)}
        logits: Tensor = network(**{name: field for name, field in given.items() if takes(network, name)}).logits
    return logits


@contextmanager
def _named_padding(network: PreTrainedModel, ids: Tensor, mask: Tensor) -> Iterator[int]:
    """The token to pad with, named in the configuration for the time of a call where it names none."""
    padding = padding_id(network)
    if padding is not None:
        yield padding
        return
    # Any id does that no row ends with: the head then finds each row's last token.
    last = set(ids.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0].tolist())
    config: Any = network.config.get_text_config()
    named = config.pad_token_id
    config.pad_token_id = padding = next(i for i in count() if i not in last)
    try:
        yield padding
    finally:
        config.pad_token_id = named
