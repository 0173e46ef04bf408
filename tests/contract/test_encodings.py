"""One line a violation: the command, what `encode` or `collate` gives, and what the line says."""

import re

import pytest

from tests.contract.encodings import BATCHES, BATCHES_KEPT, KEPT

ENCODED = [
    ("test", "without_length", "'?length'?"),
    ("predict", "without_length", "'?length'?"),
    ("test", "length_of_0", "length.* 0.*1"),
    ("predict", "length_of_empty_texts", "length.*-"),
    ("test", "length_in_floats", "length.*float.*whole number"),
    ("test", "length_in_words", "length.*str.*whole number"),
    ("test", "length_none", "length.*None"),
    ("test", "length_nested", "length.*list"),
    ("test", "length_in_bools", "length.*bool"),
    ("test", "one_length", "length.*int"),
    ("test", "fewer_rows", "32.*33"),
    ("predict", "fewer_rows", "2.*3"),
    ("test", "more_rows", "66.*33"),
    ("test", "no_rows", "0.*33"),
    ("test", "columns_of_two_lengths", "ids.*1.*33"),
    ("test", "id", "id"),
    ("test", "text", "text"),
    ("predict", "text", "text"),
    ("test", "text_pair", "text_pair"),
    ("test", "row", "row"),
    ("test", "label", "label"),
    ("test", "labels", "labels"),
    ("test", "filler", "filler"),
    ("test", "its_input", "text"),
    ("test", "none", "None"),
    ("test", "list_of_rows", "list"),
    ("test", "list_of_lengths", "list"),
    ("predict", "list_of_lengths", "list"),
    ("test", "tuple", "tuple"),
    ("test", "generator", "generator"),
    ("test", "set_per_row", "letters.*set"),
    ("test", "object_per_row", "made.*object"),
    ("test", "two_types", "x"),
    ("test", "number_as_name", "0"),
    ("test", "scalar_tensor", "length"),
    ("test", "nothing", "length"),
    ("predict", "nothing", "length"),
    ("test", "column_of_none", "extra.*None"),
    ("test", "text_as_column", "extra.*str"),
    ("test", "mapping_as_column", "extra.*dict"),
    ("test", "function_as_column", "extra"),
    ("test", "tensors_of_two_batches", "ids.*1.*33"),
]
COLLATED = {
    "list": "list",
    "tuple": "tuple",
    "tensor": "Tensor",
    "none": "None",
    "list_of_rows": "list",
    "id": "id",
    "row": "row",
    "labels": "labels",
    "filler": "filler",
}


@pytest.mark.parametrize(("command", "kind", "says"), ENCODED)
def test_encodings_that_are_not_fields_of_rows(command, kind, says, refused):
    line = refused(command, "encodings.Encoded", "basis.Forecasts", "--model.kind", kind)
    assert re.match(rf"Encoded\.encode gave .*{says}", line), line


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.parametrize("kind", BATCHES)
def test_batches_that_are_no_batches(command, kind, refused):
    line = refused(command, "encodings.Collated", "basis.Forecasts", "--model.kind", kind)
    assert re.match(rf"Collated\.collate gave .*{COLLATED[kind]}", line), line


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.parametrize("kind", BATCHES_KEPT)
def test_batches_that_are_right(command, kind, run):
    code, _, errors = run(command, "encodings.Collated", "basis.Forecasts", "--model.kind", kind)
    assert code == 0, errors


@pytest.mark.parametrize("command", ["test", "predict"])
@pytest.mark.parametrize("kind", KEPT)
def test_encodings_that_are_right(command, kind, run):
    code, _, errors = run(command, "encodings.Encoded", "basis.Forecasts", "--model.kind", kind)
    assert code == 0, errors
