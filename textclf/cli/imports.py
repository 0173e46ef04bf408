"""What configurations and checkpoints import is said before it is imported: somebody else may have written them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from textclf.classes.paths import CLASS_KEYS, DOTTED
from textclf.console import say
from textclf.data.encodings import text_encoding
from textclf.errors import UserError
from textclf.run.yaml_values import is_inline, load, read_config_or_text

KNOWN = ("textclf", "lightning", "torch", "torchmetrics")
"""Packages whose import is not reported."""
IMPORT_KEYS = (*CLASS_KEYS, "accelerator", "cleaning", "metrics", "plugins", "profiler", "rule", "strategy")
"""Keys of a configuration whose values are dotted paths that are imported."""
FILE_KEYS = (*IMPORT_KEYS, "trainer")
"""Keys of a configuration, and ends of options, whose values may be the paths of other configurations."""
REMOTE_CODE = "trust_remote_code"


class Import(NamedTuple):
    """What is imported.

    Attributes:
        path: A dotted path, or `REMOTE_CODE` for the code that comes with a model.
        source: The file that names it; None for what the user typed.
    """

    path: str
    source: str | None


def say_imports(arguments: Sequence[str], checkpoint: Mapping[str, Any] | None, checkpoint_path: Path | None) -> None:
    """Reports each module outside of `KNOWN` that a file names, once; what the user typed is not reported.

    Args:
        arguments: Those of a command, as they were typed.
        checkpoint: As `read_checkpoint` gives it; None without one.
        checkpoint_path: Its path.
    """
    found = list(_imports_of_options(arguments))
    if checkpoint is not None:
        facts = {name: value for name, value in checkpoint["textclf"].items() if name != "fitted"}
        found += imports_in([facts, checkpoint["hyper_parameters"]], None, str(checkpoint_path))
    sources: dict[str, str] = {}
    for path, source in found:
        if source is not None:
            sources.setdefault(path.partition(".")[0], source)
    for module, source in sources.items():
        if module == REMOTE_CODE:
            say(f"note: runs code that comes with a model: {source} sets {REMOTE_CODE}")
        elif module not in KNOWN and (place := _place(module)) is not None:
            say(f"note: imports {module} ({place}), which {source} names")


def _imports_of_options(arguments: Sequence[str]) -> Iterator[Import]:
    for option, following in pairwise([*arguments, ""]):
        name, equals, value = option.partition("=")
        given = value if equals else following
        if name in ("-c", "--config") and is_inline(given):
            with suppress(UserError):  # the parser reports it
                yield from imports_in(read_config_or_text(given), Path(), None)
        elif name in ("-c", "--config"):
            yield from _imports_in_file(Path(given), "", ())
        elif name.startswith("--"):
            yield from imports_in(given, Path(), None, _last_key(name))


def imports_in(
    config: Any, folder: Path | None, source: str | None, key: str = "", outer: tuple[Path, ...] = ()
) -> Iterator[Import]:
    """The dotted paths in a configuration that are imported, and those in the configurations that it names.

    Args:
        config: Nested dictionaries and lists.
        folder: The folder in which other configurations are found that it names; None if it cannot name any.
        source: Its file; None for what the user typed.
        key: The key of `config` in the configuration around it.
        outer: The files around it.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            if name == REMOTE_CODE and value is True:
                yield Import(REMOTE_CODE, source)
            yield from imports_in(value, folder, source, _last_key(str(name)), outer)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from imports_in(value, folder, source, key, outer)
    elif isinstance(config, str):
        file = None if folder is None else folder / config
        if file is not None and key in FILE_KEYS and _is_file(file):
            yield from _imports_in_file(file, key, outer)
        elif key in IMPORT_KEYS and DOTTED.fullmatch(config):
            yield Import(config, source)


def _imports_in_file(file: Path, key: str, outer: tuple[Path, ...]) -> Iterator[Import]:
    if file.resolve() in outer:  # the parser reports a file that names itself
        return
    with suppress(OSError, ValueError, yaml.YAMLError):  # the parser reports a file that cannot be read
        config = load(file.read_text(encoding=text_encoding(file)))
        yield from imports_in(config, file.parent, str(file), key, (*outer, file.resolve()))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a long text, or one with NUL
        return False


def _last_key(name: str) -> str:
    """The last part of an option's name, or a key: `--trainer.callbacks+` adds to the list `callbacks`."""
    return name.removeprefix("--").removesuffix("+").rpartition(".")[2]


def _place(module: str) -> str | None:
    """The file of a module, which is not imported for this; None if there is no such module."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or []), "built in")
