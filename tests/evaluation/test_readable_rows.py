import numpy as np
import pytest

from textclf.evaluation.prediction_table import PredictionTable
from textclf.evaluation.readable_rows import readable, sample_rows, worst_mistakes


def table(probabilities, labels, predictions=None, **more):
    probabilities = np.array(probabilities, dtype=float)
    size = len(probabilities)
    return PredictionTable(
        ids=[f"id{i}" for i in range(size)],
        texts=[f"text {i}" for i in range(size)],
        labels=np.array(labels),
        predictions=probabilities.argmax(1) if predictions is None else np.array(predictions),
        log_scores=np.log(probabilities),
        label_names=("나쁨", "좋음"),
        has_probabilities=predictions is None,
        **more,
    )


def test_worst_mistakes_are_the_wrong_rows_by_confidence():
    wrong = [[0.6, 0.4], [0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]]
    assert worst_mistakes(table(wrong, [1, 0, 0, 0, 1]), 10).tolist() == [1, 3, 0, 4]
    assert worst_mistakes(table(wrong, [1, 0, 0, 0, 1]), 2).tolist() == [1, 3]
    assert worst_mistakes(table(wrong, [0, 1, 0, 1, 0]), 2).tolist() == []


def test_answers_without_probability_come_last_in_order():
    answers = table([[np.nan] * 2] * 4, [0, 0, 1, 1], predictions=[0, 1, -1, 0])
    assert worst_mistakes(answers, 10).tolist() == [1, 2, 3]
    columns, rows = readable(answers, worst_mistakes(answers, 2))
    assert columns == ["id", "text", "label", "prediction", "confidence"]
    assert rows == [["id1", "text 1", "나쁨", "좋음", None], ["id2", "text 2", "좋음", None, None]]


def test_rows_are_read_with_label_names_and_pairs():
    pairs = table([[0.25, 0.75], [0.9, 0.1]], [0, 0], text_pairs=["a", "b"])
    columns, rows = readable(pairs, np.array([1, 0]))
    assert columns == ["id", "text", "text_pair", "label", "prediction", "confidence"]
    assert [row[:-1] for row in rows] == [
        ["id1", "text 1", "b", "나쁨", "나쁨"],
        ["id0", "text 0", "a", "나쁨", "좋음"],
    ]
    assert [row[-1] for row in rows] == pytest.approx([0.9, 0.75])


def test_a_sample_is_the_same_for_every_method():
    one, other = (table(np.full((50, 2), p), [0] * 50) for p in (0.5, 0.1))
    rows = sample_rows(one, 7)
    assert rows.tolist() == sample_rows(other, 7).tolist() == sorted(set(rows.tolist()))
    assert len(rows) == 7
    assert rows.tolist() != list(range(7))
    assert sample_rows(one, 100).tolist() == list(range(50))
