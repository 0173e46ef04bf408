"""Detection of the character encoding of a text file, from its bytes."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from textclf.console import say
from textclf.data.readers.compression import open_bytes
from textclf.errors import UserError
from textclf.hashing import file_hash

MARKS = {  # the longer ones first: the mark of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LEGACY = (  # one of each family in use; of several that fit equally well, the first is taken
    "cp1252",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp1250",
    "cp1251",
    "koi8_r",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp874",
    "cp949",
)
SAMPLE = 1 << 14
BLOCK = 1 << 20


def text_encoding(path: Path, content: str | None = None) -> str:
    """Detects the encoding of a text file, and reports it where it is not UTF-8.

    A byte-order mark decides. Without one, a file is UTF-16 if its zero bytes say so, or UTF-8 if all of it decodes.
    Otherwise the lines that are not UTF-8 are sampled: Korean is detected by a rule of this module, other encodings by
    `charset-normalizer`. The encoding that is found must decode the whole file. Memory grows with the longest line
    only.

    Limits: a few short lines in a Chinese, Japanese or Central European encoding may be taken for another one. UTF-32
    without a mark, and encodings that are not in `LEGACY`, are not detected. Encodings that consist of ASCII bytes
    (UTF-7, ISO-2022) are taken for ASCII. A line with one or two characters in another encoding than the rest of the
    file may not be noticed.

    Args:
        path: The file.
        content: Its `file_hash`, where that is known already.

    Returns:
        A name that `open` takes: `utf-8`, `utf-8-sig` where the file starts with a mark, or another.

    Raises:
        UserError: The encoding cannot be detected, or some lines are not in it.
    """
    return _detected(path, content or file_hash(path))


@lru_cache(maxsize=1024)  # a file that is read twice is scanned and reported once
def _detected(path: Path, content: str) -> str:
    """The encoding of a file; `content` is the hash of its bytes, so that a file that has changed is scanned again."""
    with open_bytes(path) as file:
        head = file.read(SAMPLE)
    encoding = _by_mark(head) or _unmarked_utf16(head)
    bad_line = _first_bad_line(path, encoding or "utf-8")
    if encoding is not None and bad_line:
        raise UserError(
            f"{str(path)!r} starts as {encoding}, but line {bad_line} is not valid {encoding}: write all of it in UTF-8"
        )
    if encoding is None and bad_line:
        if not _first_bad_line(path, "utf-8", "surrogatepass"):
            raise UserError(
                f"{str(path)!r} is UTF-8, but line {bad_line} has half of a character, such as of an emoji (a lone "
                "surrogate): replace or delete it"
            )
        encoding = _legacy(path, bad_line)
    if encoding is None:
        encoding = "utf-8"
    if not encoding.startswith("utf-8"):
        say(f"{str(path)!r}: detected encoding {encoding}; if the texts look wrong, convert the file to UTF-8")
    return encoding


def _by_mark(head: bytes) -> str | None:
    """The encoding whose byte-order mark a file starts with."""
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    return None


def _unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 without a mark, by its zero bytes: ASCII characters have one each, always on the same side."""
    even = head[::2].count(0)
    odd = head[1::2].count(0)
    most, least = max(even, odd), min(even, odd)
    # Some letters, such as 가, have a zero byte on the other side.
    if not head or most * 64 < len(head) or most < 3 * least:
        return None
    encoding = "utf-16-be" if even > odd else "utf-16-le"
    text = head.decode(encoding, "ignore")
    if b"\n" in head and "\n" not in text and "\r" not in text:
        return None  # an encoding of one byte a character, with a few zero bytes
    return encoding


def _first_bad_line(path: Path, encoding: str, errors: str = "strict") -> int | None:
    """The number, from 1, of the first line that does not decode; None where all do."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    line = 1
    with open_bytes(path) as file:
        while True:
            block = file.read(BLOCK)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].decode(error.encoding, errors).count("\n")
            if not block:
                return None


def _legacy(path: Path, first_bad_line: int) -> str:
    """Detects the encoding of a file that is not UTF-8 from line `first_bad_line` on."""
    sample = b""
    for _, line in _lines(path):
        if _decoded(line, "utf-8") is None:
            sample += line
        if len(sample) >= SAMPLE:
            break
    encoding = "cp949" if _is_korean(sample) else _best_guess(sample)
    if encoding is None:
        raise UserError(
            f"{str(path)!r} is not UTF-8 in line {first_bad_line}, and its encoding cannot be detected from its bytes: "
            "convert it to UTF-8, for example with iconv -f cp949 -t utf-8"
        )
    counts = Counter[str]()
    first_lines = dict[str, int]()
    for number, line in _lines(path):
        line_encoding = _line_encoding(line, encoding)
        counts[line_encoding] += 1
        first_lines.setdefault(line_encoding, number)
    if len(counts) > 1:
        most_common = counts.most_common(1)[0][0] or encoding
        odd_line = min(number for line_encoding, number in first_lines.items() if line_encoding != most_common)
        raise UserError(
            f"{str(path)!r} mixes encodings: line {odd_line} is not {most_common}, as most lines are: write "
            "all of it in UTF-8"
        )
    return encoding


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not all ASCII, with their numbers from 1."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.isascii():
                yield number, line


def _decoded(line: bytes, encoding: str) -> str | None:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return None


def _line_encoding(line: bytes, encoding: str) -> str:
    """Whether a line is in `UTF-8` or in `encoding`; the empty string where it decodes as neither.

    A line may decode as both. In a Western encoding, with one byte a character, valid UTF-8 hardly ever arises by
    chance. In an East Asian one it does in short lines, but not with two characters of three bytes.
    """
    utf8 = _decoded(line, "utf-8")
    legacy = _decoded(line, encoding)
    if utf8 is None:
        return "" if legacy is None else encoding
    if legacy is None or len(legacy) == len(line):
        return "UTF-8"
    three_bytes = sum(character >= "\u0800" for character in utf8)
    return "UTF-8" if three_bytes >= 2 else encoding


def _is_korean(sample: bytes) -> bool:
    """Whether the sample decodes as Korean: nearly all syllables are of the 2,350 common ones, and hanja are few.

    Japanese that is read as cp949 gives rare syllables, Chinese gives hanja. (`charset-normalizer` alone does not
    detect some Korean files of a few lines.)
    """
    characters = [character for character in sample.decode("cp949", "replace") if not character.isascii()]
    common = foreign = 0
    for character in characters:
        code = character.encode("cp949", "replace")
        if 0xB0 <= code[0] <= 0xC8 and code[-1] >= 0xA1:
            common += 1
        if code[0] >= 0xCA or min(code) < 0xA1:  # hanja, rare syllables, and characters that did not decode
            foreign += 1
    return common >= 10 * foreign and 2 * common >= len(characters) > 0


def _best_guess(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    # Enough steps to look at all of the sample.
    found = from_bytes(sample, steps=SAMPLE // 512, cp_isolation=list(LEGACY), enable_fallback=False)
    ranks: dict[str, tuple[float, float, int]] = {}
    for match in found:
        for name in match.could_be_from_charset:
            # Rounded: small differences between encodings of related languages are due to chance.
            ranks[name] = (round(match.chaos, 2), -round(match.coherence, 1), LEGACY.index(name))
    return min(ranks, key=ranks.__getitem__, default=None)
