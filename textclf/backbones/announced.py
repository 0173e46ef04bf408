"""What a model's configuration announces is checked before memory is taken for it: `config.json` may say anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from textclf.errors import UserError
from textclf.types import PreTrainedConfig, PreTrainedModel

MOST_LAYERS = 10_000
"""Layers, heads and the like, at most; the deepest models have about a hundred."""
COUNTS = ("layers", "layer", "n_head", "heads", "experts", "labels")
"""Ends of the names of numbers for each of which a network has modules."""


def check_depth(config: PreTrainedConfig, reference: str) -> None:
    """Refuses a configuration with more layers than any network has, before the network is built.

    Args:
        config: Of the network.
        reference: Of the model, for the error.

    Raises:
        UserError: It has too many.
    """
    for name, value in _entries(config.to_dict()):
        if name.endswith(COUNTS) and isinstance(value, int) and value > MOST_LAYERS:
            raise UserError(f"{reference!r} announces {name} {value:,}, more than any model has: name another model")


def _entries(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entries of a configuration, and those of the configurations in it."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _entries(value)
        else:
            yield str(name), value


def check_memory(network: PreTrainedModel, reference: str) -> None:
    """Refuses a network whose parameters do not fit into the memory of this machine, even in 16 bits.

    Args:
        network: On the meta device, where it takes none.
        reference: Of the model, for the error.

    Raises:
        UserError: They do not fit.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    needed = 2 * parameters
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > machine:
        raise UserError(
            f"{reference!r} announces {parameters:,} parameters ({needed / 2**30:,.0f} GiB in 16 bits), and this "
            f"machine has {machine / 2**30:,.0f} GiB of memory: name a smaller model"
        )
