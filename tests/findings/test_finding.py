"""The plain form of an exploration."""

import json

from textclf.findings.finding import KINDS, Exploration, Finding, Lengths


def test_plain_form_of_an_exploration():
    finding = Finding("repeat", "train", 2, ("3", "7"), "2 rows repeat an earlier one", "DropRepeats")
    lengths = Lengths("words", "train", None, 8, 3.5, (1, 1, 2, 3, 5, 7, 9), (4, 4), (0, 4, 8))
    exploration = Exploration("small", ("a", "b"), {"train": {"a": 5, "b": 3}}, {"train": 9}, (), [finding], [lengths])
    plain = json.loads(json.dumps(exploration.as_json()))
    assert plain["splits"] == {"train": {"rows": 9, "classes": {"a": 5, "b": 3}}}
    assert plain["findings"] == [
        {
            "finding": "repeat",
            "split": "train",
            "count": 2,
            "rows": ["3", "7"],
            "detail": "2 rows repeat an earlier one",
            "remedy": "DropRepeats",
        }
    ]
    assert plain["lengths"][0]["quantiles"] == [1, 1, 2, 3, 5, 7, 9]
    assert len(KINDS) == 20
