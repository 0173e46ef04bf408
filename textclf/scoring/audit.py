"""What tokenising does to labels, and to the place where prompt and label meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textclf.scoring.tokens import Bos, label_token_ids, leading_bos, prompt_token_ids, whole_token_ids
from textclf.scoring.trie import one_begins_another
from textclf.types import PreTrainedTokenizerBase


@dataclass(frozen=True)
class LabelAudit:
    """What became of one label.

    Attributes:
        label: The label as written.
        pieces: Its tokens, as the vocabulary writes them.
        token_ids: Its tokens.
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


@dataclass(frozen=True)
class BoundaryReport:
    """What tokenising does to labels and prompts.

    Attributes:
        labels: One entry per label.
        prompts: Number of prompts looked at.
        bos: Fewest and most BOS tokens that the tokenizer puts or finds at the start of a prompt, before the BOS policy
            is followed; None where it knows no BOS.
        errors: What makes scores meaningless, a line each.
        notices: What one should know, a line each.
    """

    labels: tuple[LabelAudit, ...]
    prompts: int
    bos: tuple[int, int] | None
    errors: tuple[str, ...]
    notices: tuple[str, ...]

    def __str__(self) -> str:
        """The report as text, a line per label, then errors and notices."""
        lines = [
            f"{label.label!r}: {' '.join(label.pieces)} ({len(label.token_ids)} tokens, {label.characters} characters, "
            f"{label.bytes} bytes)"
            for label in self.labels
        ]
        lines += [f"error: {line}" for line in self.errors]
        return "\n".join(lines + [f"notice: {line}" for line in self.notices])


def audit_labels(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], labels: Sequence[str], bos: Bos = "tokenizer"
) -> BoundaryReport:
    """Reports what tokenising does to labels behind a sample of prompts.

    Two labels with the same tokens are an error, and so is a label without tokens. Notices: a label that begins
    another; a label that would be cut otherwise in the joined string; tokens unknown to the vocabulary; a tokenizer
    that writes a space before every string; prompts without BOS, or with more than one, where the tokenizer has one.

    Args:
        tokenizer: The model's tokenizer.
        prompts: Some prompts, as they are scored.
        labels: Labels, as they are scored.
        bos: Policy of BOS, as in `prompt_token_ids`.
    """
    prompt_rows = prompt_token_ids(tokenizer, prompts, bos)
    label_rows = label_token_ids(tokenizer, labels)
    entries = tuple(
        _audit(tokenizer, prompts, prompt_rows, label, ids, bos) for label, ids in zip(labels, label_rows, strict=True)
    )
    counts = _bos(tokenizer, prompts)
    notices = [*_notices(tokenizer, entries), *_bos_notices(tokenizer, counts, bos)]
    return BoundaryReport(entries, len(prompts), counts, tuple(_errors(labels, label_rows)), tuple(notices))


def _audit(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    prompt_rows: list[list[int]],
    label: str,
    ids: list[int],
    bos: Bos,
) -> LabelAudit:
    """Looks at one label."""
    joined = prompt_token_ids(tokenizer, [prompt + label for prompt in prompts], bos)
    differ = [p for p, row, whole in zip(prompts, prompt_rows, joined, strict=True) if row + ids != whole]
    pieces = tuple(tokenizer.convert_ids_to_tokens(ids))
    return LabelAudit(label, pieces, tuple(ids), len(differ), differ[0] if differ else None)


def _bos(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> tuple[int, int] | None:
    """Fewest and most BOS tokens that prompts start with, before any is dropped or added."""
    if tokenizer.bos_token_id is None or not prompts:
        return None
    counts = [leading_bos(tokenizer, row) for row in whole_token_ids(tokenizer, prompts)]
    return min(counts), max(counts)


def _errors(labels: Sequence[str], label_rows: list[list[int]]) -> list[str]:
    """What makes scores meaningless."""
    lines = [f"label {label!r} has no tokens" for label, ids in zip(labels, label_rows, strict=True) if not ids]
    return lines + [
        f"labels {labels[i]!r} and {labels[j]!r} have the same tokens {label_rows[i]}: their scores are always equal"
        for i, j in one_begins_another(label_rows)
        if label_rows[i] == label_rows[j] != []
    ]


def _notices(tokenizer: PreTrainedTokenizerBase, entries: tuple[LabelAudit, ...]) -> list[str]:
    """What one should know of the labels."""
    rows = [list(entry.token_ids) for entry in entries]
    lines = [
        f"label {entries[i].label!r} begins label {entries[j].label!r}: its sum is never the lower one"
        for i, j in one_begins_another(rows)
        if rows[i] and rows[i] != rows[j]
    ]
    lines += [
        f"label {entry.label!r} is cut otherwise when it is tokenised with the prompt (e.g. {entry.example[-40:]!r})"
        for entry in entries
        if entry.example is not None
    ]
    lines += [
        f"label {entry.label!r} has tokens that the vocabulary does not know"
        for entry in entries
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in entry.token_ids
    ]
    if _writes_space(tokenizer):
        lines.append("the tokenizer writes a space before every string: a label 'x' is scored as ' x'")
    return lines


def _bos_notices(tokenizer: PreTrainedTokenizerBase, counts: tuple[int, int] | None, bos: Bos) -> list[str]:
    """What one should know of BOS, where it does not stand exactly once, and what is done about it."""
    if counts is None or counts == (1, 1):
        return []
    left = "at most one is kept" if counts[1] > 1 else "'always' as policy of BOS adds one"
    done = {"tokenizer": left, "always": "one is scored", "never": "none is scored"}[bos]
    found = " to ".join(str(count) for count in sorted(set(counts)))
    return [f"prompts start with {found} BOS tokens, not with one ({tokenizer.bos_token!r}): {done}"]


def _writes_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a string without a leading space gets one (marked ▁ by sentencepiece, Ġ by byte-level BPE)."""
    (ids,) = label_token_ids(tokenizer, ["a"])
    return bool(ids) and str(tokenizer.convert_ids_to_tokens(ids)[0]).startswith(("▁", "Ġ"))
