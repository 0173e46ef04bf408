"""A score rule of somebody else's: likelihoods per token, less those after texts that say nothing."""

from textclf.scoring import ScoreRule
from textclf.scoring.rules import combine_words, per_unit


def compare(stored):
    nothing = per_unit(stored.content_free, stored.tokens).mean(axis=0)
    return combine_words(per_unit(stored.sums, stored.tokens) - nothing, stored.classes)


contextual_mean = ScoreRule(compare, needs=("content_free",))
