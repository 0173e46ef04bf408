"""Checks of methods' arguments: ranges, and settings given as a dictionary, such as `encoder_config`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from textclf.errors import UserError, check_range

T = TypeVar("T")
KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "int": ("a whole number", int),
    "float": ("a number", (int, float)),
    "bool": ("true or false", bool),
}
"""Annotations whose values are checked: what the message asks for, and the types that are allowed."""


def build_settings(kind: type[T], argument: str, values: Mapping[str, Any]) -> T:
    """Builds a dataclass of settings from a dictionary.

    Args:
        kind: The dataclass; its defaults apply to keys that `values` leaves out.
        argument: The argument that the dictionary was given as, for messages.
        values: The dictionary.

    Raises:
        UserError: A key is not a field of the dataclass, or a value has the wrong type.
    """
    annotations = {field.name: str(field.type) for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass, always
    for key, value in values.items():
        if key not in annotations:
            raise UserError(f"{argument} has no {key!r}: its keys are {', '.join(annotations)}")
        annotation = annotations[key]
        wanted, types = KINDS.get(annotation, ("", object))
        # In Python `True` is an int: it must not pass for a number.
        bool_as_number = isinstance(value, bool) and annotation != "bool"
        if bool_as_number or not isinstance(value, types):
            raise UserError(f"{argument}: {key} is {value!r}: give {wanted}")
    return kind(**values)


def check_temperature(temperature: float) -> None:
    """Refuses a temperature that is not above 0.

    Raises:
        UserError: It is not.
    """
    check_range("temperature", temperature, 0 < temperature < math.inf, "a number above 0, such as 0.05")
