"""Where modules of one's own are looked for."""

import sys


def search_current_folder() -> None:
    """Lets modules in the current folder be imported, as under `python -m`.

    A console script, and a script that is started by its path, look for modules in their own folder instead. Where
    Python is told to search neither (`PYTHONSAFEPATH`, `-P`, `-I`), nothing is added.
    """
    if not sys.flags.safe_path and "" not in sys.path:
        sys.path.insert(0, "")
