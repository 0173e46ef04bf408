"""Values from files that anybody may have written: JSON and YAML without code, within limits of depth and size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import yaml

MOST_LEVELS = 100
"""Lists and objects inside each other, at most: each level takes some calls of a recursive function."""
MOST_VALUES = 1_000_000
"""Values, at most, each counted as often as it occurs: a few aliases of YAML, or shared lists, can make billions."""
MOST_DIGITS = 300
"""Digits of a whole number in JSON, at most: a longer one is no float."""


def _whole_number(digits: str) -> int:
    """A whole number; ValueError for one that is larger than any float, which no file of ours has."""
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it has a number of more than {MOST_DIGITS} digits")
    return int(digits)


def _decode(text: str | bytes) -> Any:
    return json.loads(text, parse_int=_whole_number)


def parse_json(text: str | bytes, decode: Callable[[Any], Any] = _decode) -> Any:
    """Reads JSON.

    Args:
        text: The JSON.
        decode: What parses it.

    Raises:
        ValueError: It is not JSON, its values are nested in more than `MOST_LEVELS` levels, or a whole number has more
            than `MOST_DIGITS` digits.
    """
    try:
        value = decode(text)
    except RecursionError:
        raise ValueError(f"it has more than {MOST_LEVELS} levels of nested values") from None
    brackets = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if brackets > MOST_LEVELS:  # counting is faster than a look at all values
        check_size(value, most=len(text))
    return value


def _entries(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple) else ()


def check_size(value: Any, entries_of: Callable[[Any], Iterable[Any]] = _entries, most: int = MOST_VALUES) -> None:
    """Refuses nested values that are too deep or too many, so that what follows may be recursive, and copy them.

    Args:
        value: Lists, tuples and dictionaries of such, and other values.
        entries_of: Gives the values in a value.
        most: The largest number of values, each counted as often as it occurs.

    Raises:
        ValueError: There are more than `MOST_LEVELS` levels or `most` values, or a value contains itself.
    """
    counts: dict[int, int | None] = {}  # by `id`; None for a value whose entries are being counted

    def count(value: Any, level: int) -> int:
        entries = entries_of(value)
        if not entries:
            return 1
        if id(value) not in counts:
            if level > MOST_LEVELS:
                raise ValueError(f"it has more than {MOST_LEVELS} levels of nested values")
            counts[id(value)] = None
            counts[id(value)] = 1 + sum(count(entry, level + 1) for entry in entries)
        found = counts[id(value)]
        if found is None:
            raise ValueError("a value contains itself")
        if found > most:
            raise ValueError(f"it has more than {most:,} values")
        return found

    count(value, 1)


def _entries_of_node(node: yaml.Node) -> list[Any]:
    if isinstance(node, yaml.ScalarNode):
        return []
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    found: list[Any] = node.value
    return found


class LimitedLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """PyYAML's safe loader, for texts that are not too deep and not too large once aliases are resolved."""

    def get_single_node(self) -> Any:
        """Reads the text as nodes, and refuses them before they are made into values."""
        node = super().get_single_node()
        if node is not None:
            try:
                check_size(node, _entries_of_node)
            except ValueError as error:
                raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None
        return node


def parse_yaml(text: str, loader: type[LimitedLoader] = LimitedLoader) -> Any:
    """Reads YAML; no tag of it can name a class.

    Args:
        text: The YAML.
        loader: What reads it.

    Raises:
        yaml.YAMLError: It is not YAML, has a value that is not what its tag says, or is too deep or too large.
    """
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError(f"it has more than {MOST_LEVELS} levels of nested values") from None
    except Exception as error:  # constructors raise errors of many kinds, such as for `!!int x`
        raise yaml.YAMLError(f"a value cannot be read ({type(error).__name__}: {error})") from error
