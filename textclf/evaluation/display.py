"""Alignment of text on a terminal, where East Asian characters take two columns."""

import unicodedata


def display_width(text: str) -> int:
    """Gives the number of terminal columns that a text takes.

    Args:
        text: One line.

    Returns:
        Two for each wide character, such as a Hangul syllable, none for a combining mark, one for any other.
    """
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def align_right(text: str, width: int) -> str:
    """Fills a text up with spaces on its left.

    Args:
        text: One line.
        width: The width wanted, in terminal columns.

    Returns:
        The text, `width` columns wide or wider.
    """
    return " " * (width - display_width(text)) + text
