"""Dividing rows by seed and stratum."""

import numpy as np


def stratified_split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides rows so that each class gives the same share; the same on every machine.

    A class of one row stays in the first part: nothing can be learnt from a class that was held out whole.

    Args:
        labels: Class of each row, shape `(rows,)`.
        share: Of each class that goes to the second part.
        seed: Of the draw.

    Returns:
        Row numbers of the two parts, each in ascending order.
    """
    generator = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held.append(members[: min(round(len(members) * share), len(members) - 1)])
    second = np.sort(np.concatenate(held)) if held else np.empty(0, dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), second), second
