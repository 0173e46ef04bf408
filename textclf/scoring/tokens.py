"""The boundary between prompt and label, in tokens.

A prompt is tokenised alone, with the special tokens that its tokenizer adds; a label is tokenised alone, without any,
and its tokens are put behind the prompt's. So the prompt's tokens never depend on the label, which is what lets one
pass over the prompt serve all labels. The price is that the pair may be cut otherwise than the joined string would be;
`textclf.scoring.audit` reports where.

A trap: tokenizers of the Llama kind put a space before every string, so that `World` is read as ` World`. A label is
taken as its tokenizer gives it, space included; the audit says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from textclf.errors import UserError
from textclf.types import PreTrainedTokenizerBase


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, special: bool) -> list[list[int]]:
    """Tokenises each text whole: padding and truncation that were saved with the tokenizer are switched off."""
    if isinstance(texts, str):
        raise UserError(f"a list of texts is wanted, not the string {texts[:40]!r}: write [text]")
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=special,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [list(ids) for ids in encoded["input_ids"]]


def prompt_token_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Tokens of each prompt: one BOS at most, and no EOS that the tokenizer appends.

    A prompt that spells out its BOS, as chat templates do, would get a second one: it is dropped. An EOS that is
    written in the prompt stays.
    """
    tail = _appended(tokenizer)
    bos = tokenizer.bos_token_id
    rows = []
    for ids in token_ids(tokenizer, prompts, special=True):
        ids = ids[: len(ids) - tail]
        while bos is not None and ids[:2] == [bos, bos]:
            ids = ids[1:]
        rows.append(ids)
    return rows


def label_token_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[list[int]]:
    """Tokens of each label, exactly as written: no special tokens, and no space but the caller's own."""
    return token_ids(tokenizer, labels, special=False)


def _appended(tokenizer: PreTrainedTokenizerBase) -> int:
    """Number of special tokens that the tokenizer puts behind a text."""
    (full,) = token_ids(tokenizer, ["a"], special=True)
    (bare,) = token_ids(tokenizer, ["a"], special=False)
    tail = 0
    while tail < len(full) and [full[-1 - tail]] != bare[-1:] and full[-1 - tail] != tokenizer.bos_token_id:
        tail += 1
    return tail
