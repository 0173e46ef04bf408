import numpy as np
import pytest
from datasets import Dataset

from textclf.findings.planted_errors import measure_planted_errors, plant_errors
from textclf.findings.rows import ExploredSplit


@pytest.mark.parametrize(("share", "planted"), [(0, 0), (0.02, 10), (0.1, 50), (0.999, 500)])
def test_as_many_rows_as_asked_for_get_another_label(share, planted):
    labels = np.arange(500) % 3
    given, wrong = plant_errors(labels, share, 3, seed=1)
    assert wrong.sum() == planted
    assert np.array_equal(wrong, given != labels)
    assert set(given.tolist()) <= {0, 1, 2}
    assert np.array_equal(plant_errors(labels, share, 3, seed=1)[0], given)
    if 0 < planted < 500:
        assert not np.array_equal(plant_errors(labels, share, 3, seed=2)[1], wrong)


def test_planted_errors_among_easy_rows_are_found():
    draw = np.random.default_rng(0)
    words = ("goal match team", "atom cell gene", "song band drum")
    labels = np.arange(240) % 3
    texts = [" ".join([*draw.choice(words[label].split(), 3), str(row)]) for row, label in enumerate(labels)]
    rows = Dataset.from_dict({"id": list(map(str, range(240))), "text": texts, "label": labels.tolist()})
    found = measure_planted_errors(ExploredSplit("train", rows, ("a", "b", "c")), 0.05, seeds=(0, 1))
    assert (found["rows"], found["planted"]) == (240, 12)
    assert found["agreement"] == pytest.approx(0.95, abs=0.01)
    assert found["precision"] > 0.9
    assert found["recall"] > 0.9
    assert found["first_precision"] > 0.9
    assert found["recall"] >= found["cleanlab_recall"]
