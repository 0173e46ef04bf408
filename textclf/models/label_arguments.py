"""Arguments that are given by label name, such as weights, words and texts of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from textclf.data.labels import near_known, normalized_name
from textclf.errors import UserError

T = TypeVar("T")


def label_named(argument: str, name: str, label_names: Sequence[str]) -> str:
    """Finds the label that an argument names, however the name is composed and whatever white space is around it.

    Args:
        argument: The argument's name, for the message.
        name: As the person wrote it.
        label_names: Name of each class, as `textclf.data.labels.normalized_name` spells it.

    Raises:
        UserError: It is none of `label_names`.
    """
    tidy = normalized_name(str(name))
    if tidy not in label_names:
        near = near_known(tidy, label_names)
        raise UserError(f"{argument} names {name!r}, which is no label: the labels are {', '.join(label_names)}{near}")
    return tidy


def by_label_name(
    argument: str, given: Mapping[str, T], label_names: Sequence[str], *, complete: bool = False
) -> dict[str, T]:
    """Gives the entries of an argument under the names as `label_names` has them.

    Args:
        argument: The argument's name, for messages.
        given: From label names to entries.
        label_names: Name of each class, as `textclf.data.labels.normalized_name` spells it.
        complete: Whether every label needs an entry.

    Raises:
        UserError: A name is no label, a label is named twice, or, where all are needed, left out.
    """
    result: dict[str, T] = {}
    for name, entry in given.items():
        label = label_named(argument, name, label_names)
        if label in result:
            raise UserError(f"{argument} names {label!r} twice, in two spellings: give it once")
        result[label] = entry
    missing = [name for name in label_names if name not in result]
    if missing and complete:
        raise UserError(f"{argument} leaves out {missing[0]!r}: give one for each of {', '.join(label_names)}")
    return result


def class_weights_by_name(weights: Mapping[str, float], label_names: Sequence[str]) -> dict[str, float]:
    """Gives the weights of the classes in the loss by label name.

    Raises:
        UserError: A name is no label, or a weight is not above 0.
    """
    result = by_label_name("class_weights", weights, label_names)
    for name, weight in result.items():
        if not 0 < weight < float("inf"):
            raise UserError(f"class_weights gives {name} {weight}: give a number above 0")
    return result
