"""The features with the largest weights of each class, of methods with one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np


class TopFeatures(NamedTuple):
    """The features that speak most for each class.

    Attributes:
        kind: What a feature is: an n-gram, or a direction of the space of embeddings.
        classes: For each class that was trained, features and their weights, the largest first; none without weight.
    """

    kind: Literal["n-grams", "directions"]
    classes: dict[str, list[tuple[str, float]]]


def top_features(
    kind: Literal["n-grams", "directions"],
    features: Sequence[str],
    weights: np.ndarray,
    label_names: Sequence[str],
    number: int,
) -> TopFeatures:
    """Selects the features with the largest positive weights.

    Args:
        kind: What a feature is.
        features: Name of each feature.
        weights: Shape `(classes, features)`; of two classes `(1, features)`, the weights of the second.
        label_names: Name of each class that was trained.
        number: Maximum number of features of a class.
    """
    if len(weights) == 1 and len(label_names) == 2:
        weights = np.concatenate([-weights, weights])
    number = min(number, weights.shape[1])
    classes = {}
    for name, of_class in zip(label_names, weights, strict=True):
        largest = np.argpartition(-of_class, number - 1)[:number]
        largest = largest[np.argsort(-of_class[largest], kind="stable")]
        classes[name] = [(features[i], float(of_class[i])) for i in largest if of_class[i] > 0]
    return TopFeatures(kind, classes)
