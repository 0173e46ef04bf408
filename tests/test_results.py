"""The tables of the documentation are those of the stored results."""

import json
from pathlib import Path

import pytest

from tests.evaluation.invented_comparison import comparison
from textclf.errors import UserError
from textclf.evaluation.stored_results import (
    BLOCK,
    PAGES,
    general_command,
    rendered,
    rendered_block,
    store,
    stored,
    summary,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_tables_are_made_from_the_stored_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert BLOCK.search(text)
    assert rendered(ROOT / page, ROOT) == text, "run scripts/compare.py with --update-readme, or restore the tables"


def test_each_stored_result_is_shown():
    names = {name for page in PAGES for name, _ in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))}
    for file in (ROOT / "scripts/results").glob("*.json"):
        has_checks = "robustness" in json.loads(file.read_text(encoding="utf-8"))
        assert file.stem in names or (has_checks and "robustness" in names), file
        assert file.stat().st_size < 300_000, file


def test_nothing_of_a_machine_is_stored():
    for file in (ROOT / "scripts/results").glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert "/home/" not in text
        assert "/tmp/" not in text
        assert '"ids' not in text


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "fit --config configs/a.yaml --data.data_dir /data/my_rows",
            "fit --config configs/a.yaml --data.data_dir DIR",
        ),
        (
            "fit --data.data_dir=/x --model.pretrained /models/smollm2",
            "fit --data.data_dir=DIR --model.pretrained smollm2",
        ),
        ("test --run_dir runs/x/0 --run_name x --ckpt_path best", "test --ckpt_path best"),
        ("fit --config /my/clone/configs/comparison/nsmc.yaml", "fit --config configs/comparison/nsmc.yaml"),
        (
            "fit --data.data_dir rows --model.label_words '{a: b c}'",
            "fit --data.data_dir DIR --model.label_words '{a: b c}'",
        ),
    ],
)
def test_commands_are_stored_without_paths(command, expected):
    assert general_command(command) == expected


def test_what_is_stored_has_no_ids_and_no_paths():
    values = comparison(2)
    values["data_sets"]["Toy"]["all_miss"] = {"count": 2, "ids": ["1", "2"]}
    kept = stored(values)["data_sets"]["Toy"]
    assert "all_miss" not in kept
    assert set(kept["pairs"][0]) == {"first", "second", "sentence"}
    assert [run["name"] for run in kept["runs"]] == ["M0", "M1"]
    assert "runs" not in kept["runs"][0]
    assert kept["runs"][0]["metrics"] == values["data_sets"]["Toy"]["runs"][0]["metrics"]


def test_methods_that_were_not_measured_say_so():
    values = comparison(3)
    values["data_sets"]["Other"] = comparison(2)["data_sets"]["Toy"]
    lines = summary(values).splitlines()
    assert lines[0] == "| method | Toy (1,000 rows) | Other (1,000 rows) |"
    assert lines[2] == "| M0 | 90.0 [88.0, 92.0], group 1 | 90.0 [88.0, 92.0], group 1 |"
    assert "| not measured |" in lines[4]


def test_a_block_without_stored_results(tmp_path):
    assert rendered_block("comparison", tmp_path) == rendered_block("other", tmp_path) == "not measured."


def test_store_rewrites_the_blocks_alone(tmp_path):
    (tmp_path / "scripts/results").mkdir(parents=True)
    (tmp_path / "README.md").write_text(
        "Before\n\n<!-- results:summary -->\nold\n<!-- /results:summary -->\nafter\n", encoding="utf-8"
    )
    (tmp_path / "scripts/README.md").write_text("No blocks.\n", encoding="utf-8")
    (tmp_path / "scripts/results/README.md").write_text(
        "".join(f"<!-- results:{name} -->\n<!-- /results:{name} -->\n" for name in ("comparison", "single")),
        encoding="utf-8",
    )
    table = {
        "columns": [{"key": "a", "title": "A"}, {"key": "b", "title": "B", "kind": "share"}],
        "rows": [{"a": "한국어", "b": 0.5}, {"a": "x"}],
    }
    (tmp_path / "scripts/results/single.json").write_text(json.dumps(table), encoding="utf-8")
    store(comparison(2), tmp_path)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("Before\n\n<!-- results:summary -->\n\n| method")
    assert readme.endswith("<!-- /results:summary -->\nafter\n")
    assert "old" not in readme
    results = (tmp_path / "scripts/results/README.md").read_text(encoding="utf-8")
    assert "### Toy" in results
    assert "| 한국어 | 0.500 |" in results
    assert "| x | not measured |" in results
    store(comparison(2), tmp_path)
    assert (tmp_path / "scripts/results/README.md").read_text(encoding="utf-8") == results


def test_store_outside_a_clone(tmp_path):
    with pytest.raises(UserError, match="no clone"):
        store(comparison(2), tmp_path)
