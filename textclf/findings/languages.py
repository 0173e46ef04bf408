"""Scripts and languages of the texts: rows that are written in another one than most."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from textclf.data.splitting import draw_sample
from textclf.findings.finding import Finding
from textclf.findings.rows import ExploredSplit
from textclf.findings.words import first_few, percent, rows_in_words

SCRIPT_ROWS = 20_000
"""Maximum number of rows of a split whose scripts are looked at; of a larger one a sample, stratified by class."""
LANGUAGE_ROWS = 2_000
"""Maximum number of rows of a split whose languages are identified."""
FEWEST_LETTERS = 40
"""Languages of texts with fewer letters are not identified: they cannot be told reliably."""
CERTAIN = 0.99
"""Probability from which on a text counts as one in another language."""
SHARE = 0.005
"""Share of the rows from which on another language is reported: single rows are often mistakes of identification."""
SHOWN = 20


@lru_cache(maxsize=100_000)
def script_of(character: str) -> str | None:
    """The script of a letter by its name in Unicode, such as `latin`, `hangul` or `cjk` (Han); None for other signs."""
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "")
    first = name.removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").partition(" ")[0]
    if first in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"):
        return "kana"
    return first.lower() or None


def scripts_in(text: str) -> Counter[str]:
    """Number of letters of each script."""
    if text.isascii():
        return Counter({"latin": letters} if (letters := sum(map(str.isalpha, text))) else {})
    counts: Counter[str] = Counter()
    for character, number in Counter(text).items():
        if (script := script_of(character)) is not None:
            counts[script] += number
    return counts


def find_languages(split: ExploredSplit) -> tuple[list[Finding], list[str]]:
    """Findings of the kind `language`, and a sentence about the scripts and languages of the split.

    Args:
        split: Its rows; of many a sample is looked at.

    Returns:
        Rows in another script than most, and rows in another language than most; and the sentence.
    """
    if not len(split):
        return [], []
    sample = _sample(split, SCRIPT_ROWS)
    scripts = [scripts_in(text) for text in sample.joined_texts()]
    total = sum(scripts, Counter[str]())
    if not total:
        return [], [f"{split.split}: the texts have no letters."]
    findings = _other_scripts(sample, scripts, total, _of(sample, split))
    shares = [(name, count / total.total()) for name, count in total.most_common(4)]
    letters = ", ".join(f"{name} {share:.1%}" for name, share in shares if share >= 0.001)
    sentence = f"{split.split}: letters are {letters}"
    of_language, languages = _other_languages(sample, scripts)
    if languages:
        sentence += f"; languages are {languages}"
    return [*findings, *of_language], [f"{sentence}."]


def _sample(split: ExploredSplit, size: int) -> ExploredSplit:
    if len(split) <= size:
        return split
    return split.select(draw_sample(split.labels, size, seed=0))


def _of(sample: ExploredSplit, split: ExploredSplit) -> str:
    """What was looked at, such as `a sample of 2,000 rows`."""
    of = rows_in_words(len(sample))
    return of if len(sample) == len(split) else f"a sample of {of}"


def _other_scripts(
    split: ExploredSplit, scripts: Sequence[Counter[str]], total: Mapping[str, int], of: str
) -> list[Finding]:
    """Rows that are mostly written in another script than most rows."""
    main_of = [counts.most_common(1)[0][0] if counts else None for counts in scripts]
    usual, _ = Counter(name for name in main_of if name is not None).most_common(1)[0]
    # Japanese is written in kana and Han together.
    usual_ones = {"kana", "cjk"} if usual in ("kana", "cjk") and len(total) > 1 else {usual}
    rows = [row for row, name in enumerate(main_of) if name is not None and name not in usual_ones]
    if not rows:
        return []
    others = Counter(main_of[row] for row in rows).most_common()
    named = first_few([f"{name} ({count:,})" for name, count in others])
    share = percent(len(rows) / len(split))
    detail = f"Most texts are written in {usual}; {len(rows):,} of {of} ({share}) mostly in another script: {named}."
    rows.sort(key=lambda row: -scripts[row].total())  # the longest first: a single letter says little
    examples = tuple((split.shown(row, str(main_of[row])),) for row in rows[:SHOWN])
    return [Finding("language", split.split, len(rows), split.ids(rows), detail, examples=examples)]


@cache
def _identifier() -> Any:
    """Loads the model of py3langid, which is part of its package."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _other_languages(split: ExploredSplit, scripts: Sequence[Counter[str]]) -> tuple[list[Finding], str]:
    """Rows in another language than most rows, and the languages in words; empty without long enough texts."""
    long = np.array([counts.total() >= FEWEST_LETTERS for counts in scripts])
    rows = np.flatnonzero(long)
    if len(rows) > LANGUAGE_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:LANGUAGE_ROWS])
    if not len(rows):
        return [], ""
    identified = [_identifier().classify(text) for text in split.select(rows).joined_texts()]
    counts = Counter(language for language, _ in identified)
    usual, number = counts.most_common(1)[0]
    languages = f"{usual} {number / len(rows):.1%} (of {len(rows):,} texts with {FEWEST_LETTERS} letters or more)"
    others = [
        (row, language)
        for row, (language, probability) in zip(rows.tolist(), identified, strict=True)
        if language != usual and probability >= CERTAIN
    ]
    if len(others) < max(SHARE * len(rows), 1):
        return [], languages
    named = first_few([f"{name} ({count:,})" for name, count in Counter(name for _, name in others).most_common()])
    detail = (
        f"Most texts are in the language {usual!r}; {len(others):,} of {rows_in_words(len(rows))} with "
        f"{FEWEST_LETTERS} letters or more ({len(others) / len(rows):.1%}) in another one: {named}. Languages of short "
        "texts are sometimes confused."
    )
    examples = tuple((split.shown(row, language),) for row, language in others[:SHOWN])
    ids = split.ids([row for row, _ in others])
    return [Finding("language", split.split, len(others), ids, detail, examples=examples)], languages
