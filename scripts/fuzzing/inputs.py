"""Hypothesis strategies for damaged inputs: valid ones with edits, random bytes, and values of unexpected types."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

HOSTILE = (
    (b"", 1),
    (b"\x00", 1),
    (b"\xff\xfe", 1),
    (b"\xef\xbb\xbf", 1),
    (b"\xed\xa0\x80", 1),  # half of a surrogate pair
    (b'"', 1),
    (b"'", 1),
    (b"\r", 1),
    (b"\n\n", 1),
    (b",,,", 1),
    (b"\t", 1),
    (b"=cmd|' /C calc'!A0", 1),
    (b"&a [*a]", 1),
    (b"*a", 1),
    (b"<<: *a", 1),
    (b"!!python/object/apply:os.system ['true']", 1),
    (b"!!timestamp x", 1),
    (b"!!binary x", 1),
    (b"!!int x", 1),
    (b"1e999", 1),
    (b"NaN", 1),
    (b"-Infinity", 1),
    (b"\\ud83d", 1),
    (b"../../x", 1),
    (b"\xff\xff\xff\xff\xff\xff\xff\x7f", 1),
    (b"null", 1),
    (b"{}", 1),
    (b"[]", 1),
    (b"[", 3000),
    (b'{"a":', 3000),
    (b"9", 5000),
    (b"ab ", 30_000),
)
"""What edits insert, each as often as its number says."""


def apply_edits(content: bytes, edits: Sequence[tuple[str, float, float, bytes]]) -> bytes:
    """Changes bytes.

    Args:
        content: The bytes.
        edits: Of each edit its kind, its place and length as shares of the whole, and the bytes to insert.
    """
    for kind, place, length, inserted in edits:
        start = int(place * len(content))
        stop = start + 1 + int(length * 64)
        if kind == "cut":
            content = content[:start]
        elif kind == "delete":
            content = content[:start] + content[stop:]
        elif kind == "repeat":
            content = content[:stop] + content[start:]
        elif kind == "replace":
            content = content[:start] + inserted + content[stop:]
        else:
            content = content[:start] + inserted + content[start:]
    return content


def damaged_bytes(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Valid inputs with up to five edits or none, and random bytes."""
    share = st.floats(0, 1, exclude_max=True)
    inserted = st.sampled_from(HOSTILE).map(lambda repeated: repeated[0] * repeated[1]) | st.binary(max_size=12)
    kind = st.sampled_from(["cut", "delete", "repeat", "replace", "insert"])
    edits = st.lists(st.tuples(kind, share, share, inserted), min_size=1, max_size=5)
    seeds = st.sampled_from(list(valid))
    return st.builds(apply_edits, seeds, edits) | st.binary(max_size=200) | seeds


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "\x00", "\ud83d", "../../x", -1, 2**63, 1e308])
    | st.sampled_from([5_000, 100_000]).map(lambda length: "9" * length)
    | st.just(400).map(lambda digits: 10**digits)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""Values as JSON has them, infinite numbers and half characters included."""


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all entries in nested dictionaries and lists, that of the whole first."""
    found = [path]
    if isinstance(value, dict):
        for name, entry in value.items():
            found += places_in(entry, (*path, name))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            found += places_in(entry, (*path, index))
    return found


def change_entries(valid: Any, changes: Sequence[tuple[int, bool, Any]]) -> Any:
    """A copy of nested dictionaries and lists with some entries replaced or removed.

    Args:
        valid: The value.
        changes: Of each change the number of the entry, whether to remove it, and its new value.
    """
    changed = deepcopy(valid)
    for number, is_removed, value in changes:
        places = places_in(changed)
        path = places[number % len(places)]
        if not path:
            changed = value if number % 7 == 0 else changed
            continue
        parent = changed
        for step in path[:-1]:
            parent = parent[step]
        if is_removed:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
    return changed


def changed_values(valid: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Valid values with up to four entries replaced or removed."""
    change = st.tuples(st.integers(0, 10_000), st.booleans(), values)
    return st.builds(change_entries, st.sampled_from(list(valid)), st.lists(change, min_size=1, max_size=4))


def as_json(value: Any) -> bytes:
    """A value as JSON; half characters are escaped."""
    return json.dumps(value, default=str).encode()


def damaged_json(valid: Sequence[Any], write: Callable[[Any], bytes] = as_json) -> st.SearchStrategy[bytes]:
    """Documents with changed entries, and their text with edits."""
    return changed_values(valid).map(write) | damaged_bytes([write(value) for value in valid])
