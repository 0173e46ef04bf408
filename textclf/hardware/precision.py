"""The choice of precision for a machine."""

import os
from typing import Literal

import torch

Precision = Literal["bf16-mixed", "16-mixed", "32-true"]


def choose_precision(accelerator: str) -> tuple[Precision, str]:
    """Chooses the precision for training and evaluation under autocast.

    Args:
        accelerator: Lightning's name of it: `auto`, `cpu`, `gpu`, `cuda`, `mps` ...

    Returns:
        The precision, and the reason for it.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        if torch.cuda.get_device_capability() >= (8, 0):
            return "bf16-mixed", f"{name} computes in bf16 natively"
        return "16-mixed", f"{name} has no native bf16"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true", "mixed precision gains little on Apple's GPUs"
    if accelerator in ("auto", "cpu"):
        if os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA"):
            return "32-true", "oneDNN is held to older instructions, where bf16 is slow"
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
        if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"):
            return "bf16-mixed", "this processor computes in bf16 natively"
        return "32-true", "this processor has no native bf16"
    return "32-true", f"nothing is known of bf16 on accelerator {accelerator!r}"
