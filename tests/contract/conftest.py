from collections import Counter
from pathlib import Path

import pytest

from textclf.cli import main

QUICK = 1
"""Lines of each table that are in the quick suite; together the others take minutes."""
OPTIONS = {
    "test": (),
    "validate": (),
    "fit": ("--trainer.max_epochs", "1", "--data.batch_size", "8"),
    "predict": ("--texts", '["drizzle", "햇볕", ""]'),
}


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items):
    counted = Counter()
    for item in items:
        if Path(__file__).parent in item.path.parents and hasattr(item, "callspec"):
            counted[item.function] += 1
            if counted[item.function] > QUICK:
                item.add_marker(pytest.mark.exhaustive)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs one command in this process, and gives its exit code, what it printed, and its last line of errors."""
    monkeypatch.chdir(tmp_path)

    def run(command, model, data="basis.Forecasts", *more):
        paths = [path if path.startswith("own_") else f"tests.contract.{path}" for path in (model, data)]
        classes = ("--model", paths[0], "--data", paths[1])
        trainer = ("--trainer.accelerator", "cpu", "--trainer.precision", "32-true")
        folder = () if command == "predict" else ("--trainer.logger", "false", "--run_dir", "run")
        options = (*trainer, "--data.eval_batch_size", "8", *folder, *OPTIONS[command], *more)
        try:
            main([command, *classes, *options])
            code = 0
        except SystemExit as error:
            code = error.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def refused(run):
    """Runs one command, and gives the one line that it is refused with."""

    def refused(*arguments):
        code, _, errors = run(*arguments)
        assert code == 2, f"exit code {code}: {errors[-2000:]}"
        line = errors.splitlines()[-1]
        assert line.startswith("textclf: error: ")
        assert errors.count("textclf: error: ") == 1
        return line.removeprefix("textclf: error: ")

    return refused
