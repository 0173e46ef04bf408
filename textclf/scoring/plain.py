"""The oracle: one forward pass per prompt and label, as plain as can be. Whatever is faster must agree with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from textclf.scoring.guards import check_prompts, context_length, evaluating
from textclf.scoring.tokens import Bos, label_token_ids, prompt_token_ids
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase


def plain_score(model: PreTrainedModel, prompt: Sequence[int], label: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Scores one label after one prompt.

    The logits at position i are the model's opinion of token i + 1. So the label's first token is read at the prompt's
    last position, and the label's last token need not be run.

        tokens   p0 p1 p2 l0 (l1)
        read           ^  ^
        of             l0 l1

    Args:
        model: A causal language model in evaluation mode.
        prompt: Tokens of the prompt, at least one.
        label: Tokens of the label, at least one.

    Returns:
        Log-likelihood of the label in nats, and the sum of its tokens' raw logits; both float64 scalars.
    """
    ids = torch.tensor([[*prompt, *label[:-1]]], device=input_device(model))
    logits = model(input_ids=ids, use_cache=False).logits[0].float()
    read = torch.arange(len(prompt) - 1, ids.shape[1], device=logits.device)
    tokens = torch.tensor(label, device=logits.device)
    log_probs = logits.log_softmax(-1)
    return log_probs[read, tokens].double().sum(), logits[read, tokens].double().sum()


@torch.inference_mode()
def as_published(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    labels: Sequence[str],
    bos: Bos = "tokenizer",
) -> Tensor:
    """Misread sums of raw logits, only to reproduce figures that were published with them.

    With L prompt tokens and n label tokens t1 .. tn it adds logits[L + n - i, ti]: read one position late, and in
    reverse order. The right reading is the sum over logits[L + i - 2, ti].

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Prompts.
        labels: Labels, appended as written.
        bos: Policy of BOS, as in `prompt_token_ids`.

    Returns:
        Sums, float64 of shape (prompts, labels).

    Raises:
        UserError: A prompt has no token, or does not fit into the model's context with a whole label behind it.
    """
    sums = torch.empty(len(prompts), len(labels), dtype=torch.float64)
    label_rows, rows = label_token_ids(tokenizer, labels), prompt_token_ids(tokenizer, prompts, bos)
    check_prompts(rows, prompts, max(map(len, label_rows), default=0), context_length(model))
    with evaluating(model):
        for row, prompt in enumerate(rows):
            for column, label in enumerate(label_rows):
                ids = torch.tensor([[*prompt, *label]], device=input_device(model))
                logits = model(input_ids=ids, use_cache=False).logits[0].double()
                sums[row, column] = sum(logits[len(ids[0]) - i, label[i - 1]] for i in range(1, len(label) + 1))
    return sums


def input_device(model: PreTrainedModel) -> torch.device:
    """Where a model wants its tokens, also when its layers are spread over devices."""
    return next(model.get_input_embeddings().parameters()).device
