"""The boundary between prompt and label, in tokens.

A prompt is tokenised alone, with the special tokens that its tokenizer adds; a label is tokenised alone, without any,
and its tokens are put behind the prompt's. So the prompt's tokens never depend on the label, which is what lets one
pass over the prompt serve all labels. In return, the pair may be split into other tokens than the joined string;
`textclf.scoring.audit` reports where.

A trap: tokenizers like that of Llama put a space before every string, so that `World` is read as ` World`. A label is
scored with this space; the audit reports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textclf.errors import UserError
from textclf.scoring.look_alikes import MARK, look_alikes
from textclf.types import PreTrainedTokenizerBase

Bos = Literal["tokenizer", "always", "never"]
TEXTS_PER_CALL = 256
"""Texts in one call of a tokenizer: its encodings hold far more per token than the token's id."""


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, special: bool) -> list[list[int]]:
    """Tokenises each text as a whole: padding and truncation saved with the tokenizer are switched off.

    Special tokens behind a mark of `textclf.scoring.look_alikes` are text.
    """
    if isinstance(texts, str):
        raise UserError(f"expected a list of texts, not the string {texts[:40]!r}: write [text]")
    rows: list[list[int]] = []
    for start in range(0, len(texts), TEXTS_PER_CALL):
        encoded = tokenizer(
            list(texts[start : start + TEXTS_PER_CALL]),
            add_special_tokens=special,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        rows += encoded["input_ids"]
    marked = [i for i, text in enumerate(texts) if MARK in text]
    if marked:
        before, behind = _added_ids(tokenizer) if special else ([], [])
        found = look_alikes(tokenizer)
        for i in marked:
            rows[i] = [*before, *found.prompt_ids(texts[i]), *behind]
    return rows


def prompt_token_ids(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], bos: Bos = "tokenizer"
) -> list[list[int]]:
    """Token ids of each prompt: one BOS at most, and no EOS that the tokenizer appends.

    A prompt that spells out its BOS, as chat templates do, would get a second one, which is dropped. An EOS that is
    written in the prompt stays.

    Args:
        tokenizer: The model's tokenizer.
        prompts: Prompts.
        bos: Whether a prompt starts with BOS: as the `tokenizer` has it, `always`, or `never`.

    Raises:
        UserError: `bos` is `always`, and the tokenizer has no BOS.
    """
    if bos == "always" and tokenizer.bos_token_id is None:
        raise UserError("bos is 'always', but the tokenizer has no BOS token: choose tokenizer or never")
    rows = []
    for ids in whole_token_ids(tokenizer, prompts):
        written = leading_bos(tokenizer, ids)
        kept = {"tokenizer": min(written, 1), "always": 1, "never": 0}[bos]
        rows.append([tokenizer.bos_token_id] * kept + ids[written:])
    return rows


def whole_token_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt with every BOS that the tokenizer adds or reads, but without what it appends."""
    rows = token_ids(tokenizer, prompts, special=True)
    appended = appended_ids(tokenizer)
    if not appended:
        return rows
    bare = []
    for ids in rows:
        ends_with_appended = ids[-len(appended) :] == appended
        bare.append(ids[: -len(appended)] if ends_with_appended else ids)
    return bare


def leading_bos(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int:
    """Number of BOS tokens that a prompt starts with."""
    count = 0
    while count < len(ids) and ids[count] == tokenizer.bos_token_id:
        count += 1
    return count


def label_token_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[list[int]]:
    """Token ids of each label, exactly as written: no special tokens, and no space that is not in the label."""
    return token_ids(tokenizer, labels, special=False)


def appended_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens that the tokenizer appends to a text, such as EOS.

    A token that is appended, but is not special, belongs to the text.
    """
    _, end = _added_ids(tokenizer)
    return end if set(end) <= set(tokenizer.all_special_ids) else []


def _added_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The tokens that the tokenizer puts before and behind a text.

    They are found by tokenising a text with and without special tokens; from the right, as BOS and EOS may be the same
    token.
    """
    (full,) = token_ids(tokenizer, ["a"], special=True)
    (bare,) = token_ids(tokenizer, ["a"], special=False)
    if not bare:
        return [], []
    for end in range(len(full), len(bare) - 1, -1):
        if full[end - len(bare) : end] == bare:
            return full[: end - len(bare)], full[end:]
    return [], []
