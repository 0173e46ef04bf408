"""Parts of the sentences in findings."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAMED = 10
"""Maximum number of things that a sentence names."""


def quoted(name: str) -> str:
    """A name in quotation marks, with characters that cannot be seen escaped."""
    return repr(name)


def rows_in_words(number: int) -> str:
    """A number of rows, such as `1 row` or `1,200 rows`."""
    return "1 row" if number == 1 else f"{number:,} rows"


def percent(share: float) -> str:
    """A share, such as `12.3%`; a small one has two digits after the point."""
    if 0 < share < 0.0001:
        return "less than 0.01%"
    return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


def first_few(named: Sequence[str], limit: int = MAX_NAMED, separator: str = ", ") -> str:
    """Joins the first of several things, and counts the others.

    Args:
        named: In order.
        limit: Maximum number of them.
        separator: What stands between them.
    """
    text = separator.join(named[:limit])
    if len(named) > limit:
        text += f"{separator}and {len(named) - limit:,} more"
    return text
