"""The heap is trimmed as batches go by."""

from textclf.run import monitors
from textclf.run.monitors import HeapTrimmer


def test_trims_every_so_many_batches(monkeypatch):
    calls = []
    monkeypatch.setattr(monitors, "trim_heap", lambda: calls.append(1))
    trimmer = HeapTrimmer(every_n_batches=3)
    for hook in ("on_train_batch_end", "on_validation_batch_end", "on_test_batch_end", "on_predict_batch_end") * 2:
        getattr(trimmer, hook)(None, None)
    assert len(calls) == 8 // 3
