"""How likely a causal language model finds each label after a prompt: exact, and each token is run once."""

from textclf.scoring.audit import BoundaryReport, LabelAudit, audit_labels
from textclf.scoring.capabilities import UnsupportedModelError
from textclf.scoring.forward import Counters, context_length
from textclf.scoring.rules import RULES, Likelihoods, ScoreRule
from textclf.scoring.scorer import LabelScorer, LabelScores, label_log_likelihoods
from textclf.scoring.strategies import as_published

__all__ = [
    "RULES",
    "BoundaryReport",
    "Counters",
    "LabelAudit",
    "LabelScorer",
    "LabelScores",
    "Likelihoods",
    "ScoreRule",
    "UnsupportedModelError",
    "as_published",
    "audit_labels",
    "context_length",
    "label_log_likelihoods",
]
