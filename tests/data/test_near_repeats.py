"""Near repeats are those that a comparison of all pairs finds, whatever the texts are."""

import random

import numpy as np
import pytest
from datasets import Dataset

from textclf.data import FilesDataModule, near_repeats
from textclf.data.cleaning import DropNearOverlap, DropNearRepeats, DropRepeats
from textclf.data.near_repeats import THRESHOLD, near_texts, near_those_of
from textclf.data.shingles import SHINGLE_SIZE, normalized

ALPHABETS = {
    "latin": "abcdefghijklmnopqrstuvwxyz",
    "hangul": "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허",
    "han": "的一是在不了有和人这中大为上个国我以要他时来用们生到作",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "emoji": "😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🥰😗😙😚🙂🤗🤩🤔🤨😐😑😶",
}


def sentences(rng, alphabet, count, words=(6, 14)):
    """Sentences of words of their own: none is near to another one."""
    made = []
    for _ in range(count):
        chosen = ["".join(rng.choices(alphabet, k=rng.randint(3, 7))) for _ in range(rng.randint(*words))]
        made.append(" ".join(chosen))
    return made


def changed(rng, text):
    """The text with a small change."""
    words = text.split()
    place = rng.randrange(len(words))
    word = words[place]
    kind = rng.choice(["case", "marks", "spaces", "twice", "letter", "end"])
    if kind == "case":
        return text.upper() + "!"
    if kind == "marks":
        return ", ".join(words) + " ..."
    if kind == "spaces":
        return "  ".join(words) + "\n"
    words[place] = {"twice": f"{word} {word}", "letter": word[1:], "end": f"{word}, {word[0]}"}[kind]
    return " ".join(words)


def shingle_set(text):
    text = f" {normalized(text)} ".ljust(SHINGLE_SIZE) if normalized(text) else ""
    return {text[begin : begin + SHINGLE_SIZE] for begin in range(len(text) - SHINGLE_SIZE + 1)}


def jaccard(one, other):
    both = shingle_set(one) | shingle_set(other)
    return len(shingle_set(one) & shingle_set(other)) / len(both) if both else 1.0


def compared(rows, threshold):
    """Pairs of rows with the first occurrence of their normalized texts, by comparing all of them."""
    first = {}
    for number, row in enumerate(rows):
        first.setdefault(tuple(map(normalized, row)), number)
    distinct = [rows[number] for text, number in first.items() if any(text)]
    found = {}
    for one in range(len(distinct)):
        for other in range(one + 1, len(distinct)):
            similarity = min(map(jaccard, distinct[one], distinct[other]))
            if similarity >= threshold:
                found[one, other] = pytest.approx(similarity)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("threshold", [THRESHOLD, pytest.param(0.85, marks=pytest.mark.slow)])
def test_pairs_are_those_of_comparing_all(alphabet, threshold):
    rng = random.Random(alphabet)
    texts = sentences(rng, ALPHABETS[alphabet], 60, words=(1, 12))
    for text in rng.choices(texts, k=60):
        texts.insert(rng.randrange(len(texts)), changed(rng, changed(rng, text)))
    texts += ["", " \n", "...", "??", "a", "A.", texts[0]]
    near = near_texts(Dataset.from_dict({"text": texts}), threshold)
    pairs = zip(near.first.tolist(), near.second.tolist(), strict=True)
    assert dict(zip(pairs, near.similarity, strict=True)) == compared([(text,) for text in texts], threshold)
    assert len(near.first) > 10
    assert near.texts[-7:-5].tolist() == [-1, -1]
    assert near.texts[-1] == near.texts[0]


def test_rows_with_two_texts_are_near_if_both_texts_are():
    rng = random.Random(5)
    firsts = sentences(rng, ALPHABETS["latin"], 6)
    seconds = sentences(rng, ALPHABETS["latin"], 6)
    rows = []
    for _ in range(60):
        first, second = rng.choice(firsts), rng.choice(seconds)
        rows.append((rng.choice([first, changed(rng, first)]), rng.choice([second, changed(rng, second), ""])))
    rows += [("", ""), (rows[0][0], ""), ("", rows[0][1])]
    near = near_texts(Dataset.from_dict({"text": [row[0] for row in rows], "text_pair": [row[1] for row in rows]}))
    pairs = zip(near.first.tolist(), near.second.tolist(), strict=True)
    assert dict(zip(pairs, near.similarity, strict=True)) == compared(rows, THRESHOLD)
    assert len(near.first) > 5
    assert near.texts[-3] == -1


