"""Which encoding a file of text is in, told from its bytes."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from textclf.console import say
from textclf.errors import UserError
from textclf.hashing import file_hash

MARKS = {  # the longer ones first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LEGACY = (  # one of each family in use; where several fit equally well, the first
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
    """Tells a text file's encoding, and says which it is where that is not UTF-8.

    A byte-order mark holds. Else it is UTF-16 by its zero bytes, or UTF-8 where the whole file decodes as that. Else
    the lines that are not UTF-8 are sampled: Korean is recognised by a rule of its own, what else there is by
    `charset-normalizer`. Whatever is found must decode the whole file. Memory grows with the longest line only.

    Its limits: a few short lines in a Chinese, Japanese or Central European encoding may be taken for another one.
    UTF-32 without a mark, and encodings outside `LEGACY`, are not told. Those that write everything in ASCII bytes
    (UTF-7, ISO-2022) pass for ASCII. A line with one or two characters in another encoding than its file's may go
    unseen.

    Args:
        path: The file.
        content: Its `file_hash`, where that is known already.

    Returns:
        A name that `open` takes: `utf-8`, `utf-8-sig` where it starts with a mark, or another.

    Raises:
        UserError: It cannot be told, or not all lines are in it.
    """
    return _tell(path, content or file_hash(path))


@lru_cache(maxsize=1024)  # so that what is read twice is scanned, and spoken of, once
def _tell(path: Path, content: str) -> str:
    with path.open("rb") as file:
        head = file.read(SAMPLE)
    encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), None) or _unmarked_utf16(head)
    wrong = _first_wrong_line(path, encoding or "utf-8")
    if encoding is None and wrong and not _first_wrong_line(path, "utf-8", "surrogatepass"):
        raise UserError(
            f"{str(path)!r} is UTF-8, but line {wrong} has half of a character, such as of an emoji (a lone "
            "surrogate): replace or delete it"
        )
    if encoding is None:
        encoding = _legacy(path, wrong) if wrong else "utf-8"
    elif wrong:
        raise UserError(f"{str(path)!r} begins as {encoding}, but line {wrong} is not: write all of it in UTF-8")
    if not encoding.startswith("utf-8"):
        say(f"{str(path)!r} is read as {encoding}, judged by its bytes: if texts come out wrong, convert it to UTF-8")
    return encoding


def _unmarked_utf16(head: bytes) -> str | None:
    """UTF-16 has a zero byte beside each ASCII character, on the same side of all (and in some letters, such as 가)."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 64 < len(head) or max(even, odd) < 3 * min(even, odd) or not head:
        return None
    encoding = "utf-16-be" if even > odd else "utf-16-le"
    text = head.decode(encoding, "ignore")
    if b"\n" in head and "\n" not in text and "\r" not in text:
        return None  # lines of one byte a character, with a few zero bytes in them
    return encoding


def _first_wrong_line(path: Path, encoding: str, errors: str = "strict") -> int | None:
    """The number, from 1, of the first line that does not decode; None where all do."""
    decoder, line = codecs.getincrementaldecoder(encoding)(errors), 1
    with path.open("rb") as file:
        while True:
            block = file.read(BLOCK)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].decode(error.encoding).count("\n")
            if not block:
                return None


def _legacy(path: Path, first: int) -> str:
    """Tells the encoding of a file that is not UTF-8 from line `first` on."""
    sample = b""
    for _, line in _lines(path):
        if _decoded(line, "utf-8") is None:
            sample += line
        if len(sample) >= SAMPLE:
            break
    encoding = "cp949" if _is_korean(sample) else _best_guess(sample)
    if encoding is None:
        raise UserError(
            f"{str(path)!r} is not UTF-8 in line {first}, and its encoding cannot be told from its bytes: "
            "convert it to UTF-8, for example with iconv -f cp949 -t utf-8"
        )
    lines, firsts = Counter[str](), dict[str, int]()
    for number, line in _lines(path):
        kind = _kind(line, encoding)
        lines[kind] += 1
        firsts.setdefault(kind, number)
    if len(lines) > 1:
        most = lines.most_common(1)[0][0] or encoding
        off = min(number for kind, number in firsts.items() if kind != most)
        raise UserError(
            f"{str(path)!r} mixes encodings: line {off} is not {most}, as most lines are: write all of it in UTF-8"
        )
    return encoding


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not all ASCII, with their numbers from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.isascii():
                yield number, line


def _decoded(line: bytes, encoding: str) -> str | None:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError:
        return None


def _kind(line: bytes, encoding: str) -> str:
    """Whether a line is meant as `UTF-8` or as `encoding`; the empty string where it decodes as neither.

    Where both decode it, one letter for each byte shows a Western encoding, in which UTF-8 comes about by accident
    hardly ever. In an East Asian one it does in short lines, but not with two characters of three bytes.
    """
    own, utf8 = _decoded(line, encoding), _decoded(line, "utf-8")
    if utf8 is not None and (own is None or len(own) == len(line) or sum(c >= "\u0800" for c in utf8) >= 2):
        return "UTF-8"
    return "" if own is None else encoding


def _is_korean(sample: bytes) -> bool:
    """Whether cp949 makes Korean of it: nearly all syllables are of the 2,350 common ones, and hanja are few.

    Japanese read as cp949 gives rare syllables, Chinese gives hanja. (By itself `charset-normalizer` misses some Korean
    files of a few lines.)
    """
    codes = [c.encode("cp949", "replace") for c in sample.decode("cp949", "replace") if not c.isascii()]
    common = sum(0xB0 <= code[0] <= 0xC8 and code[-1] >= 0xA1 for code in codes)
    foreign = sum(code[0] >= 0xCA or min(code) < 0xA1 for code in codes)  # what does not decode included
    return common >= 10 * foreign and 2 * common >= len(codes) > 0


def _best_guess(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    # Steps enough to look at all of the sample. Marks are rounded: encodings of related languages differ by chance.
    found = from_bytes(sample, steps=SAMPLE // 512, cp_isolation=list(LEGACY), enable_fallback=False)
    marks = {
        name: (round(match.chaos, 2), -round(match.coherence, 1), LEGACY.index(name))
        for match in found
        for name in match.could_be_from_charset
    }
    return min(marks, key=marks.__getitem__) if marks else None
