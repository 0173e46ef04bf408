from textclf.models.base import PreparedClassifier, TextClassifier
from textclf.models.causal_lm import CausalLMClassifier
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.models.tfidf import TfidfClassifier

__all__ = ["CausalLMClassifier", "FineTunedClassifier", "PreparedClassifier", "TextClassifier", "TfidfClassifier"]
