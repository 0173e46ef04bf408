import pytest
import torch

from textclf.hardware.precision import choose_precision


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch):
    """No GPU, a processor without bf16, nothing in the environment."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)


def test_a_processor_without_bf16():
    assert choose_precision("auto")[0] == "32-true"


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16", "bf16"])
def test_a_processor_with_bf16(feature, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {feature: True}, raising=False)
    assert choose_precision("cpu")[0] == "bf16-mixed"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    precision, why = choose_precision("cpu")
    assert precision == "32-true"
    assert "oneDNN" in why


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "bf16-mixed"), ((7, 5), "16-mixed")])
def test_cuda(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    precision, why = choose_precision("auto")
    assert precision == expected
    assert "a GPU" in why
    assert choose_precision("cpu")[0] == "32-true"


def test_apple_and_unknown_accelerators(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_precision("mps")[0] == "32-true"
    assert "tpu" in choose_precision("tpu")[1]
