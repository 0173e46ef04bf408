"""Unicode normalization in linear time."""

from __future__ import annotations

import unicodedata
from itertools import groupby
from typing import Literal

Form = Literal["NFC", "NFKC"]
SHORT = 1000
"""Up to so many characters, the time that `unicodedata` takes does not matter."""


def normalize_unicode(form: Form, text: str) -> str:
    """The text in a normalization form, as `unicodedata.normalize` gives it.

    `unicodedata` sorts each run of combining marks by exchanging neighbours: a megabyte of marks in the wrong order
    would take half an hour. In a long text, they are sorted beforehand.

    Args:
        form: The normalization form.
        text: Any text.
    """
    if len(text) > SHORT and not unicodedata.is_normalized(form, text):
        text = _sorted_marks("NFD" if form == "NFC" else "NFKD", text)
    return unicodedata.normalize(form, text)


def _sorted_marks(decomposition: Literal["NFD", "NFKD"], text: str) -> str:
    """Decomposes a text, and sorts each run of combining marks by their classes: both forms are equivalent to it."""
    decomposed = "".join(unicodedata.normalize(decomposition, character) for character in text)
    parts: list[str] = []
    for is_mark, run in groupby(decomposed, lambda character: unicodedata.combining(character) > 0):
        characters = list(run)
        if is_mark:
            characters.sort(key=unicodedata.combining)
        parts += characters
    return "".join(parts)
