"""What a model can take: first by what its config says, then by trying it.

Facts first, because a short trial cannot show them: a window longer than the trial, a rotary scaling that switches with
the length, a cache whose states are written in place. Then a trial of a dozen tokens per model, against the oracle:
it finds what is wrong for any other reason (masks that are ignored, ALiBi counted from the wrong end, learned positions
taken from the column). In half precision rounding alone makes tenths of a nat, so that the trial sees gross errors
only. There only kinds of models that were shown right in fp32 (`SHOWN`, by the tests) are packed, or cached with
padding behind the prefix; another kind runs its cache as it does when it writes, prompts of equal length together.

- *packed* needs a model that adds a 4-D mask to its attention scores (`sdpa` or `eager`), takes `position_ids`, and
  has no window shorter than the longest row. So not Bloom and MPT (ALiBi), nor Mistral and Gemma 2 and 3 beyond their
  window.
- *cached* needs a cache of keys and values that may be shared. Where a window is shorter than the longest row, or the
  trial shows that padding between prefix and prompt is not ignored (MPT), only prompts of equal length run together.
- *plain* is what is left: state-space models (Mamba), linear attention, and rotary scalings that depend on the longest
  text of a batch (`longrope`, `dynamic`) where a text is beyond their switch.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from textclf.errors import UserError
from textclf.hardware.kernels import ATTENTION, attention_of
from textclf.scoring.forward import Batch, Forward, input_device
from textclf.scoring.kv_cache import foreign_layers, new_cache, windows
from textclf.scoring.strategies import cached_scores, packed_scores, plain_score
from textclf.scoring.trie import LabelTrie, build_trie
from textclf.types import PreTrainedModel

Strategy = Literal["packed", "cached", "plain"]
Scores = Callable[[Forward, Batch, LabelTrie, Any], tuple[Tensor, Tensor]]

TRIAL = 12  # columns of the longest row of the trial
SHOWN = {
    "packed": set(
        "cohere exaone4 falcon gemma gemma2 gemma3_text gemma3n_text gpt2 gpt_neo gpt_neox granite llama mistral "
        "mixtral olmo olmo2 olmo3 opt phi phi3 qwen2 qwen3 qwen3_moe smollm3 stablelm starcoder2".split()
    ),
    "cached": {"bloom"},
}
"""Kinds of models whose packed rows and cached prefix, or the latter alone, agree with the plain route in the tests."""


class UnsupportedModelError(UserError):
    """A model that a strategy cannot score rightly; the message says why."""


@dataclass
class Support:
    """What a model can take.

    Attributes:
        refused: Why a strategy is not for this model, by name.
        windows: Sizes of windows that its layers may look through.
        switch: Length at which its rotary scaling changes, if there is one.
        gaps: Whether padding between a cached prefix and a prompt is ignored, as it must be.
    """

    refused: dict[Strategy, str] = field(default_factory=dict)
    windows: list[int] = field(default_factory=list)
    switch: int | None = None
    gaps: bool = True

    def against(self, strategy: Strategy, longest: int) -> str | None:
        """Why a strategy cannot take rows of up to `longest` tokens, or None."""
        if strategy in self.refused:
            return self.refused[strategy]
        if strategy == "plain":
            return None
        if self.switch is not None and longest > self.switch:
            return f"its rotary scaling changes at {self.switch} tokens, and the longest text has {longest}"
        if strategy == "packed" and self.windows and longest > self.windows[0]:
            return f"it looks through a window of {self.windows[0]} tokens, and the longest text has {longest}"
        return None

    def equal_lengths(self, longest: int) -> bool:
        """Whether prompts behind a cached prefix must be equally long to run together."""
        return not self.gaps or any(longest > window for window in self.windows)


_known: weakref.WeakKeyDictionary[Any, dict[Any, Support]] = weakref.WeakKeyDictionary()


@torch.inference_mode()
def support_of(model: PreTrainedModel) -> Support:
    """Finds out what a model can take; tried once per model object, attention and precision.

    Raises:
        UnsupportedModelError: It is no causal language model.
    """
    config = model.config
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(f"{type(model).__name__} is an encoder-decoder, not a causal language model")
    if model.get_output_embeddings() is None:  # type: ignore[no-untyped-call]
        raise UnsupportedModelError(f"{type(model).__name__} has no language-model head: pass a causal language model")
    key = (attention_of(model), model.dtype)
    known = _known.setdefault(model, {})
    if key not in known:
        known[key] = _find_out(model)
    return known[key]


def _find_out(model: PreTrainedModel) -> Support:
    """Facts, then the trial."""
    if _changed_by_later_token(model) > (1e-3 if _full_precision(model) else 0.1):
        raise UnsupportedModelError(
            f"{type(model).__name__} is not causal: a later token changes what it says of an earlier one"
        )
    support = Support()
    reason = _no_shared_cache(model)
    if reason is not None:
        support.refused = {"packed": reason, "cached": reason}
        return support
    support.windows = windows(model)
    support.switch = _rotary_switch(model)
    known = _full_precision(model) or _kind(model) in SHOWN["packed"] | SHOWN["cached"]
    if not known or _trial(model, cached_scores, gaps=True) is not None:
        support.gaps = False
        if wrong := _trial(model, cached_scores, gaps=False):
            support.refused["cached"] = wrong
    if reason := _no_packing(model, support) or _unseen(model) or _trial(model, packed_scores, gaps=True):
        support.refused["packed"] = reason
    return support


def _no_shared_cache(model: PreTrainedModel) -> str | None:
    """The fact that forbids to reuse a cache, if there is one."""
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return "it takes no past_key_values: there is no cache of keys and values that labels could share"
    if foreign := foreign_layers(model):
        return f"its cache has layers that cannot be shared between labels: {', '.join(foreign)}"
    return None


def _no_packing(model: PreTrainedModel, support: Support) -> str | None:
    """The fact that forbids packed rows, if there is one."""
    if "position_ids" not in Forward(model).optional:
        return "it takes no position_ids: its positions come from the 2-D mask (ALiBi)"
    if getattr(model.config, "alibi", False):
        return "its positions come from the 2-D mask (ALiBi)"
    if attention_of(model) not in ("sdpa", "eager", ATTENTION):
        return f"its attention {attention_of(model)!r} takes no 4-D mask: load it with 'sdpa'"
    if support.windows and support.windows[0] < TRIAL:
        return f"it looks through a window of {support.windows[0]} tokens"
    return None


def _kind(model: PreTrainedModel) -> str:
    """The name of the model's kind, as SHOWN has it."""
    return str(model.config.get_text_config(decoder=True).model_type)


