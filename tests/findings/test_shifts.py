"""Scripts, languages, and splits that can be told apart."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.findings.splits import invented_texts, places_in, split_of
from textclf.findings.languages import find_languages, scripts_in
from textclf.findings.shifts import area_interval, find_split_shifts

SENTENCES = {
    "de": "Der Film hat mir sehr gut gefallen, weil die Schauspieler wirklich überzeugend gespielt haben",
    "fr": "Ce film est vraiment très beau et je le recommande à tous ceux qui aiment les histoires simples",
    "ko": "이 영화는 정말 재미있었고 배우들의 연기도 아주 훌륭했습니다 그래서 다시 한번 보고 싶은 작품입니다",
    "en": "The film was very good because the actors played their parts so well that nobody wanted to leave early",
}


def test_scripts_in():
    assert scripts_in("abc, 1 한국 東京 か") == {"latin": 3, "hangul": 2, "cjk": 2, "kana": 1}
    assert scripts_in("12 :-)") == {}


@pytest.mark.parametrize("seed", range(3))
def test_planted_scripts(seed):
    texts = [f"{SENTENCES['en']} {number}" for number in range(200)]
    places = places_in(200, 4, seed)
    for place, text in zip(places, ("Привет мир", "안녕하세요", "γειά σου", "مرحبا بالعالم"), strict=True):
        texts[place] = text
    (found,), (sentence,) = find_languages(split_of(texts))
    assert found.count == 4
    assert set(found.rows) == {f"train-{place}" for place in places}
    assert "cyrillic (1)" in found.detail
    assert sentence.startswith("train: letters are latin 99.")


@pytest.mark.parametrize(("most", "other"), [("en", "de"), ("de", "fr"), ("fr", "en")])
def test_planted_language(most, other):
    texts = [f"{SENTENCES[most]} {number}" for number in range(100)]
    places = places_in(100, 3, seed=5)
    for place in places:
        texts[place] = SENTENCES[other]
    (found,), _ = find_languages(split_of(texts))
    assert set(found.rows) == {f"train-{place}" for place in places}
    assert f"Most texts are in the language '{most}'" in found.detail


@pytest.mark.parametrize("texts", [["안녕하세요 반갑습니다"] * 30, ["日本語とカタカナ", "東京"] * 30, ["12", ""]])
def test_one_language(texts):
    found, sentences = find_languages(split_of(texts))
    assert found == []
    assert len(sentences) == 1


# Splits that can be told apart


def test_area():
    draw = np.random.default_rng(0)
    positive = draw.random(500) < 0.4
    scores = np.round(draw.normal(size=500) + positive, 1)  # with ties
    area = area_interval(scores, positive)
    assert area.value == pytest.approx(roc_auc_score(positive, scores))
    assert 0 <= area.low < area.value < area.high <= 1
    assert area_interval(positive.astype(float), positive) == (1, 1, 1)


def test_interval_of_the_area_covers_chance():
    covered = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        area = area_interval(draw.random(300), draw.random(300) < 0.5)
        covered += area.low <= 0.5 <= area.high
    assert 180 <= covered <= 199


def test_splits_of_different_kinds_are_told_apart():
    train = split_of(invented_texts(200, seed=1))
    test = split_of([f"{text} yesterday" for text in invented_texts(200, seed=2)], split="test")
    (found,), sentences = find_split_shifts([train, test])
    assert sentences == []
    assert found.split == "train, test"
    assert set(found.rows) <= {f"test-{row}" for row in range(200)}
    assert "curve of 1.000" in found.detail


@pytest.mark.parametrize("seed", range(3))
def test_splits_of_one_kind_are_not(seed):
    texts = invented_texts(400, seed)
    copies = texts[:20]  # rows that are in both splits do not tell them apart
    splits = [split_of(texts[:200]), split_of([*copies, *texts[200:]], split="test")]
    found, (sentence,) = find_split_shifts(splits)
    assert found == []
    assert "0.5 is chance; 200 and 220 rows" in sentence


def test_few_rows_are_not_told_apart():
    found, (sentence,) = find_split_shifts([split_of(["a b", "c d"]), split_of(["e f"], split="test")])
    assert found == []
    assert "too few rows" in sentence
