"""Texts to token ids, by a tokenizer that was checked against its network: here texts are cut to `max_length`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from textclf.backbones.compatibility import check_match, refuse_unembedded, token_limit
from textclf.backbones.tokenizer_files import tokenizer_files
from textclf.console import say
from textclf.errors import UserError
from textclf.scoring.look_alikes import look_alikes
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

UNBOUNDED = 10**9
"""From this `model_max_length` on, a tokenizer has no limit; transformers writes 10 ** 30."""


@dataclass(frozen=True)
class ModelTokenizer:
    """A tokenizer that belongs to its model, and the maximum length of a text.

    Attributes:
        tokenizer: The tokenizer.
        files: Its files as `save_pretrained` writes them before its first use: truncation changes them.
        max_length: Tokens of a text (or pair) that are read; the rest is cut off.
        unembedded: Added tokens that the model has no embeddings for, by id; usually none.
    """

    tokenizer: PreTrainedTokenizerBase
    files: dict[str, str]
    max_length: int
    unembedded: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def matched(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        network: PreTrainedModel,
        reference: str,
        max_length: int | None,
        default: int,
    ) -> ModelTokenizer:
        """Checks a tokenizer against its model, and adapts it where the model is right.

        Args:
            tokenizer: Not used yet; changed in place.
            network: The model, or its `skeleton`: no weight is read.
            reference: Of the model, for messages.
            max_length: Maximum length that the user asked for; None for what the model can read, at most `default`.
            default: Upper limit where the user asked for none.

        Raises:
            UserError: They do not belong together, or the model cannot read so many tokens.
        """
        files = tokenizer_files(tokenizer)
        before = _adaptable(tokenizer)
        unembedded = check_match(tokenizer, network, reference)
        if _adaptable(tokenizer) != before:
            files = tokenizer_files(tokenizer)
        readable = min(tokenizer.model_max_length, token_limit(network) or UNBOUNDED)
        if max_length is None:
            max_length = min(default, readable)
            limit = f"as many as {reference!r} can read" if max_length == readable else "the default"
            say(f"max_length is {max_length} tokens, {limit}")
        elif max_length > readable:
            raise UserError(f"max_length {max_length} is more than {reference!r} can read: give at most {readable}")
        return cls(tokenizer, files, max_length, unembedded)

    def __call__(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, **options: Any
    ) -> dict[str, list[Any]]:
        """Returns token ids, and segment ids where the model has segments; at least one token per text.

        What looks like a special token is read as text, in each text and pair.

        Args:
            texts: Any number.
            pairs: The second text of each, or None.
            **options: Passed to the tokenizer's own call.

        Raises:
            UserError: A text holds an added token that the model has no embedding for.
        """
        found = look_alikes(self.tokenizer)
        texts = [found.as_text(text) for text in texts]
        if pairs is not None:
            pairs = [found.as_text(text) for text in pairs]
        encoded = dict(self.tokenizer(texts, pairs, return_attention_mask=False, split_special_tokens=True, **options))
        encoded["input_ids"] = self.checked(encoded["input_ids"])
        if "token_type_ids" in encoded:
            encoded["token_type_ids"] = [segments or [0] for segments in encoded["token_type_ids"]]
        return encoded

    def checked(self, rows: Sequence[list[int]]) -> list[list[int]]:
        """Gives a text without tokens a special one: tokenizers such as GPT-2's add none, and a model needs one.

        Args:
            rows: Token ids of each text.

        Raises:
            UserError: A text holds an added token that the model has no embedding for.
        """
        refuse_unembedded(rows, self.unembedded)
        return [ids or [self._special_id()] for ids in rows]

    def _special_id(self) -> int:
        """The first special token that the model has an embedding for; token 0 where there is none."""
        special = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, *self.tokenizer.all_special_ids)
        for token_id in special:
            if token_id is not None and token_id not in self.unembedded:
                return int(token_id)
        return 0

    def tokenize_rows(self, rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Token ids cut to `max_length`, segment ids where the model has segments, `length` in tokens, and `cut`.

        Args:
            rows: Columns `text`, and `text_pair` where there is one.
        """
        texts, pairs = rows["text"], rows.get("text_pair")
        encoded = self(texts, pairs, truncation=True, max_length=self.max_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        cut = self.count_cut(texts, pairs, lengths)
        return {**encoded, "length": lengths, "cut": cut}

    def count_cut(self, texts: Sequence[str], pairs: Sequence[str] | None, lengths: Sequence[int]) -> list[int]:
        """Number of tokens of each text (or pair) that were cut off at `max_length`.

        Args:
            texts: The texts.
            pairs: The second text of each, or None.
            lengths: Tokens of each after truncation.
        """
        cut = [0] * len(texts)
        # Only a text that fills `max_length` can have been cut: the others need no second tokenization.
        full = [i for i, length in enumerate(lengths) if length == self.max_length]
        if not full:
            return cut
        full_pairs = None if pairs is None else [pairs[i] for i in full]
        whole = self([texts[i] for i in full], full_pairs, verbose=False)
        for i, ids in zip(full, whole["input_ids"], strict=True):
            cut[i] = len(ids) - self.max_length
        return cut


def _adaptable(tokenizer: PreTrainedTokenizerBase) -> tuple[list[str], str | None]:
    """The properties that `check_match` may change."""
    return list(tokenizer.model_input_names), tokenizer.pad_token
