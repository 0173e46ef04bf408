"""Cheap random numbers drop what dropout should drop."""

import pytest
import torch
from torch import nn

from textclf.hardware.dropout import FastDropout, drop, use_fast_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_drops_the_share_and_keeps_the_mean(probability, dtype):
    torch.manual_seed(0)
    values = torch.ones(501, 399, dtype=dtype)
    dropped = drop(values, probability)
    assert dropped.dtype == dtype
    share = (dropped == 0).double().mean().item()
    deviation = (probability * (1 - probability) / values.numel()) ** 0.5
    assert abs(share - probability) < 5 * deviation
    scale = 1 / (1 - probability)
    assert torch.allclose(
        dropped[dropped != 0].float(), torch.tensor(scale), rtol=1e-2 if dtype != torch.float32 else 1e-4
    )
    # Neighbours share a random number, and are yet dropped independently of each other.
    pairs = (dropped.flatten()[:-1] == 0) & (dropped.flatten()[1:] == 0)
    assert abs(pairs.double().mean().item() - probability**2) < 5 * deviation


def test_gradient_flows_where_values_were_kept():
    torch.manual_seed(0)
    values = torch.randn(64, 64, requires_grad=True)
    dropped = drop(values, 0.25)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, (dropped != 0) / 0.75)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_all_or_nothing(probability):
    assert drop(torch.ones(9), probability).tolist() == [1 - probability] * 9


def test_the_same_seed_drops_the_same():
    values = torch.ones(7, 11)
    first, second = ((torch.manual_seed(3), drop(values, 0.5))[1] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(second, drop(values, 0.5))


def test_a_network_keeps_its_weights_and_its_answers():
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.1)))
    names = list(network.state_dict())
    values = torch.randn(2, 3)
    expected = network.eval()(values)
    use_fast_dropout(network)
    assert [type(network[1]), type(network[2][0])] == [FastDropout, FastDropout]
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(values), expected)
    assert (network.train()(torch.ones(400, 3)) == 0).any()
