"""The command line that W&B's agent makes of a sweep file."""

from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from textclf.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sweep(monkeypatch):
    monkeypatch.chdir(ROOT)  # where the agent is started, as the file's first lines say
    return yaml.safe_load((ROOT / "configs" / "sweep" / "fine_tune.yaml").read_text())


def expanded(sweep, **values):
    """The words of a run's command: the agent puts a list for each macro that stands alone."""
    macros = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    macros |= {"env": ["/usr/bin/env"], "interpreter": ["python"]}
    words = create_sweep_command(sweep["command"])
    return [part for word in words for part in (macros[word[2:-1]] if word.startswith("${") else [word])]


def one_of(parameter):
    return parameter["values"][-1] if "values" in parameter else parameter["max"]


def test_every_parameter_arrives(sweep, capsys):
    values = {name: one_of(parameter) for name, parameter in sweep["parameters"].items()}
    command = expanded(sweep, **values)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "textclf"]
    with pytest.raises(SystemExit) as stop:
        main([*command[4:], "--print_config"])
    assert stop.value.code in (0, None)
    config = yaml.safe_load(capsys.readouterr().out)
    arrived = {f"{axis}.{k}": v for axis in ("data", "model") for k, v in config[axis]["init_args"].items()}
    assert {name: arrived[name] for name in values} == values
    assert config["test_after_fit"] is False


def test_the_metric_is_one_that_is_logged(sweep):
    assert sweep["metric"] == {"name": "val/macro_f1", "goal": "maximize"}  # what best.ckpt is chosen by
    assert sweep["method"] in ("grid", "random", "bayes")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("model.learning_rat", 1e-5, ["'learning_rat'", "'learning_rate'"]),
        ("learning_rate", 1e-5, ["--learning_rate", "'--model.learning_rate"]),
        ("data.batch_size", "many", ["data.batch_size", "many"]),
    ],
)
def test_a_wrong_key_or_value_ends_with_one_clear_line(sweep, name, value, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(expanded(sweep, **{name: value})[4:])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("textclf: error: ")
    assert all(word in line for word in words), line
