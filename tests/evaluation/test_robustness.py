"""The table of what was done to break textclf, and its sums."""

import json

from textclf.evaluation.robustness import robustness_sums, robustness_table

NOTHING = dict.fromkeys(("faults", "bad_inputs", "lost", "crashes", "difference"))
KILLS = NOTHING | {"check": "kills", "tried": "200 runs", "faults": 1200, "lost": 0, "command": "kill"}
FUZZ = NOTHING | {"check": "damaged files", "tried": "5 parsers", "bad_inputs": 2000, "crashes": 1, "command": "fuzz"}
BATCHES = NOTHING | {"check": "batch sizes", "tried": "9 methods", "difference": 3.14e-6, "command": "batches"}


def test_checks_of_all_files(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"robustness": [KILLS, BATCHES]}))
    (tmp_path / "b.json").write_text(json.dumps({"robustness": [FUZZ]}))
    (tmp_path / "c.json").write_text(json.dumps({"rows": []}))
    lines = robustness_table(tmp_path).splitlines()[2:]
    assert lines == [
        "| kills | 200 runs | 1,200 | - | 0 | - | - | `kill` |",
        "| batch sizes | 9 methods | - | - | - | - | 3.1e-06 nats | `batches` |",
        "| damaged files | 5 parsers | - | 2,000 | - | 1 | - | `fuzz` |",
    ]
    assert robustness_sums(tmp_path) == (
        "1,200 faults injected, 0 rows lost; 2,000 bad inputs, 1 crashes; the largest difference of a log-probability "
        "is 3.1e-06 nats."
    )
