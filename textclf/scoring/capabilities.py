"""The strategies that are correct for a model: by facts of its config, then by a short trial against `plain`.

Facts first, because a short trial cannot show them: a window longer than the trial, rotary scaling that changes with
the length, a cache that is written in place. Then a trial of a dozen tokens per model, against the plain strategy: it
finds what is wrong for any other reason (masks that are ignored, ALiBi counted from the wrong end, learned positions
that are taken from the column). In half precision, rounding alone makes tenths of a nat, so that the trial shows gross
errors only. There, only kinds of models that the tests have verified in fp32 (`VERIFIED`) are packed, or cached with
padding behind the prefix; of another kind, prompts of equal length run together, as in generation.

- *packed* needs a model that adds a 4-D mask to its attention scores (`sdpa` or `eager`), takes `position_ids`, and
  has no window shorter than the longest row. So not Bloom and MPT (ALiBi), nor Mistral, Gemma 2 and Gemma 3 beyond
  their window.
- *cached* needs a cache of keys and values that can be shared. Where a window is shorter than the longest row, or the
  trial shows that padding between prefix and prompt is not ignored (MPT), only prompts of equal length run together.
- *plain* is for the rest: state-space models (Mamba), linear attention, and rotary scaling that depends on the longest
  text of a batch (`longrope`, `dynamic`) where a text is beyond the length at which it changes.
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
"""The strategies, the fastest first; `plain` is correct for every causal model."""
StrategyChoice = Literal["auto", "packed", "cached", "plain"]
"""A strategy, or `auto` for the first one that is correct."""
ScoreBatch = Callable[[Forward, Batch, LabelTrie, Any], tuple[Tensor, Tensor]]

TRIAL_LENGTH = 12
"""Columns of the longest row of the trial."""
VERIFIED = {
    "packed": set(
        "cohere exaone4 falcon gemma gemma2 gemma3_text gemma3n_text gpt2 gpt_neo gpt_neox granite llama mistral "
        "mixtral olmo olmo2 olmo3 opt phi phi3 qwen2 qwen3 qwen3_moe smollm3 stablelm starcoder2".split()
    ),
    "cached": {"bloom"},
}
"""Kinds of models (`model_type`) for which the tests compare packed rows and a cached prefix, or only the latter, with
the plain strategy."""


class UnsupportedModelError(UserError):
    """A model that a strategy cannot score correctly; the message says why."""


@dataclass
class Capabilities:
    """What a model can be scored with.

    Attributes:
        refused: By strategy, why it is not correct for this model at any length.
        windows: Sizes of the attention windows that its layers may have, ascending.
        rotary_switch: Length from which on its rotary scaling changes, if there is one.
        ignores_padding: Whether it ignores padding between a cached prefix and a prompt, as it should.
    """

    refused: dict[Strategy, str] = field(default_factory=dict)
    windows: list[int] = field(default_factory=list)
    rotary_switch: int | None = None
    ignores_padding: bool = True

    def refusal(self, strategy: Strategy, longest: int) -> str | None:
        """Why a strategy is not correct for rows of up to `longest` tokens, or None."""
        if strategy in self.refused:
            return self.refused[strategy]
        if strategy == "plain":
            return None
        if self.rotary_switch is not None and longest > self.rotary_switch:
            return f"its rotary scaling changes at {self.rotary_switch} tokens, and the longest text has {longest}"
        if strategy == "packed" and self.windows and longest > self.windows[0]:
            return f"its attention window has {self.windows[0]} tokens, and the longest text has {longest}"
        return None

    def needs_equal_lengths(self, longest: int) -> bool:
        """Whether only prompts of equal length can run together behind a cached prefix."""
        return not self.ignores_padding or any(longest > window for window in self.windows)


_known: weakref.WeakKeyDictionary[Any, dict[Any, Capabilities]] = weakref.WeakKeyDictionary()


@torch.inference_mode()
def capabilities_of(model: PreTrainedModel) -> Capabilities:
    """Determines what a model can be scored with; once per model object, attention and precision.

    Raises:
        UnsupportedModelError: It is not a causal language model.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise UnsupportedModelError(f"{type(model).__name__} is an encoder-decoder, not a causal language model")
    if model.get_output_embeddings() is None:  # type: ignore[no-untyped-call]
        raise UnsupportedModelError(f"{type(model).__name__} has no language-model head: pass a causal language model")
    key = (attention_of(model), model.dtype)
    known = _known.setdefault(model, {})
    if key not in known:
        known[key] = _find_out(model)
    return known[key]


def _find_out(model: PreTrainedModel) -> Capabilities:
    """Facts, then the trial."""
    full_precision = _in_full_precision(model)
    if _effect_of_later_token(model) > (1e-3 if full_precision else 0.1):
        raise UnsupportedModelError(
            f"{type(model).__name__} is not causal: a later token changes the logits at an earlier one"
        )
    found = Capabilities()
    reason = _why_no_shared_cache(model)
    if reason is not None:
        found.refused = {"packed": reason, "cached": reason}
        return found
    found.windows = windows(model)
    found.rotary_switch = _rotary_switch(model)
    verified = full_precision or _kind(model) in VERIFIED["packed"] | VERIFIED["cached"]
    if not verified or _trial(model, cached_scores, padding=True) is not None:
        found.ignores_padding = False
        wrong = _trial(model, cached_scores, padding=False)
        if wrong is not None:
            found.refused["cached"] = wrong
    reason = _why_no_packing(model, found) or _why_unverified(model) or _trial(model, packed_scores, padding=True)
    if reason is not None:
        found.refused["packed"] = reason
    return found


