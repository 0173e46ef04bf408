"""Weights, tokenizers and classification heads of transformers models, checked where they are loaded."""
