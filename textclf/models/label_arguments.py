"""Arguments that are given by label name: class weights, priors, words and texts of the classes, and label maps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

from textclf.data.labels import listed, near_known, normalized_name
from textclf.errors import UserError
from textclf.scoring.rules import Array

T = TypeVar("T")
ClassWeights = Literal["balanced"] | dict[str, float] | None


def label_named(argument: str, name: str, label_names: Sequence[str]) -> str:
    """Finds the label that an argument names, in any Unicode normal form and with any surrounding white space.

    Args:
        argument: The argument's name, for the message.
        name: As the user wrote it.
        label_names: Name of each class, as `textclf.data.labels.normalized_name` spells it.

    Raises:
        UserError: It is none of `label_names`.
    """
    normalized = normalized_name(str(name))  # from Python, a label such as `0` may be given as a number
    if normalized not in label_names:
        near = near_known(normalized, label_names)
        raise UserError(
            f"{argument} names {name!r}, which is not a label: the labels are {', '.join(label_names)}{near}"
        )
    return normalized


def by_label_name(
    argument: str, given: Mapping[str, T], label_names: Sequence[str], *, complete: bool = False
) -> dict[str, T]:
    """Returns the entries of an argument under the names as `label_names` has them.

    Args:
        argument: The argument's name, for messages.
        given: From label names to entries.
        label_names: Name of each class, as `textclf.data.labels.normalized_name` spells it.
        complete: Whether every label needs an entry.

    Raises:
        UserError: A name is not a label, a label is named twice, or, where all are needed, left out.
    """
    result: dict[str, T] = {}
    for name, entry in given.items():
        label = label_named(argument, name, label_names)
        if label in result:
            raise UserError(f"{argument} names {label!r} twice, in two spellings: give it once")
        result[label] = entry
    if complete:
        for name in label_names:
            if name not in result:
                raise UserError(f"{argument} leaves out {name!r}: give one for each of {', '.join(label_names)}")
    return result


def positive_by_label_name(
    argument: str, given: Mapping[str, float], label_names: Sequence[str], *, complete: bool = False
) -> dict[str, float]:
    """Returns the numbers of an argument by label name; arguments as for `by_label_name`.

    Raises:
        UserError: As `by_label_name`, or a number is not above 0.
    """
    result = by_label_name(argument, given, label_names, complete=complete)
    for name, number in result.items():
        if not isinstance(number, int | float) or not 0 < number < float("inf"):
            raise UserError(f"{argument} gives {name} {number}: give a number above 0 for {name!r}")
    return result


def texts_by_label_name(
    argument: str, given: Mapping[str, str | list[str]], label_names: Sequence[str]
) -> dict[str, list[str]]:
    """Returns the texts of each label, one or several, as lists; arguments as for `by_label_name`.

    Raises:
        UserError: A name is not a label, or a label has no text.
    """
    entries = by_label_name(argument, given, label_names, complete=True)
    result: dict[str, list[str]] = {}
    for name, entry in entries.items():
        result[name] = [entry] if isinstance(entry, str) else list(entry)
        if not result[name]:
            raise UserError(f"{argument} has nothing for {name!r}: give one text or more")
    return result


# Class weights and priors


def check_class_weights(class_weights: ClassWeights, label_names: Sequence[str]) -> ClassWeights:
    """Checks weights of the classes in the loss; weights by name are returned under the names of `label_names`.

    Raises:
        UserError: A name is not a label, or a weight is not above 0.
    """
    if isinstance(class_weights, dict):
        return positive_by_label_name("class_weights", class_weights, label_names)
    return class_weights


def weights_in_loss(class_weights: ClassWeights, label_names: Sequence[str], counts: Sequence[int]) -> list[float]:
    """Weight of each class in the loss, in the order of `label_names`.

    Args:
        class_weights: Weights by name, 1 for classes that are not named; or `balanced`, scikit-learn's
            rows / (classes * count); None for 1 for each class.
        label_names: Names of the classes.
        counts: Train rows of each of them; only `balanced` uses them.
    """
    if class_weights is None:
        return [1.0] * len(label_names)
    if class_weights == "balanced":
        rows, classes = sum(counts), len(counts)
        return [rows / (classes * max(1, count)) for count in counts]  # a class without rows is never a target
    return [float(class_weights.get(name, 1.0)) for name in label_names]


def class_shares(prior: Mapping[str, float] | None, label_names: Sequence[str]) -> Array | None:
    """Shares of the classes, in the order of `label_names`, float64; None where none are given.

    Raises:
        UserError: A name is not a label, a label has no share, or a share is not above 0.
    """
    if prior is None:
        return None
    shares = positive_by_label_name("prior", prior, label_names, complete=True)
    return np.array([shares[name] for name in label_names], dtype=np.float64)


# Label words and label maps


def words_of(words: Mapping[str, str | list[str]] | None, label_names: Sequence[str]) -> list[list[str]]:
    """The label words of each class, in the order of `label_names`; the names themselves where none are given.

    Raises:
        UserError: A name is not a label, a label has no word, or a word is empty.
    """
    if words is None:
        return [[name] for name in label_names]
    lists = texts_by_label_name("label_words", words, label_names)
    for name, class_words in lists.items():
        if not all(class_words):
            raise UserError(f"label_words gives {name!r} {class_words!r}: give words that are not empty")
    return [lists[name] for name in label_names]


def folded(name: str) -> str:
    """A name without regard to case and to how its words are separated: `Very Good` is `very_good`.

    Characters are composed (NFC) first.
    """
    return re.sub(r"[\s_]+", " ", normalized_name(name)).strip().casefold()


def map_labels(
    model_labels: Sequence[str], label_names: Sequence[str], label_map: Mapping[str, str | None] | None = None
) -> list[int | None]:
    """Finds the data's label for each label of a ready-made model.

    Args:
        model_labels: The model's labels.
        label_names: The data's labels.
        label_map: From the model's labels to the data's, or to None for a label that is left out; labels that it does
            not name are matched by name.

    Returns:
        For each label of the model the index of the data's label, or None.

    Raises:
        UserError: A label of the model fits none of the data's, a label of the data is never reached, or the map names
            a label that does not exist.
    """
    both = f"the model's labels are {', '.join(model_labels)}; the data's are {', '.join(label_names)}"
    model_indices = _indices_by_folded_name(model_labels, both)
    data_indices = _indices_by_folded_name(label_names, both)
    targets: dict[int, int | None] = {}
    for key, i in model_indices.items():
        if key in data_indices:
            targets[i] = data_indices[key]
    for given, target in (label_map or {}).items():
        name = str(given)  # from Python, a label such as `0` may be given as a number
        if folded(name) not in model_indices:
            near = near_known(name, model_labels)
            raise UserError(f"label_map names {name!r}, which is not a label of the model: {both}{near}")
        if target is not None and folded(target) not in data_indices:
            near = near_known(target, label_names)
            raise UserError(f"label_map maps {name!r} to {target!r}, which is not a label of the data: {both}{near}")
        targets[model_indices[folded(name)]] = None if target is None else data_indices[folded(target)]
    unmatched = [name for i, name in enumerate(model_labels) if i not in targets]
    if unmatched:
        names = listed(unmatched, label_names)
        raise UserError(f"{names} cannot be mapped by name: {both}; pass label_map {{theirs: ours or null}}")
    unreached = [name for i, name in enumerate(label_names) if i not in targets.values()]
    if unreached:
        raise UserError(f"no label of the model means {', '.join(unreached)}: {both}; pass label_map {{theirs: ours}}")
    return [targets[i] for i in range(len(model_labels))]


def _indices_by_folded_name(names: Sequence[str], both: str) -> dict[str, int]:
    indices = {folded(name): i for i, name in enumerate(names)}
    if len(indices) < len(names):
        raise UserError(f"two labels differ only in case or spaces: {both}; rename one of them")
    return indices
