import json
from dataclasses import asdict

import pytest

from textclf.evaluation import simulation, simulation_table


def test_settings_that_are_measured_are_not_repeated(script, monkeypatch, tmp_path, capsys):
    measured = []

    def measure(setting, draws, tests):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(setting)
        return {**asdict(setting), "warned": 0.0, "coverage": {}, "difference_coverage": {}, "false_alarms": {}}

    monkeypatch.setattr(simulation, "measure", measure)
    monkeypatch.setattr(simulation_table, "markdown", lambda results: f"{len(results['cells'])} settings")
    wanted = simulation.settings()[:3]
    monkeypatch.setattr(simulation, "settings", lambda: wanted)
    arguments = ["--output", str(tmp_path / "s.json"), "--draws", "5", "--tests", "7"]
    assert script.main(arguments) == 130
    assert len(json.loads((tmp_path / "s.json").read_text())["cells"]) == 2
    measured.clear()
    assert script.main(arguments) == 0
    assert measured == wanted[2:]
    assert "3 settings" in capsys.readouterr().out
    assert script.main([*arguments[:-1], "8"]) == 2
    assert "was measured with --draws 5 --tests 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("[1", [], "not JSON"),
        ("[1]", [], "not a file of this script"),
        ('{"draws": 2000}', [], "not a file of this script"),
        (None, ["--draws", "0"], "--draws 0 is too small"),
        (None, ["--rows", "7"], "no setting has --rows [7]: give any of 100, "),
        (None, ["--tests", "-1"], "--tests -1 is too small"),
    ],
)
def test_a_fault_is_one_line(script, tmp_path, capsys, content, arguments, message):
    path = tmp_path / "s.json"
    if content is not None:
        path.write_text(content)
    assert script.main(["--output", str(path), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert (path.read_text() if path.exists() else None) == content
