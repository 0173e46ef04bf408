"""Dropout whose random numbers are cheap on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS = 2**16


def drop(values: Tensor, probability: float) -> Tensor:
    """Sets values to 0 with a probability, and scales the others so that the mean is kept.

    It is `torch.nn.functional.dropout`, and nothing else on a GPU. On a CPU torch draws a number for each value, on one
    core; here one number of 64 bits serves four values, so a probability is rounded to a multiple of 1/65,536.

    Args:
        values: Of any shape.
        probability: From 0 to 1.
    """
    dropped = round(probability * STEPS)
    if values.device.type != "cpu" or not 0 < dropped < STEPS:
        return nn.functional.dropout(values, probability)
    numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = torch.empty_like(values, requires_grad=False)
    torch.ge(numbers.view(torch.int16)[: values.numel()].view(values.shape), dropped - STEPS // 2, out=kept)
    return values * kept.mul_(STEPS / (STEPS - dropped))


class FastDropout(nn.Dropout):
    """`torch.nn.Dropout` by `drop`."""

    def forward(self, input: Tensor) -> Tensor:
        """Drops in training."""
        return drop(input, self.p) if self.training else input


def use_fast_dropout(network: nn.Module) -> None:
    """Makes each `torch.nn.Dropout` of a network a `FastDropout`."""
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