def _why_no_shared_cache(model: PreTrainedModel) -> str | None:
    """The fact that rules out a shared cache, if there is one."""
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return "it does not accept past_key_values, so labels cannot share a cache of keys and values"
    if foreign := foreign_layers(model):
        return f"its cache has layers that cannot be shared between labels: {', '.join(foreign)}"
    return None


def _why_no_packing(model: PreTrainedModel, found: Capabilities) -> str | None:
    """The fact that rules out packed rows, if there is one."""
    if "position_ids" not in Forward(model).optional:
        return "it does not accept position_ids: its positions come from the 2-D mask (ALiBi)"
    if getattr(model.config, "alibi", False):
        return "its positions come from the 2-D mask (ALiBi)"
    if attention_of(model) not in ("sdpa", "eager", ATTENTION):
        return f"its attention {attention_of(model)!r} does not accept a 4-D mask: load it with 'sdpa'"
    if found.windows and found.windows[0] < TRIAL_LENGTH:
        return f"its attention window has {found.windows[0]} tokens"
    return None


def _why_unverified(model: PreTrainedModel) -> str | None:
    """Why a trial in this precision is not enough to pack rows of this kind of model, if it is not."""
    if _in_full_precision(model) or _kind(model) in VERIFIED["packed"]:
        return None
    return (
        f"models of kind {_kind(model)!r} were not verified in fp32, and a trial in "
        f"{str(model.dtype).removeprefix('torch.')} is not precise enough: load it in fp32 for a trial"
    )


def _kind(model: PreTrainedModel) -> str:
    """The `model_type` of the model's text part, as in `VERIFIED`."""
    return str(model.config.get_text_config(decoder=True).model_type)


def _in_full_precision(model: PreTrainedModel) -> bool:
    """Whether rounding errors are too small to be seen in a trial."""
    return model.dtype in (torch.float32, torch.float64)


def _rotary_switch(model: PreTrainedModel) -> int | None:
    """Length from which on rotary angles depend on the longest text of a batch.

    It is read from the config: transformers has no public function that says whether angles depend on the batch.
    """
    config = model.config.get_text_config(decoder=True)
    rotary = getattr(config, "rope_parameters", None) or {}
    # Models with several kinds of layers have one dictionary of parameters per kind.
    per_kind = [values for values in rotary.values() if isinstance(values, dict)]
    switches = []
    for values in [rotary, *per_kind]:
        if values.get("rope_type") in ("longrope", "dynamic"):
            switches.append(int(values.get("original_max_position_embeddings") or config.max_position_embeddings))
    return min(switches, default=None)


# The trial


def _trial_tokens(model: PreTrainedModel, start: int, count: int) -> list[int]:
    """Some tokens of the vocabulary, always the same."""
    embeddings: Any = model.get_input_embeddings()
    return [(37 * i + 11) % embeddings.num_embeddings for i in range(start, start + count)]


def _effect_of_later_token(model: PreTrainedModel) -> float:
    """How much later tokens change the logits of earlier ones: mean change, divided by the logits' own deviation."""
    ids = torch.tensor([_trial_tokens(model, 0, 6)], device=input_device(model))
    whole = model(input_ids=ids, use_cache=False).logits[0, :3].float()
    start = model(input_ids=ids[:, :3], use_cache=False).logits[0, :3].float()
    return float((whole - start).abs().mean() / start.std())


def _trial(model: PreTrainedModel, score: ScoreBatch, *, padding: bool) -> str | None:
    """Scores two prompts behind a cached prefix.

    Args:
        model: The model.
        score: The strategy that is tried.
        padding: Whether one prompt is shorter than the other, so that there is padding between prefix and prompt.

    Returns:
        What is wrong with the scores, or None.
    """
    prefix = _trial_tokens(model, 0, 3)
    prompts = [prefix + _trial_tokens(model, 3, 2 if padding else 5), prefix + _trial_tokens(model, 8, 5)]
    a, b, c, d, e = _trial_tokens(model, 13, 5)
    labels: Sequence[list[int]] = [[a], [a, b], [c, d, e], [c, b, d]]
    expected = torch.empty(len(prompts), len(labels), dtype=torch.float64)
    for i, prompt in enumerate(prompts):
        for j, label in enumerate(labels):
            expected[i, j] = plain_score(model, prompt, label)[0]
    forward = Forward(model)
    ids = torch.tensor([prefix], device=forward.device)
    try:
        cache = new_cache(model)
        forward(ids, torch.ones_like(ids), torch.arange(len(prefix), device=ids.device)[None], cache, keep=1)
        trie = build_trie(labels)
        log_probs, _ = score(forward, Batch.of(prompts, len(prefix), forward.device), trie, cache)
        per_token = (trie.totals(log_probs) - expected).abs() / trie.members.sum(0)
    except Exception as error:  # a model may raise any error for inputs that it does not support
        message = str(error).partition("\n")[0]
        return f"a short trial ended with {type(error).__name__}: {message}"
    if _in_full_precision(model):
        difference, limit = per_token.max(), 1e-3
    else:
        difference, limit = per_token.mean(), 0.5  # single values differ by rounding alone
    if difference <= limit:
        return None
    return f"a short trial differs from the plain strategy by {difference:.2g} nats per token"
