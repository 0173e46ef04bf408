"""The check for machines with a GPU, on a CPU: what it prints and writes, and that it sees what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import check_gpu
import pytest
import torch
from gpu_checks import likelihood, training
from gpu_checks.frame import CPU, Row

SCRIPT = Path(check_gpu.__file__)


@pytest.fixture
def fakes(monkeypatch):
    """The script with two parts of its own: in the first, the second of three cases raises; the other is broken."""

    def fine(sizes):
        yield (
            "one",
            lambda: Row("one", "as it should be", seconds=2.0, counts={"rows": 12, "padding": 0.25, "off": 1e-6}),
        )
        yield "two", lambda: 1 / 0
        yield "three", lambda: Row("three", "published", counts={"rate": 1000})

    def broken(sizes):
        raise MemoryError("no room")

    module = SimpleNamespace(fine=fine, broken=broken)
    monkeypatch.setitem(sys.modules, "gpu_fakes", module)
    monkeypatch.setattr(check_gpu, "PARTS", {"fine": "gpu_fakes", "broken": "gpu_fakes"})
    monkeypatch.setattr(check_gpu, "machine", lambda: {"cpu": "abacus", "gpu": None})
    monkeypatch.setattr(check_gpu, "quieten", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return module


@pytest.mark.slow
def test_what_fails_is_a_row_and_the_rest_goes_on(fakes, tmp_path, capsys):
    report = tmp_path / "report.json"
    assert check_gpu.main(["--device", "cpu", "--json", str(report)]) == 1
    written = json.loads(report.read_text())
    assert [(row["part"], row["name"], row["passed"]) for row in written["rows"]] == [
        ("fine", "one", True),
        ("fine", "two", False),
        ("fine", "three", True),
        ("broken", "setting up", False),
    ]
    assert written["rows"][1]["result"] == "ZeroDivisionError: division by zero"
    assert written["rows"][0]["counts"] == {"rows": 12, "padding": 0.25, "off": 1e-6}
    assert set(written["seconds"]) == {"fine", "broken"}
    assert written["sizes"]["device"] == "cpu"
    printed = capsys.readouterr()
    assert "ZeroDivisionError" in printed.err
    assert "MemoryError" in printed.err
    *_, head, one, two, three, broken, _, end = printed.out.splitlines()
    assert head.split() == " ".join(check_gpu.COLUMNS).split()
    assert one.split() == "fine one 2.000 12 6.0 25.0% 1e-06 ok as it should be".split()
    assert two.split() == "fine two FAILED ZeroDivisionError: division by zero".split()
    assert three.split() == "fine three 1,000.0 ok published".split()
    assert broken.split() == "broken setting up FAILED MemoryError: no room".split()
    assert "4 rows" in end
    assert "2 failed" in end


@pytest.mark.slow
def test_exit_code_0_needs_every_case(fakes, monkeypatch):
    monkeypatch.setattr(fakes, "broken", lambda sizes: iter([("case", lambda: Row("case"))]))
    assert check_gpu.main(["broken", "--device", "cpu"]) == 0
    assert check_gpu.main(["broken", "fine", "--device", "cpu"]) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fine", "nosuch"], "unknown part 'nosuch': the parts are fine, broken"),
        (["--json", "."], "--json '.' is a folder: name a file"),
        (["--device", "cuda"], "--device cuda: torch finds no CUDA device; give --device cpu"),
    ],
)
def test_what_the_user_can_mend_is_one_line(fakes, arguments, expected, capsys):
    assert check_gpu.main(arguments) == 2
    assert tuple(capsys.readouterr()) == ("", f"check_gpu: error: {expected}\n")


@pytest.mark.slow
def test_scores_that_are_off_fail(monkeypatch):
    """The plain scores pass, and the packed ones, moved by a hundredth of a nat, do not."""
    scores = {"plain": torch.zeros(2, 10, dtype=torch.float64), "packed": torch.full((2, 10), 0.01).double()}

    class Scorer:
        counters = SimpleNamespace(tokens=5, padding_share=0.0)

        def __init__(self, *arguments, strategy):
            self.strategy = strategy

        def __call__(self, prompts):
            return SimpleNamespace(log_likelihoods=scores[self.strategy])

    monkeypatch.setattr(likelihood, "LabelScorer", Scorer)
    model, found = SimpleNamespace(network=None, tokenizer=None), {}

    def compared(strategy):
        name = f"{strategy}, fp32"
        return likelihood.compared(name, lambda dtype: model, torch.float32, strategy, ["a", "b"], found)

    assert compared("plain").passed
    row = compared("packed")
    assert (row.passed, row.result) == (False, "0.01 nats off fp32 plain, 0 of 2 classes differ")
    scores["packed"] = torch.full((2, 10), torch.nan).double()
    assert not compared("packed").passed


def test_weights_are_compared_to_the_bit():
    ours = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0])}
    other = {"a": torch.tensor([1.0, 2.0 + 2e-7]), "b": torch.tensor([3.0])}
    assert training.equality(ours, dict(ours)) == "bitwise identical"
    assert training.equality(ours, other) == "1 of 2 tensors differ, by up to 2.4e-07"


@pytest.mark.exhaustive
def test_every_part_passes_on_a_cpu(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = json.loads(report.read_text())["rows"]
    assert all(row["passed"] for row in rows)
    assert {row["part"] for row in rows} == set(check_gpu.PARTS)
    results = {(row["part"], row["name"]): row["result"] for row in rows}
    assert results["resume", "deterministic kernels, 32-true"].startswith("step 5 of 8 to the end: bitwise identical")
    assert results["memory", "too little memory, packed"].startswith("budget halved 1 times")
    assert sum(row["part"] == "training" for row in rows) == 2 * len(CPU.encoders)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
