"""How a configured method turns texts into tokens, known without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textclf.errors import UserError
from textclf.findings.lengths import Tokenization
from textclf.models.base import TextClassifier
from textclf.models.causal_lm import CausalLMClassifier
from textclf.models.embedding import EmbeddingClassifier
from textclf.models.fine_tuned import FineTunedClassifier
from textclf.models.inference import InferenceClassifier
from textclf.models.nli import NLIClassifier
from textclf.models.seq2seq import Seq2SeqClassifier
from textclf.types import PreTrainedTokenizerBase


def tokenization_of(model: TextClassifier) -> Tokenization | None:
    """The tokenizer of a method, and how many tokens of a text it reads.

    Args:
        model: The method.

    Returns:
        None for a method without tokens, and for an encoder whose tokenizer is trained on the train rows.

    Raises:
        UserError: The tokenizer cannot be loaded, or the prompt leaves no room for a text.
    """
    if isinstance(model, EmbeddingClassifier):
        embedder = model.embedder
        found = _tokenization(model.pretrained, embedder.model.tokenizer, embedder.model.max_seq_length)
        return replace(found, separately=True)
    if isinstance(model, FineTunedClassifier):
        if model.pretrained is None:
            return None
        return _tokenization(model.pretrained, model.tokenizer, model.max_length)
    if isinstance(model, CausalLMClassifier):
        # Examples take as much room as they are long, which is known only once they are drawn.
        limit, around = (None, 0) if model.shots else (model.limit, _around(model))
        return _tokenization(model.pretrained, model.tokenizer, limit, around, special=False)
    if isinstance(model, InferenceClassifier):
        special = not isinstance(model, NLIClassifier | Seq2SeqClassifier)
        return _tokenization(model.pretrained, model.tokenizer, model.max_length, _around(model), special)
    return None


def _around(model: TextClassifier) -> int:
    """Tokens that a method adds to a text: a hypothesis, or the prompt around the text."""
    if isinstance(model, NLIClassifier):
        empty = model.tokenizer([""] * len(model.hypotheses), model.hypotheses)["input_ids"]
        return max(map(len, empty))
    if isinstance(model, CausalLMClassifier | Seq2SeqClassifier):
        prompt = model.template.fill({"text": "", "text_pair": ""})
        return len(model.tokenizer(prompt)["input_ids"])
    return 0


def _tokenization(
    name: str, tokenizer: PreTrainedTokenizerBase, limit: int | None, around: int = 0, special: bool = True
) -> Tokenization:
    """Describes a tokenizer.

    Args:
        name: The model that it belongs to.
        tokenizer: The tokenizer.
        limit: Maximum number of tokens.
        around: How many of them the method adds to a text.
        special: Whether the special tokens that the tokenizer adds count.

    Raises:
        UserError: There is no room for a text.
    """
    if limit is not None and around >= limit:
        raise UserError(f"the prompt leaves no room for the text: it has {around} tokens without one, and {limit} fit")

    def token_ids(texts: list[str], pairs: list[str] | None) -> Sequence[Sequence[int]]:
        encoded = tokenizer(
            texts,
            pairs,
            add_special_tokens=special,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: Sequence[Sequence[int]] = encoded["input_ids"]
        return ids

    def unknown_words(text: str) -> list[str]:
        encoded = tokenizer(text, truncation=False, return_offsets_mapping=True, verbose=False)
        pieces = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [text[start:stop] for token, (start, stop) in pieces if token == tokenizer.unk_token_id and stop > start]

    return Tokenization(
        name,
        None if limit is None else limit - around,
        token_ids,
        tokenizer.unk_token_id,
        unknown_words if tokenizer.is_fast else None,
        around,
    )
