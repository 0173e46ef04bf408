"""Caches and sizes of models: what is read of transformers without being documented there."""

import pytest
import torch
from transformers import DynamicCache, EncoderDecoderCache, StaticCache, cache_utils

from tests.scoring.tiny import tiny_model
from textclf.scoring import context_length, kv_cache
from textclf.scoring.capabilities import capabilities_of
from textclf.scoring.kv_cache import SHAREABLE_LAYERS, foreign_layers, fork, new_cache, windows
from textclf.scoring.seq2seq import _fork_decoder


def states(tokens, rows=1):
    return torch.randn(rows, 2, tokens, 4)


@pytest.fixture(params=["llama", "mistral"])
def cache(request):
    """Three tokens, in full layers or in sliding ones."""
    cache = new_cache(tiny_model(request.param))
    for layer in range(2):
        cache.update(states(3), states(3), layer)
    return cache


def test_a_fork_shares_its_tensors_and_grows_alone(cache):
    forked = fork(cache)
    before = [(layer.keys, layer.keys.clone()) for layer in cache.layers]
    assert all(new.keys is old.keys for new, old in zip(forked.layers, cache.layers, strict=True))
    forked.update(states(2), states(2), 0)
    assert forked.get_seq_length(0) == 5
    assert cache.get_seq_length(0) == 3
    for layer, (tensor, values) in zip(cache.layers, before, strict=True):
        assert layer.keys is tensor, "a layer that is written in place cannot be shared"
        assert torch.equal(tensor, values)


def test_a_fork_shows_more_rows_or_fewer_tokens_without_a_copy(cache):
    several, shorter = fork(cache, rows=5), fork(cache, length=2)
    for old, wide, short in zip(cache.layers, several.layers, shorter.layers, strict=True):
        assert wide.keys.shape == wide.values.shape == (5, 2, 3, 4)
        assert torch.equal(short.keys, old.keys[:, :, :2])
        assert torch.equal(short.values, old.values[:, :, :2])
        assert wide.keys.data_ptr() == short.keys.data_ptr() == old.keys.data_ptr()
    assert shorter.get_seq_length(0) == 2
    shorter.update(states(1), states(1), 0)
    assert shorter.get_seq_length(0) == 3


# The dummy layer, which newer versions have, is tested by gemma3n's agreement with the plain strategy.
@pytest.mark.parametrize("name", sorted(SHAREABLE_LAYERS - {"DummyLayer"}))
def test_layers_are_known_by_names_that_transformers_has(name):
    assert hasattr(cache_utils, name)


def test_layers_that_are_written_in_place_are_refused(monkeypatch):
    model = tiny_model.__wrapped__("llama")
    monkeypatch.setattr(kv_cache, "new_cache", lambda model: StaticCache(config=model.config, max_cache_len=8))
    assert foreign_layers(model) == ["StaticLayer"]
    assert "StaticLayer" in capabilities_of(model).refused["cached"]


def test_a_decoders_cache_is_forked_and_that_of_the_text_shared():
    whole = EncoderDecoderCache(DynamicCache(), DynamicCache())
    whole.self_attention_cache.update(states(1), states(1), 0)
    whole.cross_attention_cache.update(states(6), states(6), 0)
    forked = _fork_decoder(whole)
    forked.self_attention_cache.update(states(1), states(1), 0)
    assert forked.cross_attention_cache is whole.cross_attention_cache
    assert (forked.get_seq_length(), whole.get_seq_length()) == (2, 1)


@pytest.mark.parametrize(
    ("name", "sizes", "limit"),
    [
        ("llama", [], 128),
        ("mistral", [4], 128),
        ("gemma3", [6], 128),
        ("gpt_neo", [5], 128),
        ("gpt2", [], 128),
        ("mpt", [], 128),
        ("bloom", [], None),
    ],
)
def test_sizes_are_read_from_the_config(name, sizes, limit):
    assert windows(tiny_model(name)) == sizes
    assert context_length(tiny_model(name)) == context_length(tiny_model(name).config) == limit
