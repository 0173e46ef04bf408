"""Hashes are keys of caches, and are written down: their values stay what they are."""

import pytest
import torch
from datasets import Dataset
from torch import nn

from textclf.hashing import (
    CHECKSUM_BYTES,
    checksum,
    file_hash,
    rows_hash,
    short_hash,
    text_hash,
    text_key,
    value_hash,
    weights_hash,
)


def test_values_of_hashes(tmp_path):
    rows = Dataset.from_dict({"text": ["좋다", "a", ""], "label": [1, 0, 1]})
    value = {"a": [1, "b", b"x", None], "t": torch.ones(2, 3)}
    (tmp_path / "file").write_bytes(b"abc")
    assert value_hash(value) == "ff79488a7eb3b76a6d9b28cc8dc906e92edda69c916f63a55d2395f8bf4bb1c8"
    assert text_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert rows_hash(rows) == "127cf2c8575e70884992b9674d0282cd"
    assert text_key("긍정\ud800").hex() == "ee4e64c0d45baa7b369b1f41a404a160"
    assert short_hash(b"abc").hex() == file_hash(tmp_path / "file") == "06b05ab6733a618578af5f94892f3950"
    assert checksum(b"kabc").hex() == "bc85b0892b031e8b"
    assert len(checksum(b"")) == CHECKSUM_BYTES


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, "2"], [1, 2]),
        ([b"x"], ["x"]),
        ({"a": torch.zeros(2, 3)}, {"a": torch.zeros(3, 2)}),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
    ],
)
def test_different_values_have_different_hashes(one, other):
    assert value_hash(one) != value_hash(other)


def test_the_order_of_a_dictionary_and_the_layout_of_a_tensor_change_nothing():
    matrix = torch.arange(6.0).view(2, 3)
    assert value_hash({"a": 1, "b": matrix}) == value_hash({"b": matrix.T.contiguous().T, "a": 1})


def test_there_is_no_hash_of_an_object():
    with pytest.raises(TypeError, match="no hash of a set"):
        value_hash([{1, 2}])


def test_weights_are_hashed_with_their_names_and_types():
    layer = nn.Linear(2, 2)
    hashes = {weights_hash(each) for each in (layer, nn.Sequential(layer), nn.Linear(2, 2), nn.Linear(2, 2).half())}
    assert len(hashes) == 4
    assert weights_hash(layer) in hashes


def test_a_tensor_of_one_entry_and_any_stride():
    sliced = torch.arange(6.0)[3::3]
    assert sliced.stride() == (3,)
    assert value_hash(sliced) == value_hash(torch.tensor([3.0]))
