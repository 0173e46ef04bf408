"""The source code of a class, as part of the name of what it computed and was cached."""

import inspect
from uuid import uuid4


def source_of(kind: type) -> str:
    """Gives the source of a class; something new each time where nobody can tell whether it has changed."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # typed into a console
        return uuid4().hex
