"""The style of all figures: drawn without pyplot, so that no backend is chosen, and no global setting stays changed."""

import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from matplotlib import style  # noqa: TID253 - imported late itself
from matplotlib.figure import Figure  # noqa: TID253 - imported late itself
from matplotlib.font_manager import FontProperties, fontManager  # noqa: TID253 - imported late itself
from matplotlib.rcsetup import cycler  # noqa: TID253 - imported late itself
from matplotlib.text import Text  # noqa: TID253 - imported late itself

from textclf.console import display_width
from textclf.files import atomic_path

LONGEST_NAME = 40
"""Characters of a class name that a figure shows."""
NARROWEST = 5.0
"""Minimum width of a figure in inches, so that its title fits."""
TITLE_SIZE = 10
"""Font size of titles, in points."""
RIGHT, WRONG, NEUTRAL = "#0072B2", "#E69F00", "#777777"
"""Colours of right and wrong answers, and of lines for reference."""
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito, safe for all kinds of colour vision: https://jfly.uni-koeln.de/color/."""


@contextmanager
def drawing(path: str | Path, width: float, height: float, title: Sequence[str]) -> Iterator[Figure]:
    """Context manager that yields a new figure and saves it as a PNG file at the end.

    All text is in one font that has Hangul, on a white background; the user's own settings are ignored.

    Args:
        path: The file to write.
        width: Width of the figure, in inches.
        height: Height of the figure below its title, in inches.
        title: Lines of the title; long ones are wrapped.
    """
    lines = [part for line in title for part in _wrapped(line, width)]
    # A character that no installed font has is drawn as a box; a warning for each would not help.
    with warnings.catch_warnings(), style.context(["default", _own_style()]), atomic_path(path) as temporary:
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height + TITLE_SIZE / 72 * 1.4 * len(lines)), layout="constrained")
        figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE, parse_math=False)
        yield figure
        figure.savefig(temporary, dpi=150, format="png")


def shortened_name(name: str) -> str:
    """The name of a class in one line, `LONGEST_NAME` characters at most."""
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 1] + "…"
    return name


def name_width(names: Sequence[str], size: float) -> float:
    """The width of the longest name in inches, roughly.

    Args:
        names: At least one.
        size: Font size, in points.
    """
    return max(map(display_width, names)) * size * 0.6 / 72


def unparsed(texts: Iterable[Text]) -> None:
    """Shows a dollar sign in a name as a dollar sign.

    Args:
        texts: Texts of a legend, which has no option for it.
    """
    for text in texts:
        text.set_parse_math(False)


def _wrapped(text: str, width: float) -> list[str]:
    """Wraps a line of the title to `width` inches; wide characters such as Hangul count twice."""
    columns = width * 72 / (TITLE_SIZE * 0.6)
    characters = int(columns * len(text) / max(1, display_width(text)))
    return textwrap.wrap(text, max(10, characters), break_on_hyphens=False)


@cache
def _own_style() -> dict[str, Any]:
    """The settings in which figures differ from matplotlib's defaults."""
    return {"font.family": _font_families(), "axes.prop_cycle": cycler(color=COLOURS)}


def _font_families() -> list[str]:
    """Font families that together cover Hangul and Latin.

    The package with the Hangul font is only located: importing it would change matplotlib's settings.
    """
    families = ["DejaVu Sans"]
    package = find_spec("koreanize_matplotlib")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "fonts" / "NanumGothic.ttf"
        fontManager.addfont(path)
        families.insert(0, FontProperties(fname=path).get_name())
    return families
