"""What rounding costs: the scores of some rows against those of the plain route in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from textclf.backbones.weights import load_causal
from textclf.scoring.rules import class_scores

if TYPE_CHECKING:
    from textclf.models.causal_lm import CausalLMClassifier

LOSSY = ("dtype", "quantization_config")


@torch.inference_mode()
def price_of_rounding(model: CausalLMClassifier, prompts: Sequence[str]) -> dict[str, float]:
    """Scores prompts as the model does, and once more with its weights loaded in fp32, a pass per prompt and label.

    Args:
        model: Whose precision, quantisation and strategy are on trial.
        prompts: Some prompts of the test.

    Returns:
        Number of prompts, largest difference of a label's log-likelihood in nats, and share of the prompts whose
        prediction changes under the model's rule. What the rule needs beside the prompts (premises, content-free texts,
        rows to fit to) is scored in fp32 as well, but by the model's strategy: there may be a thousand of them.
    """
    options = {name: value for name, value in model.load_options.items() if name not in LOSSY}
    network = load_causal(model.pretrained, options, torch.float32)
    exact = model.new_scorer(network, "plain", model.bos)
    own = model.new_scorer(model.scorer.model, model.strategy, model.bos)
    published = "published" in model.score_rule.needs
    scores = [model.score(prompts, scorer, published) for scorer in (own, exact)]
    likelihoods = [model.likelihoods(scores[0]), model.likelihoods(scores[1], network=network)]
    answers = [class_scores(model.rule, each).argmax(1) for each in likelihoods]
    return {
        "numerics/examples": len(prompts),
        "numerics/largest_difference_nats": float(np.abs(scores[0]["sums"] - scores[1]["sums"]).max()),
        "numerics/changed_predictions": float((answers[0] != answers[1]).mean()),
    }
