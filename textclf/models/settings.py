"""Settings that are given as a plain dictionary, such as `encoder_config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from textclf.errors import UserError

T = TypeVar("T")
KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "int": ("a whole number", int),
    "float": ("a number", (int, float)),
    "bool": ("true or false", bool),
}


def build_settings(kind: type[T], name: str, values: Mapping[str, Any]) -> T:
    """Makes a dataclass of settings.

    Args:
        kind: The dataclass; its defaults hold for what `values` leaves out.
        name: What the user calls the dictionary.
        values: The dictionary.

    Raises:
        UserError: A key is none of the dataclass, or a value is of another type.
    """
    known = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass, always
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{name} has no {key!r}: its keys are {', '.join(known)}")
        wanted, types = KINDS.get(known[key], ("", object))
        if not isinstance(value, types) or (isinstance(value, bool) and known[key] != "bool"):
            raise UserError(f"{name}: {key} is {value!r}: give {wanted}")
    return kind(**values)
