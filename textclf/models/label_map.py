"""From a ready-made model's labels to the data's, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from textclf.data.labels import listed, near_known, normalized_name
from textclf.errors import UserError


def folded(name: str) -> str:
    """A name without regard to case and to how its words are set apart: `Very Good` is `very_good`.

    Characters are composed first.
    """
    return re.sub(r"[\s_]+", " ", normalized_name(name)).strip().casefold()


def map_labels(
    theirs: Sequence[str], ours: Sequence[str], label_map: Mapping[str, str | None] | None = None
) -> list[int | None]:
    """Finds the data's label for each label of a model.

    Args:
        theirs: The model's labels.
        ours: The data's labels.
        label_map: From theirs to ours, or to None for a label that is left out; what it does not name is matched by
            name.

    Returns:
        For each of theirs the index of ours, or None.

    Raises:
        UserError: One of theirs fits none of ours, one of ours is never meant, or the map names a label that is not
            there.
    """
    lists = f"the model's labels are {', '.join(theirs)}; the data's are {', '.join(ours)}"
    their_places, our_places = _places(theirs, lists), _places(ours, lists)
    targets: dict[int, int | None] = {i: our_places[key] for key, i in their_places.items() if key in our_places}
    for given, target in (label_map or {}).items():
        name = str(given)  # from Python a label such as `0` may come as a number
        if folded(name) not in their_places:
            near = near_known(name, theirs)
            raise UserError(f"label_map names {name!r}, which is no label of the model: {lists}{near}")
        if target is not None and folded(target) not in our_places:
            near = near_known(target, ours)
            raise UserError(f"label_map maps {name!r} to {target!r}, which is no label of the data: {lists}{near}")
        targets[their_places[folded(name)]] = None if target is None else our_places[folded(target)]
    if lost := [name for i, name in enumerate(theirs) if i not in targets]:
        names = listed(lost, ours)
        raise UserError(f"{names} cannot be mapped by name: {lists}; pass label_map {{theirs: ours or null}}")
    if unmet := [name for i, name in enumerate(ours) if i not in targets.values()]:
        raise UserError(f"no label of the model means {', '.join(unmet)}: {lists}; pass label_map {{theirs: ours}}")
    return [targets[i] for i in range(len(theirs))]


def _places(names: Sequence[str], lists: str) -> dict[str, int]:
    places = {folded(name): i for i, name in enumerate(names)}
    if len(places) < len(names):
        raise UserError(f"two labels differ in case or spaces alone: {lists}; name them otherwise")
    return places
