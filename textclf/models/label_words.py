"""Words and shares that are given per class, by the classes' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from textclf.errors import UserError
from textclf.models.label_arguments import by_label_name
from textclf.scoring.rules import Array


def words_of(words: Mapping[str, str | list[str]] | None, names: Sequence[str]) -> list[list[str]]:
    """The words of each class, in the order of the classes; the names themselves where none are given.

    Raises:
        UserError: A name is no label, a label has no word, or a word is empty.
    """
    if words is None:
        return [[name] for name in names]
    words = by_label_name("label_words", words, names, complete=True)
    lists = [[given] if isinstance(given := words[name], str) else list(given) for name in names]
    for name, own in zip(names, lists, strict=True):
        if not own or not all(own):
            raise UserError(f"label_words gives {name!r} {words[name]!r}: give one word or more")
    return lists


def class_shares(shares: Mapping[str, float] | None, names: Sequence[str]) -> Array | None:
    """Shares in the order of the classes.

    Raises:
        UserError: A name is no label, a label has no share, or a share is not above 0.
    """
    if shares is None:
        return None
    shares = by_label_name("prior", shares, names, complete=True)
    for name, share in shares.items():
        if not share > 0:
            raise UserError(f"prior gives {name!r} {share}: give a share above 0")
    return np.array([shares[name] for name in names], dtype=np.float64)
