from textclf.models.base import PreparedClassifier, TextClassifier
from textclf.models.chat import ChatClassifier
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.models.nli import NLIClassifier
from textclf.models.pretrained import PretrainedClassifier
from textclf.models.seq2seq import Seq2SeqClassifier
from textclf.models.tfidf import TfidfClassifier

__all__ = [
    "ChatClassifier",
    "FineTunedClassifier",
    "NLIClassifier",
    "PreparedClassifier",
    "PretrainedClassifier",
    "Seq2SeqClassifier",
    "TextClassifier",
    "TfidfClassifier",
]