@pytest.mark.slow
@pytest.mark.parametrize("characters", [1, 150, 1000])
def test_long_texts_are_compared_in_smaller_parts(characters, monkeypatch):
    rng = random.Random(2)
    texts = sentences(rng, ALPHABETS["latin"], 20)
    texts += ["", *(changed(rng, text) for text in texts), "", *(changed(rng, text) for text in texts)]
    rows = Dataset.from_dict({"text": texts})
    expected = near_texts(rows)
    monkeypatch.setattr(near_repeats, "CHARACTERS", characters)
    found = near_texts(rows)
    assert len(found.first) > 20
    for name in ("texts", "first", "second", "similarity"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("sizes", [[], [0], [0, 0, 3], [4, 0, 1, 9, 5, 5, 30, 1, 10, 1]])
def test_parts_have_few_characters(sizes, monkeypatch):
    monkeypatch.setattr(near_repeats, "CHARACTERS", 10)
    parts = [sizes[part] for part in near_repeats._parts(np.array(sizes, dtype=np.int64))]
    assert [size for part in parts for size in part] == sizes
    assert all(part and sum(part[1:]) <= 10 for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_planted_near_repeats_are_found_and_nothing_else(seed):
    rng = random.Random(seed)
    clean = sentences(rng, ALPHABETS[rng.choice(sorted(ALPHABETS))], 400, words=(8, 14))
    train, test = clean[:300], clean[300:]
    planted = rng.sample(range(300), 20)
    assert not len(near_texts(Dataset.from_dict({"text": clean})).first)
    assert not near_those_of(Dataset.from_dict({"text": train}), [Dataset.from_dict({"text": test})]).any()
    for number in planted:
        train[number] = changed(rng, rng.choice(test))
    found = near_those_of(Dataset.from_dict({"text": train}), [Dataset.from_dict({"text": test})])
    assert np.flatnonzero(found).tolist() == sorted(planted)


@pytest.mark.slow
def test_sentences_of_one_template_take_bounded_time(monkeypatch):
    monkeypatch.setattr(near_repeats, "PER_TEXT", ((20, 20), (4, 4)))
    texts = [f"the parcel with the number {number} has been sent to you this morning" for number in range(1500)]
    pairs = near_repeats._candidate_pairs(Dataset.from_dict({"text": texts}), THRESHOLD)
    assert len(pairs) < 1500 * 10
    near = near_texts(Dataset.from_dict({"text": texts}))
    assert set(near.first) | set(near.second) == set(range(1500))
    again = near_texts(Dataset.from_dict({"text": texts}))
    np.testing.assert_array_equal(near.similarity, again.similarity)


def test_many_near_repeats_of_one_text_are_dropped():
    words = "the offer of the week is a new phone with a large display and two years of warranty".split()
    rng = random.Random(0)
    texts = []
    for _ in range(200):
        place = rng.randrange(len(words))
        texts.append(" ".join([*words[:place], "".join(rng.choices("abcdefgh", k=5)), *words[place + 1 :]]))
    rows = Dataset.from_dict({"text": texts})
    assert near_those_of(rows, [Dataset.from_dict({"text": ["something else", " ".join(words)]})]).all()


def write(path, rows):
    Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]}).to_csv(path)


def test_steps_drop_rows_of_train_alone_and_the_ledger_counts_them(tmp_path):
    rng = random.Random(0)
    clean = sentences(rng, ALPHABETS["latin"], 60)
    train = [(text, "np"[number % 2]) for number, text in enumerate(clean[:40])]
    test = [(text, "np"[number % 2]) for number, text in enumerate(clean[40:])]
    seen = [(changed(rng, text), label) for text, label in test[:5]]
    copies = [(changed(rng, text), label) for text, label in train[:7]]
    write(tmp_path / "train.csv", [*train, *seen, *copies])
    write(tmp_path / "test.csv", [*test, test[0]])
    steps = [DropRepeats(), DropNearRepeats(), DropNearOverlap()]
    data = FilesDataModule(data_dir=str(tmp_path), cleaning=steps, val_size=0)
    assert data.rows("train")["text"][:] == [text for text, _ in train]
    assert len(data.rows("test")) == 21
    dropped = {(entry.split, entry.step): entry.dropped for entry in data.ledger.entries}
    assert dropped["train", "DropNearRepeats"] == 7
    assert dropped["train", "DropNearOverlap"] == 5
    assert "nearly in the rows that are scored" in str(data.ledger)


def test_folds_are_compared_with_each_other(tmp_path):
    rng = random.Random(1)
    rows = []
    for number, text in enumerate(sentences(rng, ALPHABETS["hangul"], 40)):
        rows += [(text, "np"[number % 2]), (f"{text}!", "np"[number % 2])]
    write(tmp_path / "train.csv", rows)
    data = FilesDataModule(data_dir=str(tmp_path), folds=4, fold=1, cleaning=[DropNearOverlap()], val_size=0)
    tested = {normalized(text) for text in data.rows("test")["text"]}
    trained = {normalized(text) for text in data.rows("train")["text"]}
    assert not tested & trained
    assert tested | trained == {normalized(text) for text, _ in rows}
