"""Short forms of `scripts/soak.py`."""

import json

import pytest


@pytest.mark.slow
def test_no_question_is_lost_or_paid_for_twice(script, tmp_path, monkeypatch):
    monkeypatch.setattr("textclf.chat.retries.BACKOFF", 0.2)
    monkeypatch.setattr("soaks.chat.CONCURRENCY", 16)
    monkeypatch.setattr("soaks.chat.TIMEOUT", 2.0)
    assert script.main(["chat", "--questions", "90", "--json", str(tmp_path / "found.json")]) == 0
    stored = json.loads((tmp_path / "found.json").read_text())
    (check,) = stored["robustness"]
    assert check["lost"] == 0
    assert check["faults"] > 10
    found = stored["chat"]
    assert (found["paid"], found["right_answers"], found["paid_twice"]) == (90, 90, 0)
    assert found["restarts_of_the_server"] > 0
    assert found["rounds"][0]["requests"] > 100
    assert found["rounds"][-1] == {"requests": 0, "failed": 0, "cached": 90}


@pytest.mark.slow
def test_steps_of_training(script, tmp_path, monkeypatch):
    monkeypatch.setattr("soaks.training.ROWS", 400)
    monkeypatch.setattr("soaks.training.GROWTH", 200)  # the heap grows during the first steps
    assert script.main(["fit", "--steps", "150", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["robustness"]) == 1
    assert found["fit"]["steps"] == 150
    assert found["fit"]["most_files"] < 20
    assert found["fit"]["command"].startswith("python scripts/soak.py fit --steps 150 --json ")


def test_sizes_are_checked(script, capsys):
    assert script.main(["chat", "--questions", "0"]) == 2
    assert "--questions 0" in capsys.readouterr().err


def test_memory_is_thinned_at_equal_distances(script):
    from soaks.memory import POINTS, thinned

    assert thinned([1.0, 2.0]) == [1.0, 2.0]
    found = thinned([float(i) for i in range(96)])
    assert (len(found), found[0], found[1], found[-1]) == (POINTS, 0.0, 5.0, 95.0)
