"""The command: what it writes, and one line for what a user does wrong."""

import json

import pytest
from explore import main

from tests.run.test_exploration import folder  # noqa: F401 - a fixture


def options_for(folder):  # noqa: F811
    return ["--data", "FilesDataModule", "--data.data_dir", str(folder), "--no-label-errors"]


def test_all_outputs(folder, tmp_path, capsys):  # noqa: F811
    json_file, page = tmp_path / "out" / "e.json", tmp_path / "out" / "e.html"
    assert main([*options_for(folder), "--json", str(json_file), "--html", str(page)]) == 0
    assert "White space at the end can give the label away" in capsys.readouterr().out
    values = json.loads(json_file.read_text(encoding="utf-8"))
    assert values["splits"]["train"] == {"rows": 200, "classes": {"bad": 100, "good": 100}}
    assert values["findings"][0]["finding"] == "leak"
    assert "White space at the end" in page.read_text(encoding="utf-8")
    assert not (tmp_path / "runs").exists()


def test_configuration_files_and_values(folder, tmp_path, capsys):  # noqa: F811
    config = tmp_path / "data.yaml"
    config.write_text(f"data: {{class_path: FilesDataModule, init_args: {{data_dir: {folder}}}}}\n")
    method = tmp_path / "method.yaml"
    method.write_text("model: {class_path: FineTunedClassifier, init_args: {pretrained: ./nowhere}}\n")
    arguments = ["--config", str(config), "--config", str(method), "--data.limit", "{train: 50}", "--no-label-errors"]
    assert main(arguments) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "train: looked at 50 rows of 200 (limit)." in output
    assert "Tokens were not counted: './nowhere' does not exist" in output


MISTAKES = (
    # arguments besides those of the data, a part of the line
    (["--html", "/proc/nowhere/e.html"], "'/proc/nowhere/e.html' cannot be written"),
    (["--json", "same", "--html", "same"], "'same' is given for two outputs"),
    (["--data.limitt", "5"], "limitt"),
    (["--data.text_column", "body"], "there is no text column 'body'"),
)


@pytest.mark.parametrize(("arguments", "part"), MISTAKES)
def test_mistakes(folder, tmp_path, monkeypatch, capsys, arguments, part):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert main([*options_for(folder), *arguments]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("explore: error: ")
    assert part in line


def test_no_data(capsys):
    assert main(["--config", "configs/model/tfidf.yaml"]) == 2
    assert "explore: error: there is no data: pass --config" in capsys.readouterr().err
