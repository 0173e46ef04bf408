"""One line a violation: what a data set does, and what the line says."""

import json
import re
from pathlib import Path

import pytest

from tests.contract.data_sets import KEPT

LOADED = {
    "none": r"Loaded\.load_split.*None",
    "texts": r"Loaded\.load_split.*list",
    "pairs": r"Loaded\.load_split.*list",
    "dataset_dict": r"Loaded\.load_split.*DatasetDict",
    "series": r"Loaded\.load_split.*Series",
    "path": r"Loaded\.load_split.*str",
    "uneven_columns": r"Loaded\.load_split",
    "no_text": r".*'text'",
    "no_label": r".*'label'",
    "label_out_of_range": r".*2",
    "unknown_label": r".*'snowy'",
    "labels_in_lists": r".*label",
    "texts_in_lists": r".*text",
}
CLASSES = {
    "NoLabelNames": r"NoLabelNames.*label_names",
    "OneString": r"OneString.*label_names.*'dry wet'",
    "OneLabel": r".*label_names",
    "NoLabels": r".*label_names",
    "SameLabels": r".*'dry'",
    "SetOfLabels": r"SetOfLabels.*label_names.*set",
    "NoSource": r"NoSource.*(hub_id|load_split)",
    "NoSuper": r"NoSuper.*super\(\)\.__init__",
}


@pytest.mark.parametrize("kind", LOADED)
def test_splits_that_are_no_rows(kind, refused):
    line = refused("test", "basis.Uniform", "data_sets.Loaded", "--data.kind", kind)
    assert re.match(LOADED[kind], line), line


@pytest.mark.parametrize("name", CLASSES)
def test_classes_that_lack_something(name, refused):
    line = refused("test", "basis.Uniform", f"data_sets.{name}")
    assert re.match(CLASSES[name], line), line


@pytest.mark.parametrize("kind", KEPT)
def test_splits_that_are_right(kind, run):
    code, _, errors = run("test", "basis.Uniform", "data_sets.Loaded", "--data.kind", kind)
    assert code == 0, errors
    assert json.loads(Path("run/report/metrics.json").read_text())["test/accuracy"] == pytest.approx(17 / 33)
