"""Vectors of texts from frozen encoders of sentence-transformers, cached on disk."""

from textclf.embeddings.encoder import Embedder
from textclf.embeddings.settings import EmbeddingSettings

__all__ = ["Embedder", "EmbeddingSettings"]
