import numpy as np
import pytest
from datasets import Dataset

from textclf.errors import UserError
from textclf.findings.label_errors import find_label_errors
from textclf.findings.rows import ExploredSplit

WORDS = {
    "sports": "goal match team 경기 선수 league coach win".split(),
    "science": "atom cell 실험 theory planet gene lab data".split(),
    "music": "song band 노래 concert melody drum album chord".split(),
}
NAMES = tuple(WORDS)
COMMON = "the a of and with for 그리고 today about from last next".split()


def texts_of(labels, draw, words=WORDS):
    return [
        " ".join(draw.permutation([*draw.choice(words[NAMES[label]], 5), *draw.choice(COMMON, 4)])) for label in labels
    ]


def explored(labels, texts, split="train", names=NAMES, **columns):
    rows = {"id": [f"{split}-{i}" for i in range(len(texts))], "text": list(texts), "label": list(labels)}
    return ExploredSplit(split, Dataset.from_dict(rows | columns), names)


def planted(labels, draw, number):
    """Labels of which some are wrong, and the indices of these."""
    wrong = draw.choice(len(labels), number, replace=False)
    given = labels.copy()
    given[wrong] = (labels[wrong] + draw.integers(1, len(NAMES), number)) % len(NAMES)
    return given, set(wrong.tolist())


def errors_of(findings, split):
    return next((finding for finding in findings if finding.kind == "label_error" and finding.split == split), None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_planted_errors_are_found_at_any_place(share, seed):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 3, 500)
    given, wrong = planted(labels, draw, round(share * 500))
    found = errors_of(find_label_errors([explored(given, texts_of(labels, draw))]), "train")
    rows = [int(id_.removeprefix("train-")) for id_ in found.rows]
    assert len(set(rows) & wrong) >= 0.9 * len(wrong)
    assert len(set(rows) - wrong) <= 0.1 * len(rows)
    assert rows[0] in wrong
    assert found.count == len(rows)
    for (shown,) in found.examples:
        row = int(shown.id.removeprefix("train-"))
        assert shown.label == NAMES[given[row]]
        if row in wrong:
            assert shown.note.startswith(f"looks like {NAMES[labels[row]]} (")


def test_right_labels_are_not_suspected():
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 3, 300)
    assert find_label_errors([explored(labels, texts_of(labels, draw))]) == []


def test_splits_are_examined_together_and_reported_apart():
    draw = np.random.default_rng(6)
    train, test = draw.integers(0, 3, 500), draw.integers(0, 3, 30)  # 30 rows alone would be too few
    given, wrong = planted(test, draw, 5)
    findings = find_label_errors(
        [explored(train, texts_of(train, draw)), explored(given, texts_of(test, draw), "test")]
    )
    assert errors_of(findings, "train") is None
    found = set(errors_of(findings, "test").rows)
    assert found <= {f"test-{row}" for row in wrong}
    assert len(found) == 5


def test_a_text_does_not_confirm_itself():
    """A repeat with the same wrong label in another fold would hide the error."""
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 3, 300)
    texts = texts_of(labels, draw)
    texts[:4] = ["goal goal team league win"] * 4
    labels[:4] = NAMES.index("music")
    found = errors_of(find_label_errors([explored(labels, texts)]), "train")
    assert set(found.rows) == {"train-0", "train-1", "train-2", "train-3"}


def test_rows_without_text_or_label_and_tiny_classes_are_left_out():
    draw = np.random.default_rng(8)
    names = (*NAMES, "rare", "absent")
    labels = draw.integers(0, 3, 300)
    texts = texts_of(labels, draw)
    labels[:3] = -1
    labels[3:6] = names.index("rare")
    texts[6:9] = [" \n"] * 3
    assert find_label_errors([explored(labels, texts, names=names)]) == []


def test_second_texts_are_read():
    draw = np.random.default_rng(9)
    labels = draw.integers(0, 3, 500)
    given, wrong = planted(labels, draw, 20)
    findings = find_label_errors([explored(given, ["premise"] * 500, text_pair=texts_of(labels, draw))])
    found = errors_of(findings, "train")
    assert len(set(found.rows) & {f"train-{row}" for row in wrong}) >= 16
    assert found.examples[0][0].text_pair


def test_confused_classes_are_reported_as_a_pair():
    draw = np.random.default_rng(10)
    labels = draw.integers(0, 3, 300)
    texts = texts_of(labels, draw, WORDS)
    science = np.flatnonzero(labels == NAMES.index("science"))
    given = labels.copy()
    given[science[::4]] = NAMES.index("music")
    findings = [finding for finding in find_label_errors([explored(given, texts)]) if finding.kind == "class_overlap"]
    (pair,) = findings
    assert pair.detail.startswith("'science' and 'music' are confused: ")
    assert pair.count == len(pair.rows) >= 5
    assert {f"train-{row}" for row in science} >= set(pair.rows)


def test_probabilities_of_another_classifier_are_used():
    labels = np.arange(60) % 3
    given = labels.copy()
    given[7] = 0
    probabilities = np.full((60, 3), 0.05)
    probabilities[np.arange(60), labels] = 0.9
    found = errors_of(find_label_errors([explored(given, [f"text {i}" for i in range(60)])], [probabilities]), "train")
    assert found.rows == ("train-7",)
    assert found.examples[0][0].note == "looks like science (0.90)"


def test_of_many_rows_a_sample_is_examined_and_the_detail_says_so():
    draw = np.random.default_rng(11)
    labels = draw.integers(0, 3, 300)
    given, _ = planted(labels, draw, 30)
    found = errors_of(find_label_errors([explored(given, texts_of(labels, draw))], most_rows=200), "train")
    assert "of the labels of 200 of 300 rows" in found.detail


@pytest.mark.parametrize("labels", [[0] * 20, [-1] * 20, [0] * 16 + [1] * 4], ids=["one class", "none", "few rows"])
def test_too_few_rows_are_refused_in_one_line(labels):
    rows = explored(labels, [f"text {i}" for i in range(20)])
    with pytest.raises(UserError, match="two classes with 5 different texts each"):
        find_label_errors([rows])


def test_texts_without_anything_in_common_are_refused_in_one_line():
    rows = explored([0, 1] * 10, [chr(ord("가") + 40 * i) for i in range(20)])
    with pytest.raises(UserError, match="no two texts have anything in common"):
        find_label_errors([rows])


def test_a_column_without_anything_in_common_is_left_out():
    draw = np.random.default_rng(12)
    labels = draw.integers(0, 3, 300)
    given, wrong = planted(labels, draw, 15)
    pairs = [chr(ord("가") + 10 * i) for i in range(300)]
    found = errors_of(find_label_errors([explored(given, texts_of(labels, draw), text_pair=pairs)]), "train")
    assert len(set(found.rows) & {f"train-{row}" for row in wrong}) >= 12
