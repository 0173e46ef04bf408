"""Checks the tokens of labels, and of the boundary between prompt and label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from textclf.scoring.tokens import Bos, label_token_ids, leading_bos, prompt_token_ids, whole_token_ids
from textclf.scoring.trie import prefix_pairs
from textclf.types import PreTrainedTokenizerBase

SPACE_MARKS = ("▁", "Ġ")
"""How tokens show a leading space: sentencepiece, and byte-level BPE."""


@dataclass(frozen=True)
class LabelAudit:
    """How one label is tokenised.

    Attributes:
        label: The label as written.
        pieces: Its tokens, as the vocabulary writes them.
        token_ids: Its token ids.
        joined_differs: Number of prompts where tokenising prompt and label as one string gives other tokens.
        example: A prompt where it does, or None.
    """

    label: str
    pieces: tuple[str, ...]
    token_ids: tuple[int, ...]
    joined_differs: int
    example: str | None

    @property
    def characters(self) -> int:
        """Length in characters."""
        return len(self.label)

    @property
    def bytes(self) -> int:
        """Length in UTF-8 bytes."""
        return len(self.label.encode())

    def __str__(self) -> str:
        """The label, its tokens and its lengths in a line."""
        lengths = f"{len(self.token_ids)} tokens, {self.characters} characters, {self.bytes} bytes"
        return f"{self.label!r}: {' '.join(self.pieces)} ({lengths})"


@dataclass(frozen=True)
class BoundaryReport:
    """What tokenisation does to labels and prompts.

    Attributes:
        labels: One entry per label.
        prompts: Number of prompts that were examined.
        bos: Fewest and most BOS tokens at the start of a prompt, before the BOS policy is applied; None where the
            tokenizer has no BOS.
        errors: What makes scores meaningless, a line each.
        notices: What a user should know, a line each.
    """

    labels: tuple[LabelAudit, ...]
    prompts: int
    bos: tuple[int, int] | None
    errors: tuple[str, ...]
    notices: tuple[str, ...]

    def __str__(self) -> str:
        """The report as text, a line per label, then errors and notices."""
        lines = [str(label) for label in self.labels]
        lines += [f"error: {line}" for line in self.errors]
        lines += [f"notice: {line}" for line in self.notices]
        return "\n".join(lines)


def audit_labels(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], labels: Sequence[str], bos: Bos = "tokenizer"
) -> BoundaryReport:
    """Reports what tokenisation does to labels behind a sample of prompts.

    Two labels with the same tokens are an error, and so is a label without tokens. Notices: a label that is a prefix of
    another; a label that is split differently in the joined string; tokens unknown to the vocabulary; a tokenizer that
    puts a space before every string; prompts without BOS, or with more than one, where the tokenizer has one.

    Args:
        tokenizer: The model's tokenizer.
        prompts: Some prompts, as they are scored.
        labels: Labels, as they are scored.
        bos: BOS policy, as in `prompt_token_ids`.
    """
    prompt_rows = prompt_token_ids(tokenizer, prompts, bos)
    entries = []
    for label, ids in zip(labels, label_token_ids(tokenizer, labels), strict=True):
        joined = prompt_token_ids(tokenizer, [prompt + label for prompt in prompts], bos)
        entries.append(_audit(tokenizer, label, ids, prompts, prompt_rows, joined))
    bos_counts = _bos_counts(tokenizer, prompts)
    return BoundaryReport(
        labels=tuple(entries),
        prompts=len(prompts),
        bos=bos_counts,
        errors=tuple(_errors(entries)),
        notices=(*_notices(tokenizer, entries), *_bos_notices(tokenizer, bos_counts, bos)),
    )


def _audit(
    tokenizer: PreTrainedTokenizerBase,
    label: str,
    ids: list[int],
    prompts: Sequence[str],
    prompt_rows: Sequence[list[int]],
    joined_rows: Sequence[list[int]],
) -> LabelAudit:
    """Audits one label.

    Args:
        tokenizer: The model's tokenizer.
        label: The label.
        ids: Its token ids.
        prompts: The prompts.
        prompt_rows: Token ids of each prompt.
        joined_rows: Token ids of each prompt with the label, as one string.
    """
    differing = []
    for prompt, row, joined in zip(prompts, prompt_rows, joined_rows, strict=True):
        if row + ids != joined:
            differing.append(prompt)
    return LabelAudit(
        label=label,
        pieces=tuple(tokenizer.convert_ids_to_tokens(ids)),
        token_ids=tuple(ids),
        joined_differs=len(differing),
        example=differing[0] if differing else None,
    )


def _bos_counts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> tuple[int, int] | None:
    """Fewest and most BOS tokens that prompts start with, before any is dropped or added."""
    if tokenizer.bos_token_id is None or not prompts:
        return None
    counts = [leading_bos(tokenizer, row) for row in whole_token_ids(tokenizer, prompts)]
    return min(counts), max(counts)


def _errors(entries: Sequence[LabelAudit]) -> Iterator[str]:
    """What makes scores meaningless."""
    for entry in entries:
        if not entry.token_ids:
            yield f"label {entry.label!r} has no tokens"
    for first, second in _prefixes(entries):
        if first.token_ids == second.token_ids:
            labels = f"labels {first.label!r} and {second.label!r}"
            yield f"{labels} have the same tokens {list(first.token_ids)}: their scores are always equal"


def _notices(tokenizer: PreTrainedTokenizerBase, entries: Sequence[LabelAudit]) -> Iterator[str]:
    """What a user should know of the labels."""
    for first, second in _prefixes(entries):
        if first.token_ids != second.token_ids:
            yield f"label {first.label!r} begins label {second.label!r}: its sum is never the lower one"
    for entry in entries:
        if entry.example is not None:
            end = entry.example[-40:]
            yield f"label {entry.label!r} is split differently when it is tokenised with the prompt (e.g. {end!r})"
    for entry in entries:
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in entry.token_ids:
            yield f"label {entry.label!r} has tokens that the vocabulary does not know"
    if _adds_space(tokenizer):
        yield "the tokenizer puts a space before every string: a label 'x' is scored as ' x'"


def _prefixes(entries: Sequence[LabelAudit]) -> Iterator[tuple[LabelAudit, LabelAudit]]:
    """Pairs of labels the first of which has tokens, all of which the second begins with."""
    for i, j in prefix_pairs([entry.token_ids for entry in entries]):
        if entries[i].token_ids:
            yield entries[i], entries[j]


def _bos_notices(tokenizer: PreTrainedTokenizerBase, counts: tuple[int, int] | None, bos: Bos) -> list[str]:
    """What a user should know where prompts do not start with exactly one BOS, and what the BOS policy does."""
    if counts is None or counts == (1, 1):
        return []
    if bos == "always":
        scored = "one is scored"
    elif bos == "never":
        scored = "none is scored"
    elif counts[1] > 1:
        scored = "at most one is kept"
    else:
        scored = "the BOS policy 'always' adds one"
    found = " to ".join(str(count) for count in sorted(set(counts)))
    return [f"prompts start with {found} BOS tokens, not with one ({tokenizer.bos_token!r}): {scored}"]


def _adds_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a string without a leading space gets one."""
    (ids,) = label_token_ids(tokenizer, ["a"])
    return bool(ids) and str(tokenizer.convert_ids_to_tokens(ids)[0]).startswith(SPACE_MARKS)
