"""What all HTML pages share: one file each, which needs no server and no network.

A page is a Jinja template that extends `page.html`. Everything is inside the file: style, scripts, and the rows as
compressed JSON, which the browser inflates. Templates escape every value, scripts set texts by `textContent`, and the
content security policy of the page allows the browser neither a request nor any other script.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textclf.files import atomic_path
from textclf.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
COMPRESSION = 6
"""Level of gzip: higher ones take several times as long for a few per cent."""


def write_page(path: str | Path, template: str, data: Any, scripts: Sequence[str] = (), **values: Any) -> None:
    """Writes a page as one HTML file.

    Args:
        path: The file to write; its folder is created if it does not exist.
        template: File name of the template, which extends `page.html`.
        data: What the scripts of the page get from `pageData()`: anything that JSON has. No number may be NaN.
        scripts: File names of the page's own scripts, which follow `page.js`.
        **values: Values of the template; `title` is one of them.

    Raises:
        UserError: No space is left.
    """
    style = _part("page.css")
    script = "\n".join(_part(name) for name in ("page.js", *scripts))
    page = (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=style,
            style_hash=_content_hash(style),
            script=script,
            script_hash=_content_hash(script),
            data=packed(data),
            version=__version__,
        )
    )
    with atomic_path(path) as temporary:
        # A lone surrogate, which UTF-8 does not have, is shown as a replacement character.
        temporary.write_bytes(page.encode("utf-8", errors="xmlcharrefreplace"))


def packed(data: Any) -> str:
    """JSON, compressed by gzip, in base64.

    Args:
        data: Anything that JSON has.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Lone surrogates, which UTF-8 does not have, become escapes of JSON.
    content = text.encode("utf-8", errors="backslashreplace")
    return base64.b64encode(gzip.compress(content, COMPRESSION, mtime=0)).decode("ascii")


def _content_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _part(name: str) -> str:
    """A style sheet or script, which is inserted into the page without escaping."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["digits"] = digits
    return environment


def percent(share: float | None, places: int = 1) -> str:
    """A share in per cent, such as `82.8 %`; a dash for None."""
    return "–" if share is None else f"{100 * share:.{places}f} %"


def digits(value: float | None, places: int = 3) -> str:
    """A number with as many digits after the point; a dash for None."""
    return "–" if value is None else f"{value:,.{places}f}"
