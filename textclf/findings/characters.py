"""Odd characters, remains of encodings, odd white space, and remains of markup; each with the step that mends it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from textclf.data.cleaning import CONTROL, DecodeHTML
from textclf.findings.finding import Finding, Kind
from textclf.findings.rows import ExploredSplit
from textclf.findings.words import percent
from textclf.normalization import normalize_unicode

SHOWN = 20
"""Number of rows that are shown of a finding."""
AROUND = 12
"""Characters on each side of an oddity that a note quotes."""


@dataclass(frozen=True)
class Oddity:
    """Something that a text may contain.

    Attributes:
        kind: The kind of its findings.
        name: What it is called, in the plural.
        found: Gives the first place of it in a text, from and to; None where there is none.
        remedy: The name of the cleaning step that mends it.
        why: What it comes from, or what it does; a sentence.
    """

    kind: Kind
    name: str
    found: Callable[[str], tuple[int, int] | None]
    remedy: str | None
    why: str


def _pattern(pattern: str | re.Pattern[str]) -> Callable[[str], tuple[int, int] | None]:
    compiled = re.compile(pattern)

    def found(text: str) -> tuple[int, int] | None:
        match = compiled.search(text)
        return match.span() if match else None

    return found


# Mojibake

CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
"""The characters of Windows-1252 at 0x80 to 0x9F."""
UTF8_AS_LATIN = re.compile(f"[\u00c2-\u00f4][\u0080-\u00bf{CP1252}]+")
"""Characters that may be bytes of UTF-8, read as Latin-1 or Windows-1252."""
KOREAN_AS_LATIN = re.compile("[\u00a1-\u00fe]{4,}")
"""Characters that may be bytes of EUC-KR, read as Latin-1."""
PLAUSIBLE = re.compile(
    "[\u00a0-\u017f\u0391-\u03c9\u0400-\u045f\u2010-\u2044\u20ac\u2122\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3"
    "\uff01-\uff5e\U0001f300-\U0001faff]+"
)
"""What is likely to have been meant; letters of rare scripts come from accents that happen to look like bytes."""
HANGUL = re.compile("[\uac00-\ud7a3]+")


def _bytes_of(text: str) -> bytes:
    """The bytes of a text that was read as Windows-1252, or, for bytes that it lacks, as Latin-1."""
    return b"".join(
        character.encode("cp1252") if character in CP1252 else character.encode("latin-1") for character in text
    )


def find_mojibake(text: str) -> tuple[int, int] | None:
    """The first place in a text where UTF-8 or EUC-KR was read as Latin-1 or Windows-1252; None where there is none."""
    if text.isascii():
        return None
    candidates = ((UTF8_AS_LATIN, "utf-8", PLAUSIBLE), (KOREAN_AS_LATIN, "euc-kr", HANGUL))
    for pattern, encoding, plausible in candidates:
        for match in pattern.finditer(text):
            try:
                meant = _bytes_of(match[0]).decode(encoding)
            except UnicodeDecodeError:
                continue
            # A run of one sign, such as dots, is no word.
            if plausible.fullmatch(meant) and (encoding == "utf-8" or len(set(match[0])) > 2):
                return match.span()
    return None


# Others


def find_decomposed(text: str) -> tuple[int, int] | None:
    """The first place of a text that its composed form (NFC) changes."""
    if unicodedata.is_normalized("NFC", text):
        return None
    start = _first_difference(text, normalize_unicode("NFC", text))
    return start, min(start + 2, len(text))


def _first_difference(text: str, changed: str) -> int:
    """The number of characters that a text and a changed form of it begin with in common."""
    pairs = enumerate(zip(text, changed, strict=False))
    return next((place for place, (old, new) in pairs if old != new), min(len(text), len(changed)))


def find_outer_space(text: str) -> tuple[int, int] | None:
    """White space at the beginning of a text, or else at its end."""
    if text.strip() == text:
        return None
    if text.lstrip() != text:
        return 0, len(text) - len(text.lstrip())
    return len(text.rstrip()), len(text)


SPACES = re.compile(r"(?<=\S)  +(?=\S)")


def find_spaces(text: str) -> tuple[int, int] | None:
    """The first place within a text where several spaces follow each other."""
    if "  " not in text:
        return None
    match = SPACES.search(text)
    return match.span() if match else None


def find_html(text: str) -> tuple[int, int] | None:
    """The first place of a text that `DecodeHTML` changes."""
    if "&" not in text and "<" not in text and "#" not in text and ";" not in text:
        return None
    cleaned = DecodeHTML().clean(text)
    if cleaned == text:
        return None
    start = _first_difference(text, cleaned)
    return start, min(start + 1, len(text))


OTHER_TAGS = (
    r"(?i)</?(?:script|style|iframe|body|html|head|meta|link|center|blockquote|pre|code|section|article|th|tbody)\b[^<>]*>"
    r"|<!--|-->"
)
ODDITIES: tuple[Oddity, ...] = (
    Oddity(
        "odd_characters",
        "byte-order marks",
        _pattern("\ufeff"),
        "RemoveControlCharacters",
        "The file was written by a program that begins files with one.",
    ),
    Oddity(
        "odd_characters",
        "control characters",
        _pattern(CONTROL),
        "RemoveControlCharacters",
        "They are often quotation marks or dashes of Windows-1252, read as Latin-1.",
    ),
    Oddity(
        "odd_characters",
        "replacement characters (U+FFFD)",
        _pattern("\ufffd"),
        None,
        "They are written for bytes that are not valid, or for half of an emoji: read the source in its own encoding.",
    ),
    Oddity(
        "odd_characters",
        "lone surrogates",
        _pattern("[\ud800-\udfff]"),
        None,
        "They are half of a character: the source was cut within an emoji.",
    ),
    Oddity(
        "odd_characters",
        "mojibake",
        find_mojibake,
        None,
        "Text in one encoding was read as another one: read the source in its own encoding (often UTF-8).",
    ),
    Oddity(
        "odd_characters",
        "characters that are not composed (NFC)",
        find_decomposed,
        "NormalizeUnicode",
        "File names of macOS are an example, and Hanja with two codes: a tokenizer sees other characters than usual.",
    ),
    Oddity(
        "odd_characters",
        "invisible characters",
        # Joiners (U+200C, U+200D) belong to emoji and to Persian and Indic words.
        _pattern("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufff9-\ufffb]"),
        None,
        "Zero-width spaces, soft hyphens and marks of direction split or hide words.",
    ),
    Oddity(
        "odd_characters",
        "characters of private use",
        _pattern("[\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff]"),
        None,
        "They have a meaning in one font or program alone.",
    ),
    Oddity(
        "odd_characters",
        "white space at the ends",
        find_outer_space,
        "StripWhitespace",
        "It says how rows were collected, and can give the label away.",
    ),
    Oddity(
        "odd_characters",
        "rare white space",
        _pattern("[\t\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"),
        "JoinLines",
        "Tabs, no-break and wide spaces: words around them may not be separated.",
    ),
    Oddity(
        "odd_characters",
        "several spaces in a row",
        find_spaces,
        "JoinLines",
        "They are often left where something was taken out.",
    ),
    Oddity(
        "markup",
        "HTML entities or tags",
        find_html,
        "DecodeHTML",
        "They are remains of a web page.",
    ),
    Oddity(
        "markup",
        "other tags",
        _pattern(OTHER_TAGS),
        None,
        "They are remains of a web page that no cleaning step takes out.",
    ),
    Oddity(
        "markup",
        "backslashes",
        _pattern(r"\\+"),
        "JoinLines",
        "They often stand for line breaks or quotation marks of the source.",
    ),
)
"""What is looked for, in this order."""


def find_odd_characters(split: ExploredSplit) -> list[Finding]:
    """Findings of the kinds `odd_characters` and `markup`, one for each sort of oddity.

    Args:
        split: The rows, as in the source; the texts of a pair count as one.
    """
    rows: dict[str, list[int]] = {oddity.name: [] for oddity in ODDITIES}
    notes: dict[str, list[str]] = {oddity.name: [] for oddity in ODDITIES}
    for column in split.text_columns:
        for row, text in _numbered(split, column):
            for oddity in ODDITIES:
                place = oddity.found(text)
                if place is None:
                    continue
                known = rows[oddity.name]
                known.append(row)
                if len(notes[oddity.name]) < SHOWN:
                    notes[oddity.name].append(_excerpt(text, *place))
    return [_finding(split, oddity, rows[oddity.name], notes[oddity.name]) for oddity in ODDITIES if rows[oddity.name]]


def _numbered(split: ExploredSplit, column: str) -> Iterator[tuple[int, str]]:
    row = 0
    for texts in split.windows(column):
        for text in texts:
            yield row, text
            row += 1


def _excerpt(text: str, start: int, stop: int) -> str:
    """What surrounds an oddity, with all that cannot be seen escaped."""
    return ascii(text[start:stop]) + " in " + repr(text[max(0, start - AROUND) : stop + AROUND])


def _finding(split: ExploredSplit, oddity: Oddity, rows: list[int], notes: list[str]) -> Finding:
    distinct = sorted(set(rows))  # a row may have it in both texts
    share = len(distinct) / len(split)
    verb = "has" if len(distinct) == 1 else "have"
    detail = f"{len(distinct):,} of {len(split):,} texts ({percent(share)}) {verb} {oddity.name}. {oddity.why}"
    note_of = dict(reversed(list(zip(rows, notes, strict=False))))
    examples = tuple((split.shown(row, note_of.get(row, "")),) for row in distinct[:SHOWN])
    return Finding(
        oddity.kind, split.split, len(distinct), split.ids(distinct), detail, oddity.remedy, examples=examples
    )
