from textclf.models.base import PreparedClassifier, TextClassifier
from textclf.models.fine_tuned import FineTunedClassifier

__all__ = ["FineTunedClassifier", "PreparedClassifier", "TextClassifier"]
