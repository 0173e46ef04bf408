from textclf.models.base import TextClassifier
from textclf.models.causal_lm import CausalLMClassifier
from textclf.models.chat import ChatClassifier
from textclf.models.embedding import EmbeddingClassifier
from textclf.models.embedding_zero_shot import EmbeddingZeroShot
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.models.linear_probe import LinearProbe
from textclf.models.nearest_centroid import NearestCentroid
from textclf.models.nli import NLIClassifier
from textclf.models.preparation import PreparedClassifier
from textclf.models.pretrained import PretrainedClassifier
from textclf.models.seq2seq import Seq2SeqClassifier
from textclf.models.tfidf import TfidfClassifier

__all__ = [
    "CausalLMClassifier",
    "ChatClassifier",
    "EmbeddingClassifier",
    "EmbeddingZeroShot",
    "FineTunedClassifier",
    "LinearProbe",
    "NLIClassifier",
    "NearestCentroid",
    "PreparedClassifier",
    "PretrainedClassifier",
    "Seq2SeqClassifier",
    "TextClassifier",
    "TfidfClassifier",
]
