import json
from dataclasses import asdict

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
