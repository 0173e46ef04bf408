"""Texts that break programs: nothing at all, a megabyte, control characters, look-alikes of special tokens."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator

KINDS: dict[str, tuple[str, ...]] = {
    "empty": ("", " ", "\n\t ", "\u3000", "\u200b", "\ufeff", "\u00a0", "\r\n"),
    "control characters": ("\x00", "a\x00b", *map(chr, range(1, 32)), "\x7f", "\x85", "\u2028", "\x1b[31mred\x1b[0m"),
    "lone surrogates": ("\ud83d", "a\udc00b", "\ude42\ud83d", "\udbff\udfff", "film \ud83d\ude42"),
    "directions": ("\u202ecilbup\u202c", "\u200f\u0641\u064a\u0644\u0645", "\u2066a\u2069", "\u05e1\u05e8\u05d8"),
    "marks": (
        unicodedata.normalize("NFD", "지루한 영화"),
        "a" + "\u0301\u0323" * 40,
        "\u0f73" * 30,
        "\u1160",
        "\u3099",
    ),
    "emoji": ("👩‍👩‍👧‍👦", "🇰🇷🇰", "1️⃣", "👍🏽", "❤️‍🔥", "\ufe0f", "\u200d", "🏴\U000e0067\U000e0062"),
    "special tokens": (
        *("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>", "<bos>", "<eos>"),
        *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<extra_id_0>", "<start_of_turn>", "[INST]", "[gMASK]"),
        *("＜/s＞", "［SEP］", "[sep]", "< /s>", "<\u200b/s>", "▁", "##ed", "Ġ"),
    ),
    "templates": (
        *(
            "{text}",
            "{text_pair}",
            "{labels}",
            "{label}",
            "{}",
            "{0}",
            "{text",
            "[DOCUMENT]",
            "{{text}}",
            "%s",
            "$text",
        ),
        *("{{ messages }}", "{% for x in y %}", "\\1", "\\g<0>", "\ue000text\ue001", "\ufdd1text\ufdd2", "\ufdd0"),
    ),
    "markup": ("<b>", "<a href='", "&#" + "1" * 5000 + ";", "&lt;b&gt;", "<!--", "]]>", "&" * 100, "&#x110000;"),
    "delimiters": ('"', '""', ",", ";", "\t", "'", '"a', 'a"b,c', "a\nb", "a\rb", "=1+1", "@a", "|", "\\", "\\n"),
    "values": ("null", "NaN", "true", "1", "1e999", "-0", "2024-01-01", "None", "[]", "{}", "1" * 5000),
    "unassigned": ("\uffff", "\ufffe", "\U0010ffff", "\ue000", "\U000f0000", "\u0378", "\ufffd"),
    "words": ("film", "a dull film", "지루한 영화", "최고의 배우, wonderful music", "Straße İI ı"),
}
MEGABYTE = 1_000_000
REPEATED = (
    "a",
    "a ",
    "가",
    "🙂",
    "\\",
    "\u0301\u0323",
    "[SEP]",
    "</s>",
    "<|im_end|>",
    "\x00",
    " ",
    "\n",
    '"',
    "&#1;",
    "<a ",
    "1",
)


def all_texts(names: tuple[str, ...] = ()) -> list[str]:
    """Each text of each kind, and each name of a special token alone and between letters.

    Args:
        names: Special tokens of a tokenizer.
    """
    texts = [text for kind in KINDS.values() for text in kind]
    for name in names:
        texts += [name, f"film{name}a", f"{name} {name}"]
    return texts


def drawn_texts(seed: int, names: tuple[str, ...] = ()) -> Iterator[str]:
    """Random concatenations of one to six hostile texts, without end.

    Args:
        seed: Seed of the draw.
        names: Special tokens of a tokenizer.
    """
    draw = random.Random(seed)
    kinds = [*KINDS.values(), names or KINDS["special tokens"]]
    while True:
        yield "".join(draw.choice(draw.choice(kinds)) for _ in range(draw.randint(1, 6)))


def long_texts() -> list[str]:
    """Lines of a megabyte."""
    return [(part * (MEGABYTE // len(part.encode()) + 1))[:MEGABYTE] for part in REPEATED]
