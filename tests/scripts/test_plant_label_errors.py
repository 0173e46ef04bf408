import json

import plant_label_errors
import pytest


@pytest.fixture
def arguments(rows_folder, tmp_path):
    json_file = tmp_path / "found.json"
    data = ["--data", "FilesDataModule", "--data.data_dir", str(rows_folder)]
    return ["--json", str(json_file), "--seeds", "1", "--share", "0.1", *data], json_file


@pytest.mark.slow
def test_the_table_has_a_row_for_each_data_set_and_share(arguments, capsys):
    options, json_file = arguments
    for name in ("first", "second", "first"):  # measured again, it is replaced
        assert plant_label_errors.main(["--name", name, "--share", "0.2", *options]) == 0
    results = json.loads(json_file.read_text(encoding="utf-8"))
    assert [(row["data"], row["planted"]) for row in results["rows"]] == [
        ("second", 12), ("second", 6), ("first", 12), ("first", 6),
    ]  # fmt: skip
    assert results["commands"]["first"] == "--data FilesDataModule --data.data_dir DIR"
    assert "| first | 60 | 12 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--share", "1.5"], "--share 1.5 is out of range"),
        (["--share", "0.001"], "--share 0.001 of 60 rows is less than one row"),
        (["--seeds", "0"], "--seeds 0"),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments, wrong, message, capsys):
    options, json_file = arguments
    assert plant_label_errors.main(["--name", "x", *options, *wrong]) == 2
    assert message in capsys.readouterr().err
    assert not json_file.exists()
