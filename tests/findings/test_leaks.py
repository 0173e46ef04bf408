"""What gives the label away is found where it was planted, and nothing is found in clean sets."""

import random

import pytest

from tests.findings.splits import WORDS, invented_texts, places_in, split_of
from textclf.findings.leaks import find_leaks
from textclf.findings.pair_leaks import find_pair_leak

ROWS = 600


def planted(change, share, seed, classes=2):
    """Rows of classes at random; so many of those of the first class are changed, at random places."""
    draw = random.Random(seed)
    labels = [draw.randrange(classes) for _ in range(ROWS)]
    texts = invented_texts(ROWS, seed)
    places = [row for row, label in enumerate(labels) if label == 0 and draw.random() < share]
    for row in places:
        texts[row] = change(texts[row])
    names = ("marked", "plain", "other", "fourth")[:classes]
    return split_of(texts, labels, label_names=names), places


def in_the_middle(marker):
    def change(text):
        words = text.split()
        words.insert(1 + len(text) % (len(words) - 1), marker)
        return " ".join(words)

    return change


LEAKS = (
    # how a text is changed, the share of the class that is, a part of the finding, its remedy
    (lambda text: text + " ", 0.6, "White space at the end", "StripWhitespace"),
    (lambda text: text + " ", 0.2, "White space at the end", "StripWhitespace"),
    (lambda text: "\n" + text, 0.3, "White space at the beginning", "StripWhitespace"),
    (in_the_middle(" "), 0.3, "Several spaces in a row", "JoinLines"),
    (lambda text: text.replace(" ", "\n", 1), 0.4, "Line breaks", "JoinLines"),
    (lambda text: text.replace(" ", "\u00a0", 1), 0.4, "Rare white space", "JoinLines"),
    (in_the_middle("\x96"), 0.3, "Control characters", "RemoveControlCharacters"),
    (in_the_middle("&amp;"), 0.3, "HTML entities or tags", "DecodeHTML"),
    (in_the_middle("sponsored"), 0.9, "the word 'sponsored'", None),
    (in_the_middle("sponsored"), 0.5, "the word 'sponsored'", None),
    (in_the_middle("광고"), 0.8, "the word '광고'", None),
    (in_the_middle("as we said"), 0.9, "the words 'as we'", None),
    (lambda text: text + " ★", 0.8, "'★' as last character", None),
    (lambda text: text + "!", 0.9, "'!' as last character", None),
    (lambda text: "#" + text, 0.9, "'#' as first character", None),
    (lambda text: " ".join(text.split()[:3]), 0.9, "The length alone", None),
    (lambda text: f"{text} {text}", 0.9, "The length alone", None),
    (in_the_middle("ㅋ"), 0.8, "the word 'ㅋ'", None),
)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("change", "share", "part", "remedy"), LEAKS)
def test_planted_leak_is_found(change, share, part, remedy, classes):
    split, places = planted(change, share, seed=round(share * 100) + classes, classes=classes)
    found = [finding for finding in find_leaks(split) if part in finding.detail]
    assert len(found) == 1, [finding.detail for finding in find_leaks(split)]
    assert found[0].remedy == remedy
    assert found[0].count == len(found[0].rows)
    if "length" in part:  # other rows may be as long by chance
        assert "'marked'" in found[0].detail or classes == 2
    else:
        assert "'marked'" in found[0].detail
        assert set(found[0].rows) == {f"train-{row}" for row in places}


def topical(classes, seed, own_words=8):
    """Texts whose words depend on the class: what a classifier learns, and no leak."""
    draw = random.Random(seed)
    own = [["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(own_words)] for _ in range(classes)]
    labels = [draw.randrange(classes) for _ in range(ROWS)]
    texts = []
    for label in labels:
        words = draw.choices(WORDS, k=draw.randint(6, 14)) + draw.choices(own[label], k=2)
        draw.shuffle(words)
        texts.append(" ".join(words))
    return split_of(texts, labels, label_names=[f"class {label}" for label in range(classes)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_leak_in_clean_sets(seed):
    draw = random.Random(seed)
    for classes in (2, 3, 20):
        labels = [draw.randrange(classes) for _ in range(ROWS)]
        names = [f"class {label}" for label in range(classes)]
        clean = split_of(invented_texts(ROWS, seed), labels, label_names=names)
        assert find_leaks(clean) == []
    assert find_leaks(topical(2, seed)) == []
    assert find_leaks(topical(6, seed)) == []


def test_no_leak_where_oddities_do_not_depend_on_the_label():
    texts = invented_texts(ROWS, seed=1)
    for place in places_in(ROWS, 200, seed=2):
        texts[place] += " "
    assert find_leaks(split_of(texts)) == []


def test_a_trace_that_a_class_lacks():
    texts = invented_texts(ROWS, 0)
    labels = [row % 3 for row in range(ROWS)]
    texts = [text if label == 0 else f"{text} " for text, label in zip(texts, labels, strict=True)]
    (finding,) = find_leaks(split_of(texts, labels, label_names=("marked", "plain", "other")))
    assert finding.count == ROWS // 3
    assert finding.detail.startswith("White space at the end can give the label away: 0.0% of 'marked', 100.0% of")
    assert {row.note for (row,) in finding.examples} == {"no white space at the end"}


def test_few_rows_or_one_class_give_no_leak():
    assert find_leaks(split_of(["a ", "b"] * 5)) == []
    assert find_leaks(split_of(["a ", "b"] * 50, labels=[0] * 100)) == []
    assert find_leaks(split_of(["a ", "b"] * 50, labels=[-1] * 100)) == []


def test_leak_in_the_second_text():
    texts = invented_texts(ROWS, seed=3)
    labels = [random.Random(row).randrange(2) for row in range(ROWS)]
    pairs = [f"{text} not" if label else text for text, label in zip(invented_texts(ROWS, 4), labels, strict=True)]
    (found,) = find_leaks(split_of(texts, labels, pairs=pairs))
    assert found.detail.startswith("Words or characters of the second text can give the label away: the word 'not'")


# Pairs


def pairs_of_premises(leaking, seed, number=150):
    """Each first text with a second one for each label; `leaking` is the share of second texts that have its word."""
    draw = random.Random(seed)
    texts, pairs, labels = [], [], []
    for premise in invented_texts(number, seed):
        for label, word in enumerate(("always", "maybe", "never")):
            words = [*draw.choices(premise.split(), k=3), *draw.choices(WORDS, k=3)]
            words += [word] if draw.random() < leaking else []
            draw.shuffle(words)
            texts.append(premise)
            pairs.append(" ".join(words))
            labels.append(label)
    return split_of(texts, labels, pairs=pairs, label_names=("yes", "perhaps", "no"))


def test_second_text_that_predicts_the_label():
    (found,), sentences = find_pair_leak([pairs_of_premises(0.5, seed=0)])
    assert sentences == []
    assert "out of fold, 450 pairs), the most frequent label 33.3%" in found.detail
    assert found.count == len(found.rows) > 200
    share = float(found.detail.split("predicts ")[1].split("%")[0])
    assert share == pytest.approx(100 * found.count / 450, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_second_text_that_does_not_predict_the_label(seed):
    found, (sentence,) = find_pair_leak([pairs_of_premises(0, seed)])
    assert found == []
    assert sentence.startswith("train: The second text alone predicts ")


def test_pair_leak_needs_pairs():
    assert find_pair_leak([split_of(["a", "b"])]) == ([], [])
    found, (sentence,) = find_pair_leak([split_of(["a", "b"], pairs=["c", "d"])])
    assert found == []
    assert "too few" in sentence
