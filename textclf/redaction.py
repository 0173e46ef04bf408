"""Keys, tokens and passwords: recognised by name, and removed from texts that are printed or written."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

NAME = re.compile(
    r"(?:.*_)?(?:api_?key|access_?key|secret(?:_?key)?|passwd|password|passphrase|credentials?|authorization)"
    r"|(?:(?:hf|api|auth|use_auth|access|bearer|refresh|session|wandb|hub|private)_)*token",
    re.IGNORECASE,
)
"""Names of options and variables whose values are secret: `api_key` and `token`, but not `pad_token`."""
VARIABLE = re.compile(r".*(?:APIKEY|ACCESSKEY|_KEY|_PAT|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)", re.IGNORECASE)
"""Names of environment variables whose values are secret."""
USER_OF_ADDRESS = re.compile(r"(?<=://)[^/\s@'\"]+:[^/\s@'\"]*(?=@)")
"""A user name and a password in an address."""
HEADER = re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}")
"""A token in a header of HTTP."""
SHORTEST = 8
"""Characters of the shortest secret; a shorter one is a dummy ('none', 'x'), which may be part of any text."""
REMOVED = "***"


def is_secret_name(name: str) -> bool:
    """Whether an option of this name has a secret value."""
    return NAME.fullmatch(name.replace("-", "_")) is not None


def secrets() -> Iterator[tuple[str, str]]:
    """The environment variables with secret values: their names and values."""
    for name, value in os.environ.items():
        if len(value.strip()) >= SHORTEST and VARIABLE.fullmatch(name):
            yield name, value.strip()


def redacted(text: str) -> str:
    """A text without the secrets of the environment, and without passwords in addresses."""
    for _, value in secrets():
        text = text.replace(value, REMOVED)
    if "://" in text:
        text = USER_OF_ADDRESS.sub(REMOVED, text)
    return HEADER.sub(REMOVED, text)


def print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an error that nothing has handled, as Python does, but without secrets; for `sys.excepthook`."""
    text = "".join(traceback.format_exception(kind, error, trace))
    print(redacted(text), end="", file=sys.stderr, flush=True)
