from textclf.models.base import PreparedClassifier, TextClassifier
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.models.tfidf import TfidfClassifier

__all__ = ["FineTunedClassifier", "PreparedClassifier", "TextClassifier", "TfidfClassifier"]