def _unseen(model: PreTrainedModel) -> str | None:
    """Why a trial in this precision is not enough to pack rows of a model of this kind, if it is not."""
    if _full_precision(model) or _kind(model) in SHOWN["packed"]:
        return None
    return (
        f"models of kind {_kind(model)!r} were not compared with the plain route beforehand, and a trial in "
        f"{str(model.dtype).removeprefix('torch.')} shows too little: load it in fp32 to have it tried"
    )


def _rotary_switch(model: PreTrainedModel) -> int | None:
    """Length from which on rotary angles depend on the longest text of a batch."""
    config = model.config.get_text_config(decoder=True)
    rotary = getattr(config, "rope_parameters", None) or {}
    sets = [rotary, *(value for value in rotary.values() if isinstance(value, dict))]
    switches = [
        int(values.get("original_max_position_embeddings") or config.max_position_embeddings)
        for values in sets
        if values.get("rope_type") in ("longrope", "dynamic")
    ]
    return min(switches, default=None)


def _full_precision(model: PreTrainedModel) -> bool:
    """Whether rounding is too small to be seen in a trial."""
    return model.dtype in (torch.float32, torch.float64)


def _trial_tokens(model: PreTrainedModel, start: int, count: int) -> list[int]:
    """Some tokens of the vocabulary."""
    return [(37 * i + 11) % model.get_input_embeddings().num_embeddings for i in range(start, start + count)]  # type: ignore


def _changed_by_later_token(model: PreTrainedModel) -> float:
    """How much later tokens change the logits of earlier ones, as a share of the logits' own spread."""
    ids = torch.tensor([_trial_tokens(model, 0, 6)], device=input_device(model))
    logits = [model(input_ids=row, use_cache=False).logits[0, :3].float() for row in (ids, ids[:, :3])]
    return float((logits[0] - logits[1]).abs().mean() / logits[1].std())


def _trial(model: PreTrainedModel, scores: Scores, *, gaps: bool) -> str | None:
    """Scores two prompts behind a cached prefix; tells what is wrong with the answer, or None."""
    prefix = _trial_tokens(model, 0, 3)
    prompts = [prefix + _trial_tokens(model, 3, 2 if gaps else 5), prefix + _trial_tokens(model, 8, 5)]
    a, b, c, d, e = _trial_tokens(model, 13, 5)
    labels: Sequence[list[int]] = [[a], [a, b], [c, d, e], [c, b, d]]
    forward = Forward(model)
    ids = torch.tensor([prefix], device=forward.device)
    wanted = torch.stack([torch.stack([plain_score(model, row, label)[0] for label in labels]) for row in prompts])
    try:
        cache = new_cache(model)
        forward(ids, torch.ones_like(ids), torch.arange(len(prefix), device=ids.device)[None], cache, keep=1)
        trie = build_trie(labels)
        log_probs, _ = scores(forward, Batch.of(prompts, len(prefix), forward.device), trie, cache)
        differences = (trie.totals(log_probs) - wanted.cpu()).abs() / trie.members.sum(0)
    except Exception as error:  # whatever a model says to what it cannot take
        return f"a short trial ended with {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    difference, limit = (differences.max(), 1e-3) if _full_precision(model) else (differences.mean(), 0.5)
    return (
        None if difference <= limit else f"a short trial differs from the plain route by {difference:.2g} nats a token"
    )
