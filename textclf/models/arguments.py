"""Checks of methods' arguments: ranges, and settings given as a dictionary, such as `encoder_config`."""

from __future__ import annotations

import math
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


def check_range(argument: str, value: object, valid: bool, allowed: str) -> None:
    """Refuses a value that is out of range.

    Args:
        argument: The argument's name.
        value: Its value.
        valid: Whether the value is in range.
        allowed: The range in words, such as `1 or more`.

    Raises:
        UserError: It is not.
    """
    if not valid:
        raise UserError(f"{argument} {value} is out of range: give {allowed}")


def check_least(argument: str, value: float | None, least: int, hint: str = "") -> None:
    """Refuses a number that is too small; None passes.

    Args:
        argument: The argument's name.
        value: Its value.
        least: The smallest value that is allowed.
        hint: More about the allowed values, appended to the message.

    Raises:
        UserError: It is smaller.
    """
    if value is not None and not value >= least:  # NaN is not in range either
        raise UserError(f"{argument} {value} is too small: give {least} or more{hint}")


def check_temperature(temperature: float) -> None:
    """Refuses a temperature that is not above 0.

    Raises:
        UserError: It is not.
    """
    check_range("temperature", temperature, 0 < temperature < math.inf, "a number above 0, such as 0.05")
