"""What configurations and checkpoints import is said before it is imported: somebody else may have written them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from textclf.classes.paths import CLASS_KEYS, DOTTED
from textclf.console import say
from textclf.errors import UserError
from textclf.run.yaml_values import is_inline, read_config

KNOWN = ("textclf", "lightning", "torch", "torchmetrics")
"""Packages whose import is not reported."""
IMPORT_KEYS = (*CLASS_KEYS, "accelerator", "cleaning", "metrics", "plugins", "profiler", "rule", "strategy")
"""Keys of a configuration whose values are dotted paths that are imported."""
FILE_KEYS = ("data", "model", "trainer")
"""Keys of a configuration whose values may be the paths of other configurations."""


def say_imports(arguments: Sequence[str], checkpoint: Mapping[str, Any] | None, checkpoint_path: Path | None) -> None:
    """Reports each module outside of `KNOWN` that a file names, once; what the user typed is not reported.

    Args:
        arguments: Those of a command, as they were typed.
        checkpoint: As `read_checkpoint` gives it; None without one.
        checkpoint_path: Its path.
    """
    sources: dict[str, str] = {}
    for option, following in pairwise([*arguments, ""]):
        name, equals, value = option.partition("=")
        given = value if equals else following
        if name not in ("-c", "--config") or is_inline(given):
            continue
        with suppress(UserError):  # the parser reports a file that cannot be read
            for path in paths_in(read_config(given), Path(given).parent):
                sources.setdefault(path.partition(".")[0], given)
    if checkpoint is not None:
        facts = {name: value for name, value in checkpoint["textclf"].items() if name != "fitted"}
        for path in paths_in([facts, checkpoint["hyper_parameters"]]):
            sources.setdefault(path.partition(".")[0], str(checkpoint_path))
    for module, source in sources.items():
        if module not in KNOWN and (place := _place(module)) is not None:
            say(f"note: imports {module} ({place}), which {source} names")


def paths_in(config: Any, folder: Path | None = None, key: str = "") -> Iterator[str]:
    """The dotted paths in a configuration that are imported.

    Args:
        config: Nested dictionaries and lists.
        folder: The folder of the file, in which other configurations are found that it names.
        key: The key of `config` in the configuration around it.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from paths_in(value, folder, str(name).removesuffix("+"))
    elif isinstance(config, list | tuple):
        for value in config:
            yield from paths_in(value, folder, key)
    elif isinstance(config, str):
        if folder is not None and key in FILE_KEYS and (folder / config).is_file():
            yield from paths_in(read_config(folder / config), folder, key)
        elif key in IMPORT_KEYS and DOTTED.fullmatch(config):
            yield config


def _place(module: str) -> str | None:
    """The file of a module, which is not imported for this; None if there is no such module."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or []), "built in")
