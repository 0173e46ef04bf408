"""Importing what a configuration names by its path, such as `mypkg.rules.mine`."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from textclf.errors import UserError


def search_current_folder() -> None:
    """Lets modules in the current folder be imported, as under `python -m`.

    A console script, and a script that is started by its path, look for modules in their own folder instead. Where
    Python is told to search neither (`PYTHONSAFEPATH`, `-P`, `-I`), nothing is added.
    """
    if not sys.flags.safe_path and "" not in sys.path:
        sys.path.insert(0, "")


def import_path(path: str, option: str) -> Any:
    """Imports what a dotted path names: a module, then attributes of it.

    Args:
        path: Such as `mypkg.rules.mine`.
        option: What the path was given for; errors name it.

    Raises:
        UserError: There is no such module, or it has no such attribute. An error inside the module is raised as it is.
    """
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module of one's own may fail to import another one: that error is not about this path.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UserError(
            f"{option} {path!r}: there is no module {error.name!r}: check the path, and that the folder it is in is on "
            "PYTHONPATH"
        ) from error
    except ValueError as error:  # an empty part, as in `a..b`
        raise UserError(f"{option} {path!r} is no path: write it as mypkg.module.name") from error
    if not hasattr(module, name):
        raise UserError(f"{option} {path!r}: the module {module_name!r} has no {name!r}")
    return getattr(module, name)
